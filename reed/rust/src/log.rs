//! Lines for the core's log: it takes what a plugin writes to its standard error, under the plugin's name.

use std::io::Write;

pub(crate) fn line(text: &str) {
    // There is nobody to tell when standard error is closed; `eprintln!` would end the plugin.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
