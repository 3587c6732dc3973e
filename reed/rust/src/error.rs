//! The error type of the crate.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::wire::codes::ErrorCode;

const MAX_NAMED: usize = 5; // failed writes in the text of a batch's error

/// What went wrong. Its text says what happened, where, and what to do.
///
/// An error that a handler returns is the answer to its call, with [`Error::status`], [`Error::code`] and the text.
#[non_exhaustive]
pub enum Error {
    /// An environment variable that the core sets is missing or invalid: the core did not start this process.
    Environment {
        /// The variable, such as `REED_SOCKET`.
        variable: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// A system call failed.
    Io {
        /// The operation, with its path.
        what: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// Invalid bytes, UTF-8 or JSON, or a text that is too long for its field.
    Malformed {
        /// The struct or text.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A frame of another protocol version.
    Version {
        /// The version in the frame.
        found: u8,
    },
    /// A payload over the limit.
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The core, or another plugin, rejected a request.
    Refused {
        /// The request.
        what: String,
        /// HTTP status.
        status: u16,
        /// ReedCMS error code; 0 if the answer has none.
        code: u32,
        /// The text of the answer.
        message: String,
    },
    /// A handler rejected its call: [`Error::fail`].
    Failed {
        /// HTTP status, 400 to 599.
        status: u16,
        /// The text for the caller.
        message: String,
    },
    /// As `Failed`, with an error code or a hint: [`Error::with_code`], [`Error::with_hint`].
    Answered {
        /// HTTP status, 400 to 599.
        status: u16,
        /// The error code for the caller.
        code: u32,
        /// The text for the caller.
        message: String,
        /// What the caller can do; may be empty.
        hint: String,
    },
    /// Some writes of a batch failed, and the others hold.
    Batch {
        /// The outcome of each write, in their order; None for those that failed.
        written: Vec<Option<Written>>,
        /// The writes that failed.
        failed: Vec<BatchFailure>,
    },
    /// No answer arrived before the deadline.
    Timeout {
        /// The request.
        what: String,
        /// The timeout.
        after: Duration,
    },
    /// There is no FIFO to or from that plugin.
    NoFifo {
        /// The name that was given.
        plugin: String,
        /// The plugin with the most similar name; empty if none is similar.
        nearest: String,
    },
    /// The FIFO to that plugin is full, and so is the queue for it.
    QueueFull {
        /// The plugin that does not read its messages.
        plugin: String,
        /// Messages in the queue.
        waiting: usize,
    },
    /// The connection to the core is closed.
    Disconnected {
        /// The operation that failed.
        what: String,
    },
}

/// The outcome of one write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// 200 to 299, as the command answers it: 201 for something new.
    pub status: u16,
    /// The id of the snippet or bond; empty for a command that has none.
    pub id: String,
    /// A restore's warning, or empty.
    pub warning: String,
}

/// A write of a batch that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchFailure {
    /// The index of the write.
    pub index: usize,
    /// The command.
    pub command: String,
    /// Why.
    pub error: Error,
}

impl Error {
    /// The same error, with an error code of ReedCMS or of your own. Its status stays.
    #[must_use]
    pub fn with_code(self, code: u32) -> Error {
        let (status, _, message, hint) = self.into_answer();
        Error::Answered { status, code, message, hint }
    }

    /// The same error, with what the caller can do about it.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Error {
        let (status, code, message, _) = self.into_answer();
        Error::Answered { status, code, message, hint: hint.into() }
    }

    fn into_answer(self) -> (u16, u32, String, String) {
        let (status, code) = (self.status(), self.code());
        match self {
            Error::Answered { message, hint, .. } => (status, code, message, hint),
            other => (status, code, other.to_string(), String::new()),
        }
    }

    /// Rejects a call, with an HTTP status from 400 to 599 (any other becomes 500) and a text for the caller.
    pub fn fail(status: u16, message: impl Into<String>) -> Error {
        let status = if (400..600).contains(&status) { status } else { 500 };
        Error::Failed { status, message: message.into() }
    }

