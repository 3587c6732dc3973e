//! What travels on a FIFO: a header of 82 bytes and JSON; and the buffer that finds messages in a torn stream.
//!
//! ```text
//! 0       4         5      6              38             70          78            82
//! | magic | version | type | source (32) | target (32) | timestamp | payload_len | JSON … |
//! ```
//!
//! A writer that died in the middle of a message leaves a torn one, and what follows it starts with a sound header:
//! magic, version and the two names of this FIFO. Such a header holds bytes that no JSON text can hold, so wherever one
//! shows up, what was before it is dropped: the torn message is lost, and no other.

use crate::error::Error;
use crate::wire::codes::{MAX_PAYLOAD, MESSAGE_MAGIC, VERSION};
use crate::wire::fields::{NAME, Reader, Writer};

/// Size of the header.
pub const MESSAGE_HEADER: usize = 82;
/// Magic and version: how every message starts.
const START: [u8; 5] = [0x47, 0x4D, 0x4C, 0x50, VERSION];

/// A message from one plugin to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginMessage {
    /// One of [`messages`](crate::wire::codes::messages), or the plugins' own.
    pub message_type: u8,
    /// Who sent it.
    pub source: String,
    /// To whom.
    pub target: String,
    /// Unix microseconds; unique and rising within a FIFO, so it names the message.
    pub timestamp: u64,
    /// JSON.
    pub payload: Vec<u8>,
}

impl PluginMessage {
    /// Its bytes.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().u32(MESSAGE_MAGIC).u8(VERSION).u8(self.message_type);
        let writer = writer.text(&self.source, NAME)?.text(&self.target, NAME)?.u64(self.timestamp);
        Ok(writer.tail32(&self.payload)?.done())
    }

    /// Reads its bytes.
    pub fn unpack(bytes: &[u8]) -> Result<PluginMessage, Error> {
        let mut reader = Reader::new(bytes, "plugin message");
        let (magic, version, message_type) = (reader.u32()?, reader.u8()?, reader.u8()?);
        if magic != MESSAGE_MAGIC || version != VERSION {
            return Err(reader.wrong(format!("magic 0x{magic:08X}, version {version}")));
        }
        let (source, target, timestamp) = (reader.text(NAME)?, reader.text(NAME)?, reader.u64()?);
        let size = reader.len32()?;
        let payload = reader.tail(size)?.to_vec();
        Ok(PluginMessage { message_type, source, target, timestamp, payload })
    }
}

/// Bytes of one FIFO in, its messages out.
pub struct MessageBuffer {
    bytes: Vec<u8>,
    start: usize,    // what is before it was given or dropped
    searched: usize, // from `start`: no second header begins before this
    names: Vec<u8>,  // both, as they stand in a sound header
    dropped: u64,
}

impl MessageBuffer {
    /// A buffer for the FIFO from `source` to `target`.
    pub fn new(source: &str, target: &str) -> Result<MessageBuffer, Error> {
        let names = Writer::new().text(source, NAME)?.text(target, NAME)?.done();
        Ok(MessageBuffer { bytes: Vec::new(), start: 0, searched: 1, names, dropped: 0 })
    }

    /// Adds what was read.
    pub fn feed(&mut self, data: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(data);
    }

    /// Bytes that belonged to no whole message and were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops what waits: its rest will not be read.
    pub fn clear(&mut self) {
        self.drop_until(None);
    }

    /// Bytes that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.rest().len()
    }

    /// The next whole message, or `None` when more must be read first.
    pub fn next_message(&mut self) -> Option<PluginMessage> {
        loop {
            self.drop_until(self.first_header(0));
            let rest = self.rest();
            let size =
                Reader::new(rest.get(MESSAGE_HEADER - 4..).unwrap_or_default(), "length").len32().ok()?;
            if size > MAX_PAYLOAD {
                self.drop_until(self.first_header(1));
                continue;
            }
            let end = MESSAGE_HEADER + size;
            if let Some(second) = self.second_header(end) {
                self.drop_until(Some(second));
                continue;
            }
            match rest.get(..end).map(PluginMessage::unpack) {
                None => {
                    self.searched = rest.len().saturating_sub(START.len()).max(1);
                    return None;
                }
                Some(Ok(message)) => {
                    self.start += end;
                    self.searched = 1;
                    return Some(message);
                }
                Some(Err(_)) => self.drop_until(self.first_header(1)), // counted in `dropped`
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Where, from `from` on, a sound header starts; or what may be one, cut off by the end of what was read.
    fn first_header(&self, from: usize) -> Option<usize> {
        let bytes = self.rest().get(from..).unwrap_or_default();
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == START[0]);
        let mut headers = starts.filter(|(at, _)| self.agrees(bytes.get(*at..).unwrap_or_default()));
        headers.next().map(|(at, _)| from + at)
    }

    /// Where, before `end`, another header starts. Where only JSON can be, magic and version alone tell.
    fn second_header(&self, end: usize) -> Option<usize> {
        let rest = self.rest();
        let bytes = rest.get(self.searched..rest.len().min(end + START.len())).unwrap_or_default();
        let starts = bytes.windows(START.len()).enumerate().filter(|(_, window)| *window == START);
        let mut headers = starts.map(|(at, _)| self.searched + at).filter(|at| {
            *at < end && (*at >= MESSAGE_HEADER || self.agrees(rest.get(*at..).unwrap_or_default()))
        });
        headers.next().or_else(|| self.cut_by_a_start(end))
    }

    /// Where the payload ends with the first bytes of a magic, as no JSON text does.
    fn cut_by_a_start(&self, end: usize) -> Option<usize> {
        let payload = self.rest().get(MESSAGE_HEADER..end)?;
        let lengths = (1..START.len()).rev();
        let mut cuts =
            lengths.filter(|length| START.get(..*length).is_some_and(|start| payload.ends_with(start)));
        cuts.next().map(|length| end - length)
    }

    /// Whether these bytes are those of a sound header, as far as they go.
    fn agrees(&self, bytes: &[u8]) -> bool {
        let same = |part: &[u8], whole: &[u8]| part.iter().zip(whole).all(|(a, b)| a == b);
        same(bytes, &START) && same(bytes.get(START.len() + 1..).unwrap_or_default(), &self.names)
    }

    /// Drops what is before that place; all there is when there is none.
    fn drop_until(&mut self, place: Option<usize>) {
        let count = place.unwrap_or(self.rest().len());
        if count > 0 {
            self.start += count;
            self.dropped += count as u64;
            self.searched = 1;
        }
    }
}
