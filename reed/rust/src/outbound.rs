//! Outgoing messages: the FIFO to one plugin, and the queue for what its pipe has no room for.
//!
//! If a write fails, its caller gets the error; queued messages are retried.

use std::collections::VecDeque;

use crate::error::Error;
use crate::fifo::{End, Fifo, FifoPaths};
use crate::wire::codes::MAX_PAYLOAD;
use crate::wire::message::PluginMessage;

const MAX_QUEUED_MESSAGES: usize = 1024;
const MAX_QUEUED_BYTES: usize = 1024 * 1024; // the newest message may exceed it

#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) fifo: Fifo,
    target: String,
    queue: VecDeque<Vec<u8>>,
    written: usize, // bytes of the first message in the queue
    queued_bytes: usize,
    last_timestamp: u64,
    write_failed: bool, // poll always reports such a pipe as ready
}

impl Outbound {
    pub(crate) fn open(paths: &FifoPaths, target: &str) -> std::io::Result<Outbound> {
        Ok(Outbound {
            fifo: paths.open(End::Write, target)?,
            target: target.to_owned(),
            queue: VecDeque::new(),
            written: 0,
            queued_bytes: 0,
            last_timestamp: 0,
            write_failed: false,
        })
    }

    pub(crate) fn unique_timestamp(&mut self, now: u64) -> u64 {
        self.last_timestamp = now.max(self.last_timestamp + 1);
        self.last_timestamp
    }

    pub(crate) fn push(&mut self, message: &PluginMessage) -> Result<(), Error> {
        if message.payload.len() > MAX_PAYLOAD {
            let size = message.payload.len() as u64;
            return Err(Error::TooLarge { size, limit: MAX_PAYLOAD as u64 });
        }
        self.flush()?;
        if self.queue.len() >= MAX_QUEUED_MESSAGES || self.queued_bytes > MAX_QUEUED_BYTES {
            return Err(Error::QueueFull { plugin: self.target.clone(), waiting: self.queue.len() });
        }
        let bytes = message.pack()?;
        self.queued_bytes += bytes.len();
        self.queue.push_back(bytes);
        let flushed = self.flush();
        if flushed.is_err() && (self.queue.len() > 1 || self.written == 0) {
            // The caller gets an error, so this message must not be sent later.
            self.queued_bytes -= self.queue.pop_back().map_or(0, |last| last.len());
        }
        flushed
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        while let Some(first) = self.queue.front() {
            let written = self.fifo.write(first.get(self.written..).unwrap_or_default());
            self.write_failed = written.is_err();
            self.written +=
                written.map_err(|error| Error::io(format!("write to the FIFO to {}", self.target), error))?;
            if self.written < first.len() {
                break;
            }
            self.queued_bytes -= first.len();
            self.written = 0;
            self.queue.pop_front();
        }
        Ok(())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.waiting() > 0 && !self.write_failed
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.waiting() > 0 && self.write_failed
    }

    /// A partly written message is sent again from its start.
    pub(crate) fn reopen_if_replaced(&mut self, paths: &FifoPaths) -> std::io::Result<()> {
        if !self.fifo.is_current() {
            self.fifo = paths.open(End::Write, &self.target)?;
            self.written = 0;
        }
        Ok(())
    }
}