    pub(crate) fn malformed(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Malformed { what: what.into(), why: why.into() }
    }

    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Io { what: what.into(), source: source.into() }
    }

    pub(crate) fn disconnected(what: &str) -> Error {
        Error::Disconnected { what: what.to_owned() }
    }

    /// The HTTP status that a caller gets for this error.
    pub fn status(&self) -> u16 {
        match self {
            Error::Refused { status, .. } | Error::Failed { status, .. } | Error::Answered { status, .. } => {
                *status
            }
            Error::Batch { failed, .. } => failed.first().map_or(500, |failure| failure.error.status()),
            Error::Malformed { .. } => 400,
            Error::Version { .. } => 505,
            Error::TooLarge { .. } => 413,
            Error::Timeout { .. } => 504,
            Error::NoFifo { .. } => 404,
            Error::QueueFull { .. } => 429,
            Error::Disconnected { .. } => 503,
            Error::Environment { .. } | Error::Io { .. } => 500,
        }
    }

    /// The ReedCMS error code that a caller gets for this error.
    pub fn code(&self) -> u32 {
        let code = match self {
            Error::Refused { code, .. } | Error::Answered { code, .. } if *code != 0 => return *code,
            Error::Batch { failed, .. } => {
                return failed.first().map_or(ErrorCode::Internal as u32, |failure| failure.error.code());
            }
            Error::Malformed { .. } => ErrorCode::Malformed,
            Error::Version { .. } => ErrorCode::Version,
            Error::TooLarge { .. } => ErrorCode::TooLarge,
            Error::Timeout { .. } => ErrorCode::PluginTimeout,
            Error::NoFifo { .. } => ErrorCode::PluginNotFound,
            Error::QueueFull { .. } => ErrorCode::PluginBusy,
            Error::Disconnected { .. } => ErrorCode::PluginOffline,
            Error::Failed { status, .. } | Error::Refused { status, .. } | Error::Answered { status, .. } => {
                ErrorCode::of_status(*status)
            }
            Error::Environment { .. } | Error::Io { .. } => ErrorCode::Internal,
        };
        code as u32
    }

    /// What to do about this error; empty if its text says so already.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::Environment { .. } => {
                "the core starts plugins: `reed plugin start NAME`, or `reed plugin test NAME`"
            }
            Error::NoFifo { .. } => "plugins need a row in plugin-registry.csv; see `reed plugin list`",
            Error::QueueFull { .. } => "retry later",
            Error::Disconnected { .. } => "the plugin reconnects; retry",
            Error::Version { .. } => "this SDK implements version 1",
            _ => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Environment { variable, why } => write!(out, "{variable}: {why}")?,
            Error::Io { what, source } => write!(out, "{what}: {source}")?,
            Error::Malformed { what, why } => write!(out, "{what}: {why}")?,
            Error::Version { found } => write!(out, "unsupported protocol version {found}")?,
            Error::TooLarge { size, limit } => write!(out, "{size} bytes exceed the limit of {limit}")?,
            Error::Refused { what, status, message, .. } => write!(out, "{what}: {status} {message}")?,
            Error::Failed { message, .. } => out.write_str(message)?,
            Error::Answered { message, hint, .. } if hint.is_empty() => out.write_str(message)?,
            Error::Answered { message, hint, .. } => write!(out, "{message}; {hint}")?,
            Error::Batch { written, failed } => {
                let (failures, count) = (failed.len(), written.len());
                write!(out, "{failures} of the {count} writes of the batch failed, the others hold")?;
                for failure in failed.iter().take(MAX_NAMED) {
                    write!(out, "; write {}: {}", failure.index, failure.error)?;
                }
            }
            Error::Timeout { what, after } => write!(out, "{what}: no answer within {after:?}")?,
            Error::NoFifo { plugin, nearest } => {
                write!(out, "no FIFO for plugin {plugin:?}")?;
                if !nearest.is_empty() {
                    write!(out, "; did you mean {nearest:?}?")?;
                }
            }
            Error::QueueFull { plugin, waiting } => {
                write!(out, "the FIFO to {plugin} is full, and {waiting} messages are queued for it")?;
            }
            Error::Disconnected { what } => write!(out, "{what}: the connection to the core is closed")?,
        }
        match self.hint() {
            "" => Ok(()),
            hint => write!(out, "; {hint}"),
        }
    }
}

/// The same text as Display, so that `fn main() -> Result<(), Error>` prints something readable.
impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
