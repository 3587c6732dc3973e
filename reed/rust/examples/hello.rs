//! The smallest plugin: one action.

use std::process::ExitCode;

use reed_plugin::{Plugin, json};

fn main() -> ExitCode {
    Plugin::builder("hello", "1.0.0")
        .action("greet", 0x01, |_ctx, input| Ok(json!({"hello": input.json()?})))
        .run()
}
