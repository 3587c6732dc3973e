//! Shared by the tests: a random generator, a scripted core, and another plugin.
#![allow(dead_code, unreachable_pub)] // each test crate uses a part

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use reed_plugin::wire::codes::{Command, flags};
use reed_plugin::wire::common::{JsonResponse, SignalMessage};
use reed_plugin::wire::frames::{Frame, FrameBuffer, encode};
use reed_plugin::wire::plugins::PluginRegister;
use reed_plugin::wire::snippets::{Record, SnippetGot, SnippetPage, SnippetWritten};
use reed_plugin::{Environment, Error, PluginBuilder, Signal, Value, json};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

/// xorshift64*
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.next() as u8).collect()
    }

    /// Cuts bytes into pieces of random size.
    pub fn pieces<'a>(&mut self, mut bytes: &'a [u8], max: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(max)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A runtime folder with the socket of one plugin and its FIFOs; the test plays the core.
pub struct FakeCore {
    pub folder: PathBuf,
    pub name: &'static str,
    listener: Option<UnixListener>,
    held: Vec<std::os::fd::OwnedFd>,
    /// The answer to PLUGIN_REGISTER.
    pub answer: Value,
}

impl FakeCore {
    pub fn new(name: &'static str, peers: &[&str]) -> FakeCore {
        FakeCore::below("", name, peers)
    }

    /// In a subfolder of the temporary folder.
    pub fn below(path: &str, name: &'static str, peers: &[&str]) -> FakeCore {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("reed-plugin-{}-{number}", std::process::id())).join(path);
        fs::create_dir_all(folder.join("fifos")).unwrap();
        let mut core = FakeCore {
            folder,
            name,
            listener: None,
            held: Vec::new(),
            answer: json!({"settings": {"depth": 3}, "permissions": ["snippet_read"], "limits": {}}),
        };
        for peer in peers {
            core.make_pair(peer);
        }
        core.listen();
        core
    }

    pub fn make_pair(&mut self, peer: &str) {
        for path in [self.fifo(peer, self.name), self.fifo(self.name, peer)] {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            self.held.push(rustix::fs::open(&path, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()).unwrap());
        }
    }

    pub fn fifo(&self, source: &str, target: &str) -> PathBuf {
        self.folder.join("fifos").join(format!("{source}→{target}"))
    }

    pub fn listen(&mut self) {
        let _ = fs::remove_file(self.socket());
        let folder = rustix::fs::open(&self.folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join("plugin.sock");
        self.listener = Some(UnixListener::bind(short).unwrap());
    }

    /// Closes the listener, as the end of a core does.
    pub fn close(&mut self) {
        self.listener = None;
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("plugin.sock")
    }

    pub fn environment(&self) -> Environment {
        Environment::new(self.name, self.socket(), &self.folder)
    }

    /// Runs a plugin on a thread.
    pub fn start(&self, plugin: PluginBuilder) -> JoinHandle<Result<(), Error>> {
        let (plugin, environment) = (plugin.build(), self.environment());
        std::thread::spawn(move || reed_plugin::serve(&plugin, environment))
    }

    /// Accepts the plugin's next connection.
    pub fn accept(&self) -> CoreEnd {
        let listener = self.listener.as_ref().unwrap();
        assert!(is_readable(listener, Duration::from_secs(10)), "the plugin does not connect");
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        CoreEnd { stream, buffer: FrameBuffer::default(), answer: self.answer.clone() }
    }

    /// Accepts the plugin's next connection and handles its registration and READY.
    pub fn ready(&self) -> CoreEnd {
        let mut core = self.accept();
        core.register();
        assert_eq!(core.signal().0, Signal::Ready);
        core
    }
}

/// A plugin that is READY, and its core with FIFOs to these peers.
pub fn run(peers: &[&str], plugin: PluginBuilder) -> (FakeCore, CoreEnd, JoinHandle<Result<(), Error>>) {
    let core = FakeCore::new("demo", peers);
    let plugin = core.start(plugin);
    let link = core.ready();
    (core, link, plugin)
}

impl Drop for FakeCore {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// PLUGIN_REGISTER, with its manifest decoded.
pub struct Register {
    pub name: String,
    pub version: String,
    pub pid: u32,
    pub manifest: Value,
}

impl Register {
    fn unpack(payload: &[u8]) -> Register {
        let PluginRegister { name, version, pid, manifest } = PluginRegister::unpack(payload).unwrap();
        Register { name, version, pid, manifest: serde_json::from_slice(&manifest).unwrap() }
    }
}

/// Payloads that the core encodes.
pub fn snippet_got(record: &Record) -> Vec<u8> {
    SnippetGot { status: 200, record: record.clone() }.pack().unwrap()
}

pub fn snippet_page(cursor: &str, records: &[Record]) -> Vec<u8> {
    SnippetPage { status: 200, cursor: cursor.to_owned(), records: records.to_vec() }.pack().unwrap()
}

pub fn snippet_written(status: u16, id: &str, error: &str) -> Vec<u8> {
    SnippetWritten { status, snippet_id: id.to_owned(), error: error.to_owned() }.pack().unwrap()
}

/// The core's end of one connection.
pub struct CoreEnd {
    stream: UnixStream,
    buffer: FrameBuffer,
    pub answer: Value,
}

impl CoreEnd {
    pub fn send(&mut self, command_id: u8, payload: &[u8], flags: u8) {
        self.stream.write_all(&encode(command_id, payload, flags).unwrap()).unwrap();
    }

