//! Messages out: one FIFO for each plugin that is written to, and what its pipe has no room for.
//!
//! ```text
//! push ─┬─ the pipe takes it            done
//!       ├─ the pipe is full             queued; goes out when the pipe has room
//!       ├─ nobody reads it              an error: the plugin is told; what is queued is tried again
//!       └─ the queue is full as well    QueueFull: the plugin is told
//! ```
//!
//! A message whose first part is in the pipe is finished before anything else.

use std::collections::VecDeque;

use crate::error::Error;
use crate::fifo::{End, Fifo};
use crate::places::Places;
use crate::wire::codes::MAX_PAYLOAD;
use crate::wire::message::{MESSAGE_HEADER, PluginMessage};

/// Messages that wait for a pipe with room.
const QUEUED_MESSAGES: usize = 1024;
/// Bytes that wait, beside the newest message.
const QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// The FIFO to one plugin.
pub(crate) struct Outbound {
    pub(crate) fifo: Fifo,
    target: String,
    queue: VecDeque<Vec<u8>>,
    sent: usize, // of the first in the queue
    bytes: usize,
    last_timestamp: u64,
    /// The last write failed: such a pipe is always ready, and must not be waited for.
    is_stuck: bool,
}

impl Outbound {
    pub(crate) fn open(places: &Places, target: &str) -> std::io::Result<Outbound> {
        Ok(Outbound {
            fifo: places.open(End::Write, target)?,
            target: target.to_owned(),
            queue: VecDeque::new(),
            sent: 0,
            bytes: 0,
            last_timestamp: 0,
            is_stuck: false,
        })
    }

    /// A timestamp that this FIFO has not had.
    pub(crate) fn stamp(&mut self, now: u64) -> u64 {
        self.last_timestamp = now.max(self.last_timestamp + 1);
        self.last_timestamp
    }

    /// Sends a message, or queues it.
    pub(crate) fn push(&mut self, message: &PluginMessage) -> Result<(), Error> {
        if message.payload.len() > MAX_PAYLOAD {
            let size = message.payload.len() as u64;
            return Err(Error::TooLarge { size, limit: MAX_PAYLOAD as u64 });
        }
        self.flush()?;
        if self.queue.len() >= QUEUED_MESSAGES || self.bytes > QUEUED_BYTES {
            return Err(Error::QueueFull { plugin: self.target.clone(), waiting: self.queue.len() });
        }
        let bytes = message.pack()?;
        debug_assert!(bytes.len() >= MESSAGE_HEADER);
        self.bytes += bytes.len();
        self.queue.push_back(bytes);
        let flushed = self.flush();
        if flushed.is_err() && (self.queue.len() > 1 || self.sent == 0) {
            // The plugin is told that this one did not go.
            self.bytes -= self.queue.pop_back().map_or(0, |last| last.len());
        }
        flushed
    }

    /// Writes what the pipe has room for.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        while let Some(first) = self.queue.front() {
            let rest = first.get(self.sent..).unwrap_or_default();
            let written = self.fifo.write(rest);
            self.is_stuck = written.is_err();
            self.sent += written
                .map_err(|error| Error::io(format!("writing to the FIFO to {}", self.target), error))?;
            if self.sent < first.len() {
                break;
            }
            self.bytes -= first.len();
            self.sent = 0;
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Messages that are not in the pipe yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Messages wait for a pipe that is full.
    pub(crate) fn is_blocked(&self) -> bool {
        self.waiting() > 0 && !self.is_stuck
    }

    /// Messages wait for a pipe that nobody reads.
    pub(crate) fn is_stuck(&self) -> bool {
        self.waiting() > 0 && self.is_stuck
    }

    /// Opens the FIFO anew if another one is in its place; the message that was half sent is sent again whole.
    pub(crate) fn renew(&mut self, places: &Places) -> std::io::Result<()> {
        if !self.fifo.is_current() {
            self.fifo = places.open(End::Write, &self.target)?;
            self.sent = 0;
        }
        Ok(())
    }
}
