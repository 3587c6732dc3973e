//! JSON as RFC 8259 has it, in UTF-8, and as the protocol wants it: no duplicate keys, nesting at most 64.
//!
//! serde_json refuses NaN, lone surrogates, numbers out of range and everything beside UTF-8 itself. What it lets pass,
//! a second look at the text finds.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use crate::error::Error;

/// The deepest nesting of objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// The value of a JSON text.
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    let value = serde_json::from_slice(text).map_err(|error| Error::malformed("JSON", error.to_string()))?;
    check(text)?;
    Ok(value)
}

/// The text of a value.
pub fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Duplicate keys and depth, in a text that serde_json has accepted.
fn check(text: &[u8]) -> Result<(), Error> {
    let mut open: Vec<HashSet<Cow<'_, [u8]>>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => open.push(HashSet::new()),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let end = string_end(text, at + 1);
                let string = text.get(at..end).unwrap_or_default();
                if is_key(text, end) {
                    if let Some(keys) = open.last_mut() {
                        if !keys.insert(unescaped(string)) {
                            let key = String::from_utf8_lossy(string).into_owned();
                            return Err(Error::malformed("JSON", format!("duplicate key {key}")));
                        }
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        if open.len() > MAX_DEPTH {
            return Err(Error::malformed("JSON", format!("nested deeper than {MAX_DEPTH}")));
        }
        at += 1;
    }
    Ok(())
}

/// Behind the closing quote of the string whose inside starts at `at`.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn is_key(text: &[u8], end: usize) -> bool {
    let rest = text.get(end..).unwrap_or_default();
    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// The string that a quoted text means: `"a"` and `"\u0061"` are one key.
fn unescaped(string: &[u8]) -> Cow<'_, [u8]> {
    if string.contains(&b'\\') {
        if let Ok(text) = serde_json::from_slice::<String>(string) {
            return Cow::Owned(format!("\"{text}\"").into_bytes());
        }
    }
    Cow::Borrowed(string)
}
