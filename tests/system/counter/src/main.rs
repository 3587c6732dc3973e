//! Counts its calls, and returns the number in a file of its folder, read at its start: the version of its code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use reed_plugin::{Plugin, json};

/// 0 without a file.
fn number_in_folder() -> u64 {
    let folder = PathBuf::from(std::env::var_os("REED_PLUGIN_DIR").unwrap_or_default());
    let text = std::fs::read_to_string(folder.join("number")).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

fn main() -> ExitCode {
    let (number, count) = (number_in_folder(), AtomicU64::new(0));
    Plugin::builder("counter", "1.0.0")
        .action("number", 1, move |_, _| Ok(json!(number)))
        .action("count", 2, move |_, _| Ok(json!(count.fetch_add(1, Ordering::Relaxed) + 1)))
        .run()
}
