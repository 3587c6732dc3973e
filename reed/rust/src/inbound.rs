//! Messages in: one FIFO for each plugin that may write to this one, and which of its messages were seen.
//!
//! A `request` whose answer does not come is sent again, with the timestamp that names it. So each message's timestamp
//! is kept for a while, with the answer that it got: a repeat is not handled twice; it gets the same answer again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fifo::{End, Fifo};
use crate::places::Places;
use crate::rubbish::{CUT, REPEAT, Rubbish};
use crate::wire::message::{MessageBuffer, PluginMessage};

/// Messages of one FIFO that are remembered.
const REMEMBERED: usize = 256;
/// How long a FIFO that has no writer is left alone (where the sandbox allows reading only).
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// What to do with a message that came.
pub(crate) enum Arrival {
    New(PluginMessage),
    /// The one with this timestamp was seen before.
    Repeat(u64),
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
    rubbish: Rubbish,
    judged: u64,  // bytes dropped that were counted as rubbish
    repeats: u64, // since then
}

impl Inbound {
    pub(crate) fn open(places: &Places, source: &str) -> Result<Inbound, Error> {
        let opened = places.open(End::Read, source);
        let fifo = opened.map_err(|error| {
            Error::io(format!("opening {}", places.path(End::Read, source).display()), error)
        })?;
        let buffer = MessageBuffer::new(source, places.name())?;
        let rubbish = Rubbish::new(Instant::now());
        let (source, seen) = (source.to_owned(), VecDeque::new());
        Ok(Inbound { fifo, source, buffer, seen, paused_until: None, rubbish, judged: 0, repeats: 0 })
    }

    /// Reads once what is there, at most a chunk; whether there was something. While another process of this plugin,
    /// which came before this one, reads it still, it is left alone; so is one whose writer is cut off.
    pub(crate) fn receive(&mut self, chunk: &mut [u8]) -> Result<bool, Error> {
        if self.is_paused() {
            return Ok(false);
        }
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
        if self.seen.iter().any(|seen| seen.timestamp == message.timestamp) {
            self.repeats += 1;
            return Some(Arrival::Repeat(message.timestamp));
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

    /// The answer that a message got, if it has one: type and payload.
    pub(crate) fn answer_to(&self, timestamp: u64) -> Option<(u8, Vec<u8>)> {
        self.seen.iter().find(|seen| seen.timestamp == timestamp)?.answer.clone()
    }

    /// Counts what was read and of no use; when it was too much, its writer is cut off, and this says so.
    pub(crate) fn judge(&mut self) -> Option<String> {
        let dropped = self.buffer.dropped();
        let useless = dropped - self.judged + self.repeats * REPEAT;
        (self.judged, self.repeats) = (dropped, 0);
        let now = Instant::now();
        if useless == 0 || !self.rubbish.add(useless, now) {
            return None;
        }
        self.buffer.clear();
        self.judged = self.buffer.dropped();
        self.paused_until = Some(now + CUT);
        let what = "what is no message, or always the same one";
        Some(format!("{} fills its FIFO with {what}: not read for {} s", self.source, CUT.as_secs()))
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
            self.judged = 0;
        }
        Ok(())
    }
}
