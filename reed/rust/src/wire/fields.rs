//! The fields of a packed little-endian struct.
//!
//! A [`Reader`] decodes a payload field by field; [`Reader::tail`] is the variable part at its end. A [`Writer`] encodes
//! one. Names have 32 bytes with a terminating NUL, references 36 bytes without one.

use crate::error::Error;

/// The size of a name: at most 31 bytes of UTF-8 and a NUL.
pub const NAME: usize = 32;
/// The size of a reference: a UUID in text form, or a semantic name padded with zeros.
pub const REF: usize = 36;

/// The size of a version: at most 15 bytes of UTF-8 and a NUL.
pub const VERSION: usize = 16;

/// Decodes the fields of a payload.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `payload`; errors name the struct as `what`.
    pub fn new(payload: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: payload, what }
    }

    /// An error about this payload.
    pub fn malformed(&self, why: impl Into<String>) -> Error {
        Error::malformed(self.what, why)
    }

    /// The next `size` bytes.
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], Error> {
        match (self.rest.get(..size), self.rest.get(size..)) {
            (Some(head), Some(rest)) => {
                self.rest = rest;
                Ok(head)
            }
            _ => Err(self.malformed(format!("{size} bytes expected, {} left", self.rest.len()))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// `B`
    pub fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// `H`
    pub fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// `I`
    pub fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// `Q`
    pub fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// `i`
    pub fn i32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    /// `f`
    pub fn f32(&mut self) -> Result<f32, Error> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    /// The text in a field of `size` bytes, up to its first NUL. Only a reference may have no NUL.
    pub fn text(&mut self, size: usize) -> Result<String, Error> {
        let raw = self.take(size)?;
        let end = raw.iter().position(|byte| *byte == 0);
        if end.is_none() && size != REF {
            return Err(self.malformed("a text field has no terminating NUL"));
        }
        let text = raw.get(..end.unwrap_or(size)).unwrap_or(raw);
        self.utf8(text, "text field")
    }

    fn utf8(&self, bytes: &[u8], field: &str) -> Result<String, Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                Err(self.malformed(format!("{field} is not UTF-8 at byte {}", error.valid_up_to())))
            }
        }
    }

    /// `I`, as a length.
    pub fn len32(&mut self) -> Result<usize, Error> {
        Ok(self.u32()? as usize)
    }

    /// A text of `size` bytes; other fields may follow.
    pub fn long_text(&mut self, size: usize) -> Result<String, Error> {
        let raw = self.take(size)?;
        self.utf8(raw, "text")
    }

    /// `H` length, then a text; other fields may follow.
    pub fn text16(&mut self) -> Result<String, Error> {
        let size = usize::from(self.u16()?);
        self.long_text(size)
    }

    /// `H` length, then bytes; other fields may follow.
    pub fn bytes16(&mut self) -> Result<Vec<u8>, Error> {
        let size = usize::from(self.u16()?);
        Ok(self.take(size)?.to_vec())
    }

    /// `I` length, then bytes; other fields may follow.
    pub fn bytes32(&mut self) -> Result<Vec<u8>, Error> {
        let size = self.len32()?;
        Ok(self.take(size)?.to_vec())
    }

    /// `B`, 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.malformed(format!("{other}, expected 0 or 1"))),
        }
    }

    /// `I` count, then that many items; other fields may follow.
    pub(crate) fn list<T>(
        &mut self,
        read: impl Fn(&mut Reader<'a>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    /// The rest of the payload, which must have `size` bytes.
    pub fn tail(&mut self, size: usize) -> Result<&'a [u8], Error> {
        if self.rest.len() != size {
            let found = self.rest.len();
            return Err(self.malformed(format!("{found} bytes follow, but the length field is {size}")));
        }
        self.take(size)
    }

    /// As [`Reader::tail`], as a text.
    pub fn text_tail(&mut self, size: usize) -> Result<String, Error> {
        let raw = self.tail(size)?;
        self.utf8(raw, "text")
    }

    /// The rest of the payload.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Fails unless the payload is at its end.
    pub fn end(&self) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.malformed(format!("{more} trailing bytes"))),
        }
    }
}

/// Encodes the fields of a payload.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty payload.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// The payload.
    pub fn done(self) -> Vec<u8> {
        self.bytes
    }

    /// Raw bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Writer {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// `B`
    pub fn u8(self, value: u8) -> Writer {
        self.bytes(&[value])
    }

    /// `H`
    pub fn u16(self, value: u16) -> Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// `I`
    pub fn u32(self, value: u32) -> Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// `Q`
    pub fn u64(self, value: u64) -> Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// `i`
    pub fn i32(self, value: i32) -> Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// `f`
    pub fn f32(self, value: f32) -> Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// A text in a field of `size` bytes, padded with zeros. All but references must leave room for a NUL.
    pub fn text(mut self, text: &str, size: usize) -> Result<Writer, Error> {
        let room = if size == REF { size } else { size.saturating_sub(1) };
        if text.len() > room || text.contains('\0') {
            return Err(Error::malformed(
                format!("{text:?}"),
                format!("does not fit a field of {room} bytes"),
            ));
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.resize(self.bytes.len() + size - text.len(), 0);
        Ok(self)
    }

    /// `I` length, then the bytes.
    pub fn tail32(self, tail: &[u8]) -> Result<Writer, Error> {
        match u32::try_from(tail.len()) {
            Ok(size) => Ok(self.u32(size).bytes(tail)),
            Err(_) => Err(Error::TooLarge { size: tail.len() as u64, limit: u64::from(u32::MAX) }),
        }
    }

    /// `H` length, then the bytes.
    pub fn tail16(self, tail: &[u8]) -> Result<Writer, Error> {
        match u16::try_from(tail.len()) {
            Ok(size) => Ok(self.u16(size).bytes(tail)),
            Err(_) => Err(Error::TooLarge { size: tail.len() as u64, limit: u64::from(u16::MAX) }),
        }
    }

    /// `I` count, then the items.
    pub(crate) fn list<T>(
        self,
        items: &[T],
        write: impl Fn(&T, Writer) -> Result<Writer, Error>,
    ) -> Result<Writer, Error> {
        items.iter().try_fold(self.u32(items.len() as u32), |writer, item| write(item, writer))
    }

    /// `H` length, then the text, truncated to 65,535 bytes.
    pub fn clipped16(self, text: &str) -> Writer {
        let text = truncate(text, usize::from(u16::MAX));
        self.u16(text.len() as u16).bytes(text.as_bytes())
    }
}

/// The start of a text, at most `max` bytes, cut between two characters.
pub(crate) fn truncate(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