    pub fn try_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.buffer.next_frame().unwrap() {
                return Some(frame);
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk).expect("the plugin sends nothing") {
                0 => return None,
                size => self.buffer.feed(&chunk[..size]),
            }
        }
    }

    pub fn frame(&mut self) -> Frame {
        self.try_frame().expect("the plugin closed the connection")
    }

    /// Answers PLUGIN_REGISTER.
    pub fn register(&mut self) -> Register {
        let frame = self.frame();
        self.answer_registration(&frame)
    }

    /// Answers PLUGIN_REGISTER and ends like a core that dies: everything sent to it fails.
    pub fn register_and_die(mut self) {
        let frame = self.frame();
        self.stream.shutdown(Shutdown::Read).unwrap();
        self.answer_registration(&frame);
    }

    pub fn answer_registration(&mut self, frame: &Frame) -> Register {
        assert_eq!((frame.command_id, frame.flags), (Command::PluginRegister as u8, 0));
        let json = self.answer.to_string().into_bytes();
        self.send(frame.command_id, &JsonResponse { status: 200, json }.pack().unwrap(), flags::RESPONSE);
        Register::unpack(&frame.payload)
    }

    pub fn signal(&mut self) -> (Signal, Vec<u8>) {
        let frame = self.frame();
        assert_eq!(
            (frame.command_id, frame.flags),
            (Command::PluginSignal as u8, flags::SIGNAL),
            "{frame:?}"
        );
        let message = SignalMessage::unpack(&frame.payload).unwrap();
        (Signal::from_u8(message.signal_type).unwrap(), message.data)
    }

    pub fn send_signal(&mut self, signal: Signal) {
        let message = SignalMessage {
            signal_type: signal as u8,
            timestamp: 1,
            plugin_name: "any".to_owned(),
            data: Vec::new(),
        };
        self.send(Command::PluginSignal as u8, &message.pack().unwrap(), flags::SIGNAL);
    }

    /// Calls an action; returns the status and the body, or the error's code and message.
    pub fn call(&mut self, command_id: u8, input: &[u8]) -> (u16, Value) {
        self.send(command_id, input, 0);
        self.answer_of(command_id)
    }

    pub fn answer_of(&mut self, command_id: u8) -> (u16, Value) {
        let frame = self.frame();
        assert_eq!(frame.command_id, command_id, "{frame:?}");
        assert!(frame.has(flags::RESPONSE));
        let status = u16::from_le_bytes([frame.payload[0], frame.payload[1]]);
        if frame.has(flags::ERROR) {
            let error = reed_plugin::wire::common::ErrorResponse::unpack(&frame.payload).unwrap();
            return (status, json!({"code": error.error_code, "message": error.message}));
        }
        (status, serde_json::from_slice(&frame.payload[2..]).unwrap())
    }

    /// Ends the plugin.
    pub fn shut_down(mut self, plugin: JoinHandle<Result<(), Error>>) {
        self.send_signal(Signal::ShutdownGraceful);
        assert!(self.try_frame().is_none(), "nothing is sent after the shutdown");
        plugin.join().unwrap().unwrap();
    }
}

/// Another plugin: its ends of a pair of FIFOs.
pub struct Peer {
    out: std::os::fd::OwnedFd,
    input: std::os::fd::OwnedFd,
    buffer: reed_plugin::wire::message::MessageBuffer,
    name: String,
    target: String,
}

impl Peer {
    pub fn new(core: &FakeCore, name: &str) -> Peer {
        let open = |path: &Path| rustix::fs::open(path, OFlags::RDWR, Mode::empty()).unwrap();
        Peer {
            out: open(&core.fifo(name, core.name)),
            input: open(&core.fifo(core.name, name)),
            buffer: reed_plugin::wire::message::MessageBuffer::new(core.name, name).unwrap(),
            name: name.to_owned(),
            target: core.name.to_owned(),
        }
    }

    pub fn message(&self, message_type: u8, timestamp: u64, payload: &Value) -> Vec<u8> {
        let message = reed_plugin::PluginMessage {
            message_type,
            source: self.name.clone(),
            target: self.target.clone(),
            timestamp,
            payload: payload.to_string().into_bytes(),
        };
        message.pack().unwrap()
    }

    pub fn send(&self, message_type: u8, timestamp: u64, payload: &Value) {
        self.write(&self.message(message_type, timestamp, payload));
    }

    pub fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = rustix::io::write(&self.out, bytes).unwrap();
            bytes = &bytes[written..];
        }
    }

    /// The plugin's next message: type, timestamp, JSON.
    pub fn receive(&mut self) -> (u8, u64, Value) {
        loop {
            if let Some(message) = self.buffer.next_message() {
                let json = serde_json::from_slice(&message.payload).unwrap();
                return (message.message_type, message.timestamp, json);
            }
            assert!(self.is_readable(Duration::from_secs(10)), "the plugin sends nothing");
            let mut chunk = [0; 65536];
            let size = rustix::io::read(&self.input, &mut chunk).unwrap();
            self.buffer.feed(&chunk[..size]);
        }
    }

    /// Whether there is something to read within that time.
    pub fn is_readable(&self, timeout: Duration) -> bool {
        is_readable(&self.input, timeout)
    }
}

fn is_readable(fd: &impl AsFd, timeout: Duration) -> bool {
    let time = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&time)).unwrap() > 0
}
