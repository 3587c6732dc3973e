//! Frames, messages and JSON from random, torn and invalid bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::Random;
use reed_plugin::wire::codes::{Command, MAX_PAYLOAD};
use reed_plugin::wire::fields::{NAME, Reader, Writer};
use reed_plugin::wire::frames::{Frame, FrameBuffer, encode};
use reed_plugin::wire::message::{MESSAGE_HEADER, MessageBuffer, PluginMessage};
use reed_plugin::wire::snippets::{SnippetGot, SnippetPage, SnippetWritten};
use reed_plugin::{Error, json, strict_json};

#[test]
fn frames_are_complete_wherever_the_stream_is_cut() {
    for seed in 1..300 {
        let mut random = Random::new(seed);
        let sent: Vec<Frame> = (0..1 + random.below(8))
            .map(|_| Frame {
                command_id: random.next() as u8,
                flags: random.next() as u8,
                payload: random.bytes(200),
            })
            .collect();
        let mut bytes = Vec::new();
        for frame in &sent {
            bytes.extend(encode(frame.command_id, &frame.payload, frame.flags).unwrap());
        }
        let max = 1 + random.below(40);
        let mut buffer = FrameBuffer::default();
        let mut found = Vec::new();
        for piece in random.pieces(&bytes, max) {
            buffer.feed(piece);
            while let Some(frame) = buffer.next_frame().unwrap() {
                found.push(frame);
            }
        }
        assert_eq!(found, sent, "seed {seed}");
    }
}

#[test]
fn a_payload_over_the_limit_is_rejected_at_its_header() {
    let mut buffer = FrameBuffer::new(10);
    buffer.feed(&encode(Command::SnippetGet as u8, &[0; 11], 0).unwrap()[..12]);
    assert!(matches!(buffer.next_frame(), Err(Error::TooLarge { size: 11, limit: 10 })));
}

#[test]
fn random_bytes_cause_no_panic() {
    for seed in 1..3000 {
        let bytes = Random::new(seed).bytes(300);
        let _ = (SnippetWritten::unpack(&bytes), SnippetGot::unpack(&bytes), SnippetPage::unpack(&bytes));
        let _ = (PluginMessage::unpack(&bytes), strict_json::parse(&bytes));
        let mut buffer = FrameBuffer::default();
        buffer.feed(&bytes);
        let _ = buffer.next_frame();
        let mut messages = MessageBuffer::new("a", "b").unwrap();
        messages.feed(&bytes);
        assert_eq!(messages.next_message(), None);
    }
}

#[test]
fn names_need_a_terminating_nul_and_references_do_not() {
    assert!(Writer::new().text(&"n".repeat(32), NAME).is_err());
    assert!(Writer::new().text(&"r".repeat(36), 36).is_ok());
    assert!(Writer::new().text("a\0b", NAME).is_err());
    let long = "ü".repeat(40_000);
    let bytes = Writer::new().clipped16(&long).done();
    let mut reader = Reader::new(&bytes, "text");
    let size = usize::from(reader.u16().unwrap());
    assert_eq!(size, 65_534);
    assert!(long.starts_with(&reader.text_tail(size).unwrap()));
}

fn message(random: &mut Random, number: u64, target: &str) -> PluginMessage {
    let words: Vec<String> = (0..random.below(60)).map(|_| format!("GMLP {}", random.next())).collect();
    PluginMessage {
        message_type: random.next() as u8,
        source: "ab".to_owned(),
        target: target.to_owned(),
        timestamp: 1_700_000_000_000_000 + number,
        payload: json!({"number": number, "words": words}).to_string().into_bytes(),
    }
}

fn read(random: &mut Random, buffer: &mut MessageBuffer, bytes: &[u8]) -> Vec<PluginMessage> {
    let max = 1 + random.below(300);
    let mut found = Vec::new();
    for piece in random.pieces(bytes, max) {
        buffer.feed(piece);
        while let Some(message) = buffer.next_message() {
            found.push(message);
        }
    }
    found
}

/// A writer that dies within a message loses only that message.
#[test]
fn only_torn_messages_are_lost() {
    for seed in 1..2000 {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        let mut whole = Vec::new();
        for number in 0..12 {
            let message = message(&mut random, number, "analytics");
            let packed = message.pack().unwrap();
            if random.below(3) == 0 {
                let near_header = random.below(2) == 0;
                let cut = random.below(if near_header { MESSAGE_HEADER + 2 } else { packed.len() });
                bytes.extend_from_slice(&packed[..cut.min(packed.len() - 1)]);
            } else {
                bytes.extend_from_slice(&packed);
                whole.push(message);
            }
        }
        let last = message(&mut random, 99, "analytics");
        bytes.extend(last.pack().unwrap());
        whole.push(last);
        let mut buffer = MessageBuffer::new("ab", "analytics").unwrap();
        let found = read(&mut random, &mut buffer, &bytes);
        let numbers = |all: &[PluginMessage]| all.iter().map(|one| one.timestamp % 100).collect::<Vec<_>>();
        assert_eq!(numbers(&found), numbers(&whole), "seed {seed}");
        assert!(found == whole, "seed {seed}");
    }
}

/// The reader starts within a message, or finds messages of another FIFO.
#[test]
fn foreign_bytes_are_dropped() {
    for seed in 1..500 {
        let mut random = Random::new(seed);
        let foreign = message(&mut random, 1, "someone-else").pack().unwrap();
        let mut bytes = foreign[random.below(foreign.len())..].to_vec();
        bytes.extend(random.bytes(200));
        bytes.extend(&foreign);
        let dropped = bytes.len() as u64;
        let own = message(&mut random, 2, "analytics");
        bytes.extend(own.pack().unwrap());
        let mut buffer = MessageBuffer::new("ab", "analytics").unwrap();
        assert_eq!(read(&mut random, &mut buffer, &bytes), [own], "seed {seed}");
        assert_eq!((buffer.dropped(), buffer.pending()), (dropped, 0));
    }
}

#[test]
fn only_a_message_with_an_invalid_length_is_lost() {
    let mut random = Random::new(5);
    let first = message(&mut random, 1, "analytics");
    let mut bytes = first.pack().unwrap();
    bytes[MESSAGE_HEADER - 4..MESSAGE_HEADER].copy_from_slice(&(MAX_PAYLOAD as u32 + 1).to_le_bytes());
    let second = message(&mut random, 2, "analytics");
    bytes.extend(second.pack().unwrap());
    let mut buffer = MessageBuffer::new("ab", "analytics").unwrap();
    assert_eq!(read(&mut random, &mut buffer, &bytes), [second]);
}

#[test]
fn json_is_strict() {
    assert_eq!(strict_json::parse(br#"{"a":{"a":[1,{"a":2}]},"b":"{\"a\":"}"#).unwrap()["b"], "{\"a\":");
    for bad in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"b":1, "b" :2}}]"#] {
        assert_eq!(strict_json::parse(bad.as_bytes()).unwrap_err().status(), 400, "{bad}");
    }
    let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
    assert!(strict_json::parse(nested(64).as_bytes()).is_ok());
    assert!(strict_json::parse(nested(65).as_bytes()).is_err());
}
