//! Incoming messages: the FIFO from one plugin, and which of its messages were seen before.
//!
//! The timestamps of the latest messages are kept, with their answers: a message that is sent again, with the same
//! timestamp, is not handled again, and gets the same answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fifo::{End, Fifo, FifoPaths};
use crate::wire::codes::MAX_PAYLOAD;
use crate::wire::message::{MessageBuffer, PluginMessage};

/// How long a FIFO that cannot be read now is not polled.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

const MAX_SEEN: usize = 256;
const MAX_SEEN_BYTES: usize = 64 * 1024; // of their answers

const JUNK_PAUSE: Duration = Duration::from_secs(60);
const MAX_JUNK: f64 = 2.0 * MAX_PAYLOAD as f64; // bytes: two torn messages of the maximum size
const REPEAT_COST: u64 = 4096; // bytes of junk that a repeated message counts as

pub(crate) enum Arrival {
    New(PluginMessage),
    /// The timestamp of a message that was seen before.
    Repeat(u64),
}

pub(crate) type SentAnswer = (u8, Vec<u8>);

/// Timestamps of the latest messages with their answers, oldest first.
#[derive(Debug, Default)]
struct Seen {
    messages: VecDeque<(u64, Option<SentAnswer>)>,
    answer_bytes: usize,
}

impl Seen {
    fn insert(&mut self, timestamp: u64) -> bool {
        if self.messages.iter().any(|(seen, _)| *seen == timestamp) {
            return false;
        }
        if self.messages.len() == MAX_SEEN {
            self.drop_oldest();
        }
        self.messages.push_back((timestamp, None));
        true
    }

    fn set_answer(&mut self, timestamp: u64, answer: SentAnswer) {
        if let Some((_, kept)) = self.messages.iter_mut().find(|(seen, _)| *seen == timestamp) {
            self.answer_bytes += answer.1.len();
            *kept = Some(answer);
            while self.answer_bytes > MAX_SEEN_BYTES && self.messages.len() > 1 {
                self.drop_oldest();
            }
        }
    }

    fn answer_to(&self, timestamp: u64) -> Option<SentAnswer> {
        self.messages.iter().find(|(seen, _)| *seen == timestamp)?.1.clone()
    }

    fn drop_oldest(&mut self) {
        if let Some((_, Some((_, payload)))) = self.messages.pop_front() {
            self.answer_bytes -= payload.len();
        }
    }
}

/// A leaky bucket: junk fills it, and it empties within [`JUNK_PAUSE`]. When it overflows, the FIFO is not read for a
/// while.
#[derive(Debug)]
struct JunkMeter {
    level: f64,
    updated_at: Instant,
}

impl JunkMeter {
    fn new(now: Instant) -> JunkMeter {
        JunkMeter { level: 0.0, updated_at: now }
    }

    /// Whether the bucket overflows; it is empty afterwards.
    fn add(&mut self, bytes: u64, now: Instant) -> bool {
        let leaked = now.duration_since(self.updated_at).as_secs_f64() * MAX_JUNK / JUNK_PAUSE.as_secs_f64();
        self.level = (self.level - leaked).max(0.0) + bytes as f64;
        self.updated_at = now;
        let overflows = self.level > MAX_JUNK;
        if overflows {
            self.level = 0.0;
        }
        overflows
    }
}

#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) fifo: Fifo,
    source: String,
    buffer: MessageBuffer,
    seen: Seen,
    paused_until: Option<Instant>,
    junk: JunkMeter,
    counted: u64, // dropped bytes that the meter has
    repeats: u64, // that the meter does not have yet
}

impl Inbound {
    pub(crate) fn open(paths: &FifoPaths, source: &str) -> Result<Inbound, Error> {
        let fifo = paths
            .open(End::Read, source)
            .map_err(|error| Error::io(format!("open {}", paths.path(End::Read, source).display()), error))?;
        Ok(Inbound {
            fifo,
            source: source.to_owned(),
            buffer: MessageBuffer::new(source, paths.plugin())?,
            seen: Seen::default(),
            paused_until: None,
            junk: JunkMeter::new(Instant::now()),
            counted: 0,
            repeats: 0,
        })
    }

