//! Everything that can go wrong, as one enum: what happened, where, and what to do next.
//!
//! An error that a handler gives back becomes the answer to its call: [`Error::status`] and [`Error::code`] travel with
//! its text. A handler makes its own with [`Error::fail`].

use std::fmt;
use std::io;
use std::time::Duration;

use crate::wire::codes::ErrorCode;

/// What went wrong. Its text says what, where, and what to do next.
#[non_exhaustive]
pub enum Error {
    /// The environment that the core gives a plugin lacks something: was it started by the core?
    Environment {
        /// The variable, such as `REED_SOCKET`.
        variable: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused.
    Io {
        /// What was tried, with its path.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that do not fit their struct, or hold bad UTF-8 or JSON; or a text too long for its field.
    Malformed {
        /// Which struct or text.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A frame of another protocol version.
    Version {
        /// The version found.
        found: u8,
    },
    /// A payload beyond the limit.
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most there may be.
        limit: u64,
    },
    /// The core, or another plugin, said no.
    Refused {
        /// What was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// ReedCMS error code; 0 where there is none.
        code: u32,
        /// Its own words.
        message: String,
    },
    /// A handler's own refusal: see [`Error::fail`].
    Failed {
        /// HTTP status, 400 to 599.
        status: u16,
        /// What the caller is told.
        message: String,
    },
    /// No answer came in time.
    Timeout {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is no FIFO to or from that plugin.
    NoFifo {
        /// The other plugin.
        plugin: String,
        /// A plugin with a name like it; may be empty.
        nearest: String,
    },
    /// The pipe to that plugin is full, and so is the queue before it.
    QueueFull {
        /// The plugin that does not read.
        plugin: String,
        /// Messages that wait for it.
        waiting: usize,
    },
    /// The core is gone.
    Disconnected {
        /// What was under way.
        what: String,
    },
}

impl Error {
    /// The answer of a handler that cannot do what was asked: an HTTP status from 400 to 599 and what to tell the caller.
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

    /// The HTTP status that this error has as an answer.
    pub fn status(&self) -> u16 {
        match self {
            Error::Refused { status, .. } | Error::Failed { status, .. } => *status,
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

    /// The ReedCMS error code that this error has as an answer.
    pub fn code(&self) -> u32 {
        let code = match self {
            Error::Refused { code, .. } if *code != 0 => return *code,
            Error::Malformed { .. } => ErrorCode::Malformed,
            Error::Version { .. } => ErrorCode::Version,
            Error::TooLarge { .. } => ErrorCode::TooLarge,
            Error::Timeout { .. } => ErrorCode::PluginTimeout,
            Error::NoFifo { .. } => ErrorCode::PluginNotFound,
            Error::QueueFull { .. } => ErrorCode::PluginBusy,
            Error::Disconnected { .. } => ErrorCode::PluginOffline,
            Error::Failed { status, .. } | Error::Refused { status, .. } => ErrorCode::of_status(*status),
            Error::Environment { .. } | Error::Io { .. } => ErrorCode::Internal,
        };
        code as u32
    }

    /// What to do next; empty where the text of the error says all there is.
    pub fn next(&self) -> &'static str {
        match self {
            Error::Environment { .. } => {
                "a plugin is started by the core: `reed plugin start NAME`, or `reed plugin test NAME`"
            }
            Error::NoFifo { .. } => "its row must be in plugin-registry.csv: `reed plugin list` shows them",
            Error::QueueFull { .. } => "try again later, or drop what is old",
            Error::Disconnected { .. } => "the plugin reconnects by itself; ask again after that",
            Error::Version { .. } => "this SDK speaks version 1",
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
            Error::Version { found } => write!(out, "protocol version {found}")?,
            Error::TooLarge { size, limit } => write!(out, "{size} bytes; the limit is {limit}")?,
            Error::Refused { what, status, message, .. } => write!(out, "{what}: {status} {message}")?,
            Error::Failed { message, .. } => out.write_str(message)?,
            Error::Timeout { what, after } => write!(out, "{what}: no answer within {after:?}")?,
            Error::NoFifo { plugin, nearest } if nearest.is_empty() => {
                write!(out, "no FIFO for plugin {plugin:?}")?
            }
            Error::NoFifo { plugin, nearest } => {
                write!(out, "no FIFO for plugin {plugin:?}; did you mean {nearest:?}?")?
            }
            Error::QueueFull { plugin, waiting } => {
                write!(out, "plugin {plugin} does not read: {waiting} messages wait for it")?
            }
            Error::Disconnected { what } => write!(out, "{what}: the core is gone")?,
        }
        match self.next() {
            "" => Ok(()),
            next => write!(out, "; {next}"),
        }
    }
}

/// As its text: so that `fn main() -> Result<(), Error>` says what a person can read.
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
