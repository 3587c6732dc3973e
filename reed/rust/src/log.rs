//! Lines for the plugin's log, by level.
//!
//! `reed plugin logs NAME -f` shows them. Each function writes `level: message` to standard error; further lines of a
//! message are indented.
//!
//! ```
//! reed_plugin::log::warn(format_args!("{} pages have no title", 3));
//! ```

use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write;

use crate::wire::fields::truncate;

const MAX_MESSAGE: usize = 8192; // bytes

/// Logs what only the plugin's author needs.
pub fn debug(message: impl Display) {
    write("debug", &message);
}

/// Logs what the plugin does.
pub fn info(message: impl Display) {
    write("info", &message);
}

/// Logs what the operator should look at.
pub fn warn(message: impl Display) {
    write("warn", &message);
}

/// Logs what failed.
pub fn error(message: impl Display) {
    write("error", &message);
}

thread_local! {
    /// The lines that a test keeps; None: they are written.
    static CAPTURED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

pub(crate) fn capture() {
    CAPTURED.set(Some(Vec::new()));
}

pub(crate) fn release() {
    CAPTURED.set(None);
}

pub(crate) fn captured() -> Vec<String> {
    CAPTURED.with_borrow(|lines| lines.clone().unwrap_or_default())
}

/// Whether a test keeps the line.
fn is_kept(level: &str, message: &dyn Display) -> bool {
    CAPTURED.with_borrow_mut(|lines| match lines {
        Some(lines) => {
            lines.push(entry(level, message).trim_end().to_owned());
            true
        }
        None => false,
    })
}

fn write(level: &str, message: &dyn Display) {
    if is_kept(level, message) {
        return;
    }
    // A closed standard error is not the plugin's end, as it would be with `eprintln!`.
    let _ = std::io::stderr().write_all(entry(level, message).as_bytes());
}

fn entry(level: &str, message: &dyn Display) -> String {
    let message = message.to_string();
    format!("{level}: {}\n", truncate(&message, MAX_MESSAGE).replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use super::{MAX_MESSAGE, entry};

    #[test]
    fn entries_have_a_level_and_indented_further_lines() {
        assert_eq!(entry("warn", &"one\ntwo"), "warn: one\n  two\n");
    }

    #[test]
    fn long_messages_are_truncated() {
        assert_eq!(entry("info", &"x".repeat(MAX_MESSAGE + 1)).len(), "info: \n".len() + MAX_MESSAGE);
    }
}
