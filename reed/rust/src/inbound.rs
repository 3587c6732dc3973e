//! Messages in: one FIFO for each plugin that may write to this one, and which of its messages were seen.
//!
//! A `request` whose answer does not come is sent again, with the timestamp that names it. So each message's timestamp
//! is kept for a while, with the answer that it got: a repeat is not handled twice; it gets the same answer again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fifo::{End, Fifo};
use crate::places::Places;
use crate::wire::message::{MessageBuffer, PluginMessage};

/// Messages of one FIFO that are remembered.
const REMEMBERED: usize = 256;
/// How long a FIFO that has no writer is left alone (where the sandbox allows reading only).
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// What to do with a message that came.
pub(crate) enum Arrival {
    New(PluginMessage),
    /// It was seen before, and answered so: type and payload.
    Repeat(Option<(u8, Vec<u8>)>),
}

struct Seen {
    timestamp: u64,
    answer: Option<(u8, Vec<u8>)>,
}

/// The FIFO from one plugin.
pub(crate) struct Inbound {
    pub(crate) fifo: Fifo,
    source: String,
    buffer: MessageBuffer,
    seen: VecDeque<Seen>,
    paused_until: Option<Instant>,
}

impl Inbound {
    pub(crate) fn open(places: &Places, source: &str) -> Result<Inbound, Error> {
        let opened = places.open(End::Read, source);
        let fifo = opened.map_err(|error| {
            Error::io(format!("opening {}", places.path(End::Read, source).display()), error)
        })?;
        let buffer = MessageBuffer::new(source, places.name())?;
        Ok(Inbound { fifo, source: source.to_owned(), buffer, seen: VecDeque::new(), paused_until: None })
    }

    /// Reads once what is there, at most a chunk; whether there was something. While another process of this plugin,
    /// which came before this one, reads it still, it is left alone.
    pub(crate) fn receive(&mut self, chunk: &mut [u8]) -> Result<bool, Error> {
        if !self.fifo.is_ours_to_read() {
            self.paused_until = Some(Instant::now() + PAUSE);
            return Ok(false);
        }
        match self.fifo.read(chunk) {
            Ok(None) => Ok(false),
            Ok(Some(0)) => {
                self.paused_until = Some(Instant::now() + PAUSE);
                Ok(false)
            }
            Ok(Some(size)) => {
                self.buffer.feed(chunk.get(..size).unwrap_or_default());
                Ok(true)
            }
            Err(error) => Err(Error::io(format!("reading the FIFO from {}", self.source), error)),
        }
    }

    /// The next message of what was read.
    pub(crate) fn next(&mut self) -> Option<Arrival> {
        let message = self.buffer.next_message()?;
        if let Some(seen) = self.seen.iter().find(|seen| seen.timestamp == message.timestamp) {
            return Some(Arrival::Repeat(seen.answer.clone()));
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { timestamp: message.timestamp, answer: None });
        Some(Arrival::New(message))
    }

    /// Keeps the answer that a message got.
    pub(crate) fn answered(&mut self, timestamp: u64, message_type: u8, payload: Vec<u8>) {
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.timestamp == timestamp) {
            seen.answer = Some((message_type, payload));
        }
    }

    /// Whether to wait for it now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    /// Bytes that belonged to no whole message.
    pub(crate) fn dropped(&self) -> u64 {
        self.buffer.dropped()
    }

    /// Whether a part of a message was read, and its rest was not.
    pub(crate) fn is_in_the_middle(&self) -> bool {
        self.buffer.pending() > 0
    }

    /// Opens the FIFO anew if another one is in its place; what was read of the old one's last message is void.
    pub(crate) fn renew(&mut self, places: &Places) -> Result<(), Error> {
        if !self.fifo.is_current() {
            let renewed = Inbound::open(places, &self.source)?;
            self.fifo = renewed.fifo;
            self.buffer = renewed.buffer;
        }
        Ok(())
    }
}
