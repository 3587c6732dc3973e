//! The texts of errors. Other tests compare status and code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::time::Duration;

use common::FakeCore;
use reed_plugin::{Error, Plugin, Value, json};

#[test]
fn texts_of_errors() {
    let text = |text: &str| text.to_owned();
    let no_fifo = |nearest: &str| Error::NoFifo { plugin: text("analitics"), nearest: text(nearest) };
    let refused =
        Error::Refused { what: text("SnippetGet"), status: 404, code: 0, message: text("no snippet 'x'") };
    for (error, expected) in [
        (
            Error::Environment { variable: "REED_SOCKET", why: text("is empty") },
            "REED_SOCKET: is empty; the core starts plugins: `reed plugin start NAME`, or `reed plugin test NAME`",
        ),
        (
            Error::Io { what: text("connect to /run/x"), source: io::Error::other("no route") },
            "connect to /run/x: no route",
        ),
        (
            Error::Malformed { what: text("JSON"), why: text("duplicate key \"a\"") },
            "JSON: duplicate key \"a\"",
        ),
        (Error::Version { found: 2 }, "unsupported protocol version 2; this SDK implements version 1"),
        (Error::TooLarge { size: 11, limit: 10 }, "11 bytes exceed the limit of 10"),
        (refused, "SnippetGet: 404 no snippet 'x'"),
        (Error::fail(422, "no title"), "no title"),
        (
            Error::Timeout { what: text("message 0x07 to peer"), after: Duration::from_secs(5) },
            "message 0x07 to peer: no answer within 5s",
        ),
        (
            no_fifo(""),
            "no FIFO for plugin \"analitics\"; plugins need a row in plugin-registry.csv; see `reed plugin list`",
        ),
        (
            no_fifo("analytics"),
            "no FIFO for plugin \"analitics\"; did you mean \"analytics\"?; \
             plugins need a row in plugin-registry.csv; see `reed plugin list`",
        ),
        (
            Error::QueueFull { plugin: text("backup"), waiting: 1024 },
            "the FIFO to backup is full, and 1024 messages are queued for it; retry later",
        ),
        (
            Error::Disconnected { what: text("read") },
            "read: the connection to the core is closed; the plugin reconnects; retry",
        ),
    ] {
        assert_eq!((error.to_string().as_str(), format!("{error:?}").as_str()), (expected, expected));
    }
}

#[test]
fn texts_of_answers() {
    let core = FakeCore::new("demo", &["peer"]);
    let plugin = Plugin::builder("demo", "1.0.0")
        .action("panic", 1, |_, _| -> Result<Value, Error> { panic!("at the disco") })
        .action("greet", 2, |_, input| input.json());
    let plugin = core.start(plugin);
    let mut link = core.ready();
    for (id, input, expected) in [
        (1, "", "plugin demo, action panic: panicked: at the disco; see `reed plugin logs demo`"),
        (77, "", "demo: 404 no action with id 0x4D (ids are 0x01 to 0xEF); it has: greet, panic"),
        (2, "{", "JSON: EOF while parsing an object at line 1 column 1"),
    ] {
        assert_eq!(link.call(id, input.as_bytes()).1["message"], json!(expected));
    }
    link.shut_down(plugin);
}
