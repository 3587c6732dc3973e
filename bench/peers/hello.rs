//! A Rust plugin under any name: what many at once are made of.

use std::process::ExitCode;

use reed_plugin::{Plugin, json};

fn main() -> ExitCode {
    let name = std::env::var("REED_PLUGIN_NAME").unwrap_or_default();
    Plugin::builder(name, "1.0.0")
        .action("greet", 0x01, |_ctx, input| Ok(json!({"hello": input.json()?})))
        .run()
}