    /// Whether there was something. Pauses while an older process of this plugin holds the lock, or there is no writer.
    pub(crate) fn receive(&mut self, chunk: &mut [u8]) -> Result<bool, Error> {
        if self.is_paused() {
            return Ok(false);
        }
        if !self.fifo.try_lock() {
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
            Err(error) => Err(Error::io(format!("read the FIFO from {}", self.source), error)),
        }
    }

    pub(crate) fn next(&mut self) -> Option<Arrival> {
        let message = self.buffer.next_message()?;
        if self.seen.insert(message.timestamp) {
            return Some(Arrival::New(message));
        }
        self.repeats += 1;
        Some(Arrival::Repeat(message.timestamp))
    }

    pub(crate) fn set_answer(&mut self, timestamp: u64, message_type: u8, payload: Vec<u8>) {
        self.seen.set_answer(timestamp, (message_type, payload));
    }

    pub(crate) fn answer_to(&self, timestamp: u64) -> Option<SentAnswer> {
        self.seen.answer_to(timestamp)
    }

    /// Over the limit, pauses the FIFO and returns a line for the log.
    pub(crate) fn check_junk(&mut self) -> Option<String> {
        let dropped = self.buffer.dropped();
        let junk = dropped - self.counted + self.repeats * REPEAT_COST;
        (self.counted, self.repeats) = (dropped, 0);
        let now = Instant::now();
        if junk == 0 || !self.junk.add(junk, now) {
            return None;
        }
        self.buffer.clear();
        self.counted = self.buffer.dropped();
        self.paused_until = Some(now + JUNK_PAUSE);
        let seconds = JUNK_PAUSE.as_secs();
        Some(format!(
            "{} fills its FIFO with junk or repeated messages; it is not read for {seconds} s",
            self.source
        ))
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.buffer.dropped()
    }

    pub(crate) fn has_partial_message(&self) -> bool {
        self.buffer.pending() > 0
    }

    /// Drops an incomplete message of the old FIFO.
    pub(crate) fn reopen_if_replaced(&mut self, paths: &FifoPaths) -> Result<(), Error> {
        if !self.fifo.is_current() {
            let reopened = Inbound::open(paths, &self.source)?;
            self.fifo = reopened.fifo;
            self.buffer = reopened.buffer;
            self.counted = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_messages_are_tolerated_and_floods_are_not() {
        let now = Instant::now();
        let mut meter = JunkMeter::new(now);
        assert!(!meter.add(2 * MAX_PAYLOAD as u64, now));
        assert!(meter.add(1, now));
        assert!(!meter.add(2 * MAX_PAYLOAD as u64, now + JUNK_PAUSE), "the overflow emptied it");
        assert!(!meter.add(MAX_PAYLOAD as u64, now + JUNK_PAUSE * 3 / 2), "half has leaked");
        assert!(meter.add(MAX_PAYLOAD as u64 + 1, now + JUNK_PAUSE * 3 / 2));
    }

    #[test]
    fn the_oldest_answers_are_dropped_first() {
        let mut seen = Seen::default();
        let answer = (0xF0, vec![0; MAX_SEEN_BYTES / 2]);
        for timestamp in 1..=3 {
            assert!(seen.insert(timestamp));
            seen.set_answer(timestamp, answer.clone());
        }
        assert!(!seen.insert(3));
        assert_eq!([1, 2, 3].map(|timestamp| seen.answer_to(timestamp).is_some()), [false, true, true]);
        for timestamp in 10..10 + MAX_SEEN as u64 {
            seen.insert(timestamp);
        }
        assert_eq!((seen.answer_to(3), seen.answer_bytes), (None, 0));
    }
}
