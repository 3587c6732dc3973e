//! The fake core's end of the connection: a thread answers the commands that arrive on a pair of sockets.
//!
//! So a handler under test sends real frames, also when it sends several before it reads an answer.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::sys::lock;
use crate::testing::content::FakeContent;
use crate::testing::{SentSignal, Write};
use crate::wire::codes::{Command, Signal, flags};
use crate::wire::common::{ErrorResponse, SignalMessage};
use crate::wire::frames::{Frame, FrameBuffer, encode};

const CHUNK: usize = 64 * 1024;

/// What the test sets, and what the plugin has sent.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) content: FakeContent,
    pub(super) permissions: Option<Vec<String>>, // None: all
    pub(super) failures: BTreeMap<u8, VecDeque<Error>>,
    pub(super) responses: BTreeMap<u8, Vec<u8>>,
    pub(super) writes: Vec<Write>,
    pub(super) signals: Vec<SentSignal>,
}

impl State {
    fn answer(&mut self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Error> {
        self.check_permission(command)?;
        if let Some(failure) = self.failures.get_mut(&(command as u8)).and_then(VecDeque::pop_front) {
            return Err(failure);
        }
        if let Some(response) = self.responses.get(&(command as u8)) {
            return Ok(response.clone());
        }
        let (response, write) = self.content.handle(command, payload)?;
        self.writes.extend(write);
        Ok(response)
    }

    fn check_permission(&self, command: Command) -> Result<(), Error> {
        let needed = permission(command);
        match &self.permissions {
            Some(granted) if !granted.iter().any(|each| each == needed) => {
                Err(Error::fail(403, format!("the plugin may not {command:?}: it needs {needed}")))
            }
            _ => Ok(()),
        }
    }
}

fn permission(command: Command) -> &'static str {
    match command {
        Command::SnippetCreate | Command::SnippetUpdate | Command::SnippetDelete | Command::SnippetRename => {
            "snippet_write"
        }
        Command::SnippetGet
        | Command::SnippetList
        | Command::SnippetFind
        | Command::SnippetNames
        | Command::SnippetWatch
        | Command::RegistryCheck => "snippet_read",
        Command::SnippetRestore => "snippet_restore",
        Command::SchemaBond | Command::SchemaUnbond => "schema_write",
        Command::SchemaTree => "schema_read",
        Command::RegistryDefine | Command::RegistryDelete => "registry_write",
        Command::RegistryGet | Command::RegistryList => "registry_read",
        Command::SearchQuery => "search_read",
        Command::SearchIndex => "search_write",
        Command::PluginSend | Command::PluginRunSchedule => "plugin_send",
        Command::PluginHealth | Command::PluginList | Command::SystemStats => "system_stats",
        _ => "the group admin, which no plugin is in",
    }
}

/// Runs until the plugin's end of the pair is closed.
pub(super) fn serve(mut stream: UnixStream, state: &Arc<Mutex<State>>) {
    let mut buffer = FrameBuffer::new(u32::MAX as usize);
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(size) => buffer.feed(chunk.get(..size).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        while let Ok(Some(frame)) = buffer.next_frame() {
            let Some(response) = handle(&frame, &mut lock(state)) else { continue };
            if stream.write_all(&response).is_err() {
                return;
            }
        }
    }
}

/// The frame of the response; None for a signal.
fn handle(frame: &Frame, state: &mut State) -> Option<Vec<u8>> {
    if frame.has(flags::SIGNAL) {
        let message = SignalMessage::unpack(&frame.payload).ok()?;
        let signal = Signal::from_u8(message.signal_type)?;
        state.signals.push(SentSignal { signal, data: message.data });
        return None;
    }
    let outcome = Command::from_u8(frame.command_id)
        .ok_or_else(|| Error::fail(400, format!("no command 0x{:02X}", frame.command_id)))
        .and_then(|command| state.answer(command, &frame.payload));
    let encoded = match outcome {
        Ok(payload) => encode(frame.command_id, &payload, flags::RESPONSE),
        Err(error) => {
            let (status, error_code, message) = (error.status(), error.code(), error.to_string());
            let payload = ErrorResponse { status, error_code, message }.pack();
            encode(frame.command_id, &payload, flags::RESPONSE | flags::ERROR)
        }
    };
    encoded.ok()
}
