//! Messages between plugins: a header of 82 bytes and JSON, and the buffer that cuts them from a FIFO.
//!
//! ```text
//! 0       4         5      6              38             70          78            82
//! | magic | version | type | source (32) | target (32) | timestamp | payload_len | JSON … |
//! ```
//!
//! A plugin that dies while it writes leaves a torn message. No JSON text contains the bytes of a header, so wherever one
//! appears, what was before it is dropped.

use crate::error::Error;
use crate::wire::codes::{MAX_PAYLOAD, MESSAGE_MAGIC, VERSION};
use crate::wire::fields::{NAME, Reader, Writer};

/// The size of the header.
pub const MESSAGE_HEADER: usize = 82;
/// Magic and version: the start of every message.
const START: [u8; 5] = [0x47, 0x4D, 0x4C, 0x50, VERSION];

/// A message from one plugin to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginMessage {
    /// One of [`messages`](crate::wire::codes::messages), or a type that the plugins define.
    pub message_type: u8,
    /// The plugin that sends it.
    pub source: String,
    /// The plugin that receives it.
    pub target: String,
    /// Unix microseconds; unique and increasing within a FIFO, so it identifies the message.
    pub timestamp: u64,
    /// JSON.
    pub payload: Vec<u8>,
}

impl PluginMessage {
    /// Encodes the message.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let writer = Writer::new().u32(MESSAGE_MAGIC).u8(VERSION).u8(self.message_type);
        let writer = writer.text(&self.source, NAME)?.text(&self.target, NAME)?.u64(self.timestamp);
        Ok(writer.tail32(&self.payload)?.done())
    }

    /// Decodes the message.
    pub fn unpack(bytes: &[u8]) -> Result<PluginMessage, Error> {
        let mut reader = Reader::new(bytes, "plugin message");
        let (magic, version, message_type) = (reader.u32()?, reader.u8()?, reader.u8()?);
        if magic != MESSAGE_MAGIC || version != VERSION {
            return Err(reader.malformed(format!("magic 0x{magic:08X}, version {version}")));
        }
        let (source, target, timestamp) = (reader.text(NAME)?, reader.text(NAME)?, reader.u64()?);
        let size = reader.len32()?;
        let payload = reader.tail(size)?.to_vec();
        Ok(PluginMessage { message_type, source, target, timestamp, payload })
    }
}

/// Cuts messages from the bytes of a FIFO.
#[derive(Debug)]
pub struct MessageBuffer {
    bytes: Vec<u8>,
    start: usize,    // of the first bytes that were neither returned nor dropped
    searched: usize, // from `start`: no second header starts before this
    names: Vec<u8>,  // both, as encoded in a header
    dropped: u64,
}

impl MessageBuffer {
    /// A buffer for the FIFO from `source` to `target`.
    pub fn new(source: &str, target: &str) -> Result<MessageBuffer, Error> {
        let names = Writer::new().text(source, NAME)?.text(target, NAME)?.done();
        Ok(MessageBuffer { bytes: Vec::new(), start: 0, searched: 1, names, dropped: 0 })
    }

    /// Appends bytes that were read.
    pub fn feed(&mut self, data: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(data);
    }

    /// The number of dropped bytes: they belonged to no complete message.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops an incomplete message.
    pub fn clear(&mut self) {
        self.drop_until(None);
    }

    /// The number of bytes of an incomplete message.
    pub fn pending(&self) -> usize {
        self.rest().len()
    }

    /// The next complete message, or None until more bytes are there.
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

    /// Of a header, or of the start of one at the end of the buffer.
    fn first_header(&self, from: usize) -> Option<usize> {
        let bytes = self.rest().get(from..).unwrap_or_default();
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == START[0]);
        let mut headers = starts.filter(|(at, _)| self.may_be_header(bytes.get(*at..).unwrap_or_default()));
        headers.next().map(|(at, _)| from + at)
    }

    /// Before `end`. Within JSON, magic and version are enough to recognize a header.
    fn second_header(&self, end: usize) -> Option<usize> {
        let rest = self.rest();
        let bytes = rest.get(self.searched..rest.len().min(end + START.len())).unwrap_or_default();
        let starts = bytes.windows(START.len()).enumerate().filter(|(_, window)| *window == START);
        let mut headers = starts.map(|(at, _)| self.searched + at).filter(|at| {
            *at < end && (*at >= MESSAGE_HEADER || self.may_be_header(rest.get(*at..).unwrap_or_default()))
        });
        headers.next().or_else(|| self.partial_start(end))
    }

    /// A partial magic at the end of the payload: no JSON text ends with one.
    fn partial_start(&self, end: usize) -> Option<usize> {
        let payload = self.rest().get(MESSAGE_HEADER..end)?;
        let lengths = (1..START.len()).rev();
        let mut cuts =
            lengths.filter(|length| START.get(..*length).is_some_and(|start| payload.ends_with(start)));
        cuts.next().map(|length| end - length)
    }

    fn may_be_header(&self, bytes: &[u8]) -> bool {
        let same = |part: &[u8], whole: &[u8]| part.iter().zip(whole).all(|(a, b)| a == b);
        same(bytes, &START) && same(bytes.get(START.len() + 1..).unwrap_or_default(), &self.names)
    }

    fn drop_until(&mut self, offset: Option<usize>) {
        let count = offset.unwrap_or(self.rest().len());
        if count > 0 {
            self.start += count;
            self.dropped += count as u64;
            self.searched = 1;
        }
    }
}
