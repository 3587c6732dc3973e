//! Frames: a 12-byte header and a payload, and the buffer that cuts them from a stream.
//!
//! ```text
//! 0       4       5         6      7         8            12
//! | magic | version | command | flags | reserved | payload_len | payload … |
//! ```
//!
//! After an error of [`FrameBuffer::next_frame`] the stream is unusable: its frame boundaries are lost.

use crate::error::Error;
use crate::wire::codes::{MAGIC, MAX_PAYLOAD, VERSION};
use crate::wire::fields::{Reader, Writer};

/// The size of the header.
pub const HEADER: usize = 12;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// A [`Command`](crate::wire::codes::Command), or the id of an action.
    pub command_id: u8,
    /// Bits of [`flags`](crate::wire::codes::flags).
    pub flags: u8,
    /// The bytes after the header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Encodes a frame.
pub fn encode(command_id: u8, payload: &[u8], flags: u8) -> Result<Vec<u8>, Error> {
    let writer = Writer::new().u32(MAGIC).u8(VERSION).u8(command_id).u8(flags).u8(0);
    Ok(writer.tail32(payload)?.done())
}

/// Cuts frames from a stream of bytes.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize, // of the next frame
    max_payload: usize,
}

impl Default for FrameBuffer {
    fn default() -> FrameBuffer {
        FrameBuffer::new(MAX_PAYLOAD)
    }
}

impl FrameBuffer {
    /// An empty buffer that rejects payloads of more than `max_payload` bytes.
    pub fn new(max_payload: usize) -> FrameBuffer {
        FrameBuffer { bytes: Vec::new(), start: 0, max_payload }
    }

    /// Appends bytes that were read.
    pub fn feed(&mut self, data: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// The next complete frame, or None until more bytes are there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        if rest.len() < HEADER {
            return Ok(None);
        }
        let mut reader = Reader::new(rest, "frame");
        let magic = reader.u32()?;
        if magic != MAGIC {
            return Err(reader.malformed(format!("bad magic 0x{magic:08X}")));
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        let (command_id, flags, _reserved) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let size = reader.len32()?;
        if size > self.max_payload {
            return Err(Error::TooLarge { size: size as u64, limit: self.max_payload as u64 });
        }
        if rest.len() < HEADER + size {
            return Ok(None);
        }
        let payload = reader.take(size)?.to_vec();
        self.start += HEADER + size;
        Ok(Some(Frame { command_id, flags, payload }))
    }

    /// Frees the memory that a long frame needed.
    pub fn shrink(&mut self) {
        self.feed(&[]);
        self.bytes.shrink_to_fit();
    }
}
