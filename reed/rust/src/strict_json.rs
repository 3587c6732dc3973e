//! Strict JSON (RFC 8259, UTF-8): no duplicate keys, at most 64 levels of nesting, no numbers out of range.
//!
//! Numbers keep their digits: 18446744073709551615 and 1.50 are written as they were read (but 1E2 as 1e+2). `as_i64`,
//! `as_u64` and `as_f64` of a [`Value`] return the nearest number of Rust, or None.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use crate::error::Error;

/// The maximum nesting of objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// Levels around a snippet's content.
const ENVELOPE: usize = 8;
const MAX_DIGITS: usize = 4300; // of an integer, as in the core

/// Parses a JSON text.
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    parse_within(text, MAX_DEPTH)
}

/// As [`parse`], for a text that contains a snippet's content, such as the input of a call: allows 8 more levels.
pub fn parse_around_content(text: &[u8]) -> Result<Value, Error> {
    parse_within(text, MAX_DEPTH + ENVELOPE)
}

fn parse_within(text: &[u8], max_depth: usize) -> Result<Value, Error> {
    let value = serde_json::from_slice(text).map_err(|error| Error::malformed("JSON", error.to_string()))?;
    check(text, max_depth)?;
    Ok(value)
}

/// The compact JSON text of a value.
pub fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn check(text: &[u8], max_depth: usize) -> Result<(), Error> {
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
        if open.len() > max_depth {
            return Err(Error::malformed("JSON", format!("nested deeper than {max_depth}")));
        }
        at = if byte.is_ascii_digit() { number_end(text, at)? } else { at + 1 };
    }
    Ok(())
}

/// The offset after the number whose first digit is at `at`.
fn number_end(text: &[u8], at: usize) -> Result<usize, Error> {
    let rest = text.get(at..).unwrap_or_default();
    let is_part = |byte: &u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
    let size = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    let digits = std::str::from_utf8(rest.get(..size).unwrap_or_default()).unwrap_or_default();
    let out_of_range = if digits.contains(['.', 'e', 'E']) {
        !digits.parse::<f64>().is_ok_and(f64::is_finite)
    } else {
        size > MAX_DIGITS
    };
    if out_of_range {
        return Err(Error::malformed("JSON", "number out of range"));
    }
    Ok(at + size)
}

/// The offset after the closing quote of a string whose opening quote is before `at`.
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

/// Resolves escapes: `"a"` and `"\u0061"` are the same key.
fn unescaped(string: &[u8]) -> Cow<'_, [u8]> {
    if string.contains(&b'\\') {
        if let Ok(text) = serde_json::from_slice::<String>(string) {
            return Cow::Owned(format!("\"{text}\"").into_bytes());
        }
    }
    Cow::Borrowed(string)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let long = "7".repeat(400);
        for digits in [
            "18446744073709551615",
            "0.1000000000000000055511151231257827",
            "1.50",
            "1e+2",
            "-0",
            "1e-400",
            &long,
        ] {
            let written = format!("{{\"a\":[{digits},1],\"n\":{digits}}}");
            assert_eq!(text(&parse(written.as_bytes()).unwrap()), written.as_bytes());
        }
        let value = parse(b"[1.50, 18446744073709551615]").unwrap();
        assert_eq!(value[0].as_f64(), Some(1.5));
        assert_eq!(value[1].as_u64(), Some(u64::MAX));
    }

    #[test]
    fn content_of_the_maximum_depth_is_parsed_within_an_envelope() {
        let deepest = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(deepest.as_bytes()).is_ok());
        let envelope = format!("{{\"content\":{deepest}}}");
        assert!(parse(envelope.as_bytes()).is_err());
        assert!(parse_around_content(envelope.as_bytes()).is_ok());
        assert!(parse_around_content("[".repeat(73).as_bytes()).is_err());
        assert!(parse("7".repeat(4301).as_bytes()).is_err());
    }
}
