//! A connection to the core: frames in, frames out, and the plugin's own requests.
//!
//! Responses have no ids and arrive in the order of the requests. After a timeout the late response is still to come:
//! it is counted, and skipped when it arrives. Calls and signals before a response are deferred.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags, open};

use crate::error::Error;
use crate::sys;
use crate::wire::codes::{Command, flags};
use crate::wire::common::ErrorResponse;
use crate::wire::frames::{Frame, FrameBuffer, encode};

const CHUNK: usize = 64 * 1024;
const MAX_SOCKET_PATH: usize = 107; // bytes: sun_path has 108, the last one NUL

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    buffer: FrameBuffer,
    chunk: Vec<u8>,
    deferred: VecDeque<Frame>,
    late_responses: usize,
}

/// A path that is too long for connect(2) is shortened by a descriptor of its folder.
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
        let stream =
            connect(socket).map_err(|error| Error::io(format!("connect to {}", socket.display()), error))?;
        Ok(Connection::new(stream))
    }

    pub(crate) fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            buffer: FrameBuffer::new(u32::MAX as usize), // a page may be longer than a request
            chunk: vec![0; CHUNK],
            deferred: VecDeque::new(),
            late_responses: 0,
        }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, command_id: u8, payload: &[u8], flags: u8) -> Result<(), Error> {
        self.write(&encode(command_id, payload, flags)?)
    }

    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.stream.write_all(frames).map_err(|_| Error::disconnected("write"))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        if let Some(frame) = self.deferred.pop_front() {
            return Ok(Some(frame));
        }
        loop {
            match self.buffer.next_frame()? {
                Some(frame) if frame.has(flags::RESPONSE) && self.late_responses > 0 => {
                    self.late_responses -= 1;
                }
                Some(frame) if frame.has(flags::RESPONSE) => return Err(unexpected(&frame)),
                other => return Ok(other),
            }
        }
    }

    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Waits if nothing is available. The end of the stream is an error.
    pub(crate) fn receive(&mut self) -> Result<(), Error> {
        match self.stream.read(&mut self.chunk) {
            Ok(size) if size > 0 => {
                self.buffer.feed(self.chunk.get(..size).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            _ => Err(Error::disconnected("read")),
        }
    }

    pub(crate) fn is_readable(&self, timeout: Duration) -> Result<bool, Error> {
        sys::poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(timeout))
    }

    /// Returns the payload of the response.
    pub(crate) fn request(
        &mut self,
        command: Command,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        self.request_and(command, payload, &[], timeout)
    }

    /// `then`: a signal's frame, sent in the same write.
    pub(crate) fn request_and(
        &mut self,
        command: Command,
        payload: &[u8],
        then: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        let mut frames = encode(command as u8, payload, 0)?;
        frames.extend_from_slice(then);
        self.write(&frames)?;
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(answer) = self.next_answer(command)? {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.late_responses += 1;
                return Err(Error::Timeout { what: format!("{command:?}"), after: timeout });
            }
            if self.is_readable(left)? {
                self.receive()?;
            }
        }
    }

    /// The response to each request, or its error. Reads while it sends, as the core stops reading from a peer that reads
    /// nothing. After `timeout` without a response the connection is closed, so that the plugin reconnects.
    pub(crate) fn request_all(
        &mut self,
        requests: &[(Command, Vec<u8>)],
        timeout: Duration,
    ) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
        let mut unsent = Vec::new();
        for (command, payload) in requests {
            unsent.extend(encode(*command as u8, payload, 0)?);
        }
        let failed = |error| Error::io("batch", error);
        self.stream.set_nonblocking(true).map_err(failed)?;
        let outcome = self.exchange(&unsent, requests, timeout);
        self.stream.set_nonblocking(false).map_err(failed)?;
        if outcome.is_err() {
            // Fails only if the connection is closed already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        outcome
    }

    fn exchange(
        &mut self,
        mut unsent: &[u8],
        requests: &[(Command, Vec<u8>)],
        timeout: Duration,
    ) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut deadline = Instant::now() + timeout;
        while let Some((command, _)) = requests.get(answers.len()) {
            if let Some(answer) = self.next_answer(*command)? {
                answers.push(answer);
                deadline = Instant::now() + timeout;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout { what: format!("batch, {command:?}"), after: timeout });
            }
            let wanted = if unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let mut fds = [PollFd::new(&self.stream, wanted)];
            sys::poll(&mut fds, Some(left))?;
            let ready = fds.first().map_or(PollFlags::empty(), PollFd::revents);
            if ready.contains(PollFlags::OUT) {
                unsent = unsent.get(self.send_some(unsent)?..).unwrap_or_default();
            }
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.receive()?;
            }
        }
        Ok(answers)
    }

    /// What has arrived of the response to the oldest request; other frames are deferred.
    fn next_answer(&mut self, command: Command) -> Result<Option<Result<Vec<u8>, Error>>, Error> {
        while let Some(frame) = self.buffer.next_frame()? {
            if !frame.has(flags::RESPONSE) {
                self.deferred.push_back(frame);
            } else if self.late_responses > 0 {
                self.late_responses -= 1;
            } else if frame.command_id != command as u8 {
                return Err(unexpected(&frame));
            } else if frame.has(flags::ERROR) {
                return Ok(Some(Err(refusal(command, &frame.payload))));
            } else {
                return Ok(Some(Ok(frame.payload)));
            }
        }
        Ok(None)
    }

    fn send_some(&mut self, data: &[u8]) -> Result<usize, Error> {
        match self.stream.write(data) {
            Ok(size) => Ok(size),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(_) => Err(Error::disconnected("write")),
        }
    }

    pub(crate) fn shrink(&mut self) {
        self.buffer.shrink();
        self.deferred.shrink_to_fit();
    }
}

fn unexpected(frame: &Frame) -> Error {
    Error::malformed("response", format!("unexpected, to command 0x{:02X}", frame.command_id))
}

fn refusal(command: Command, payload: &[u8]) -> Error {
    match ErrorResponse::unpack(payload) {
        Ok(response) => Error::Refused {
            what: format!("{command:?}"),
            status: response.status,
            code: response.error_code,
            message: response.message,
        },
        Err(error) => error,
    }
}
