//! One end of a FIFO: opening it, and knowing whether it is still the one in the folder.
//!
//! FIFOs are the core's: it makes `fifos/A→B` for each ordered pair of plugins and holds it open while one of the two
//! runs. The SDK opens both ends O_RDWR: a reader that is its own writer never sees an end (and never spins on one), a
//! writer that is its own reader never fails for want of one. Where the sandbox allows only one direction, that is
//! taken.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open, stat};
use rustix::io::Errno;

/// Which way the messages go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Read,
    Write,
}

/// An open FIFO. Threads that wait for it share it.
#[derive(Clone)]
pub(crate) struct Fifo {
    pub(crate) fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl Fifo {
    /// Opens it, if it is a FIFO and our own.
    pub(crate) fn open(path: &Path, end: End) -> io::Result<Fifo> {
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let one_way = if end == End::Read { OFlags::RDONLY } else { OFlags::WRONLY };
        let fd = match open(path, flags | OFlags::RDWR, Mode::empty()) {
            Err(Errno::ACCESS | Errno::PERM) => open(path, flags | one_way, Mode::empty())?,
            opened => opened?,
        };
        let found = fstat(&fd)?;
        if !FileType::from_raw_mode(found.st_mode).is_fifo() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no FIFO"));
        }
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "belongs to another user"));
        }
        Ok(Fifo { fd: Arc::new(fd), path: path.to_owned() })
    }

    /// Whether the path still leads to this FIFO: a core whose folder was cleared makes them anew.
    pub(crate) fn is_current(&self) -> bool {
        match (fstat(&*self.fd), stat(&self.path)) {
            (Ok(mine), Ok(there)) => mine.st_ino == there.st_ino && mine.st_dev == there.st_dev,
            _ => false,
        }
    }

    /// Takes the lock that the reader of a FIFO holds, or holds it already; false while another process has it. Of two
    /// processes of a plugin, while one follows the other, the first reads until it ends.
    pub(crate) fn is_ours_to_read(&self) -> bool {
        flock(&*self.fd, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
    }

    /// Reads what is there: `None` when nothing is, 0 when there is no writer (where only reading is allowed).
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&*self.fd, buffer) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            outcome => Ok(Some(outcome?)),
        }
    }

    /// Writes what the pipe takes; 0 when it is full.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(&*self.fd, bytes) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            outcome => Ok(outcome?),
        }
    }
}
