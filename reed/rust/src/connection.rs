//! A connection to the core: frames in, frames out, and requests of the plugin's own.
//!
//! ```text
//! receive ── FrameBuffer ─┬─ next()                a call, a signal
//!                         └─ request() waits for   a response; what else arrives meanwhile waits for next()
//! ```
//!
//! Responses have no ids: they come in the order of the requests. A request that was given up leaves a response that
//! is still to come; it is counted, and skipped when it comes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

use crate::error::Error;
use crate::wire::codes::{Command, flags};
use crate::wire::common::ErrorResponse;
use crate::wire::frames::{Frame, FrameBuffer, encode};

const CHUNK: usize = 64 * 1024;

const MAX_SOCKET_PATH: usize = 107; // bytes: sun_path has 108, the last one NUL

/// One connection of the plugin's to its socket.
pub(crate) struct Connection {
    stream: UnixStream,
    buffer: FrameBuffer,
    chunk: Vec<u8>,
    waiting: VecDeque<Frame>,
    given_up: usize,
}

/// A path that is too long for connect(2) is led through a descriptor of its folder.
fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    if socket.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
        return UnixStream::connect(socket);
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return UnixStream::connect(socket);
    };
    let folder = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Result<Connection, Error> {
        let stream = connect(socket)
            .map_err(|error| Error::io(format!("connecting to {}", socket.display()), error))?;
        Ok(Connection {
            stream,
            buffer: FrameBuffer::new(u32::MAX as usize), // a page may be longer than a request
            chunk: vec![0; CHUNK],
            waiting: VecDeque::new(),
            given_up: 0,
        })
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, command_id: u8, payload: &[u8], flags: u8) -> Result<(), Error> {
        let frame = encode(command_id, payload, flags)?;
        self.stream.write_all(&frame).map_err(|_| gone("sending to the core"))
    }

    /// The next call or signal that was received.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        if let Some(frame) = self.waiting.pop_front() {
            return Ok(Some(frame));
        }
        loop {
            match self.buffer.next_frame()? {
                Some(frame) if frame.has(flags::RESPONSE) => self.skip(&frame)?,
                other => return Ok(other),
            }
        }
    }

    /// Whether calls or signals were received that nobody has taken.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads what is there; waits for something, when nothing is. The core's end is an error.
    pub(crate) fn receive(&mut self) -> Result<(), Error> {
        match self.stream.read(&mut self.chunk) {
            Ok(0) => Err(gone("reading")),
            Ok(size) => {
                self.buffer.feed(self.chunk.get(..size).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(gone("reading")),
        }
    }

    /// Whether something can be read within that time.
    pub(crate) fn is_readable(&self, within: Duration) -> Result<bool, Error> {
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut fds, Some(&timespec(within))) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(Error::io("waiting for the core", error)),
        }
    }

    /// Asks the core, and waits for the payload of its response.
    pub(crate) fn request(
        &mut self,
        command: Command,
        payload: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, Error> {
        self.send(command as u8, payload, 0)?;
        let deadline = Instant::now() + within;
        loop {
            while let Some(frame) = self.buffer.next_frame()? {
                if !frame.has(flags::RESPONSE) {
                    self.waiting.push_back(frame);
                } else if self.given_up > 0 {
                    self.given_up -= 1;
                } else if frame.command_id != command as u8 {
                    return Err(Error::malformed(
                        "response",
                        format!("to 0x{:02X}, not asked", frame.command_id),
                    ));
                } else if frame.has(flags::ERROR) {
                    return Err(refusal(command, &frame.payload));
                } else {
                    return Ok(frame.payload);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.given_up += 1;
                return Err(Error::Timeout { what: format!("{command:?}"), after: within });
            }
            if self.is_readable(left)? {
                self.receive()?;
            }
        }
    }

    /// Gives memory back before a sleep.
    pub(crate) fn shrink(&mut self) {
        self.buffer.shrink();
        self.waiting.shrink_to_fit();
    }

    fn skip(&mut self, frame: &Frame) -> Result<(), Error> {
        if self.given_up == 0 {
            return Err(Error::malformed("response", format!("to 0x{:02X}, not asked", frame.command_id)));
        }
        self.given_up -= 1;
        Ok(())
    }
}

/// A duration as the system wants it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn gone(what: &str) -> Error {
    Error::Disconnected { what: what.to_owned() }
}

fn refusal(command: Command, payload: &[u8]) -> Error {
    match ErrorResponse::unpack(payload) {
        Ok(said) => Error::Refused {
            what: format!("{command:?}"),
            status: said.status,
            code: said.error_code,
            message: said.message,
        },
        Err(error) => error,
    }
}
