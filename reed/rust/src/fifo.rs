//! FIFOs between plugins: where they are, and one open end of them.
//!
//! The sandbox shows only RUNTIME/peers/SELF/from/OTHER and …/to/OTHER, hard links to the FIFOs RUNTIME/fifos/A→B. Both
//! ends are opened O_RDWR: a reader that is also a writer never sees an end of file, and a writer that is also a reader
//! never fails with EPIPE. If the sandbox allows only one direction, the FIFO is opened in that direction.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open, stat};
use rustix::io::Errno;

const ARROW: char = '→'; // U+2192, between the two names

/// The direction of the messages, seen from this plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Read,
    Write,
}

#[derive(Debug)]
pub(crate) struct FifoPaths {
    plugin: String,
    fifos: PathBuf,
    links: PathBuf,
}

impl FifoPaths {
    pub(crate) fn new(runtime_dir: &Path, plugin: &str) -> FifoPaths {
        FifoPaths {
            plugin: plugin.to_owned(),
            fifos: runtime_dir.join("fifos"),
            links: runtime_dir.join("peers").join(plugin),
        }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    pub(crate) fn open(&self, end: End, other: &str) -> io::Result<Fifo> {
        match Fifo::open(&self.path(end, other), end) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Fifo::open(&self.links(end).join(other), end)
            }
            opened => opened,
        }
    }

    pub(crate) fn path(&self, end: End, other: &str) -> PathBuf {
        self.fifos.join(match end {
            End::Read => format!("{other}{ARROW}{}", self.plugin),
            End::Write => format!("{}{ARROW}{other}", self.plugin),
        })
    }

    pub(crate) fn others(&self, end: End) -> io::Result<Vec<String>> {
        if let Ok(names) = names_in(&self.links(end)) {
            return Ok(names);
        }
        let own = match end {
            End::Read => format!("{ARROW}{}", self.plugin),
            End::Write => format!("{}{ARROW}", self.plugin),
        };
        let other = |name: &String| match end {
            End::Read => name.strip_suffix(&own).map(str::to_owned),
            End::Write => name.strip_prefix(&own).map(str::to_owned),
        };
        Ok(names_in(&self.fifos)?.iter().filter_map(other).collect())
    }

    pub(crate) fn changed_at(&self) -> Option<SystemTime> {
        fs::metadata(&self.fifos).and_then(|metadata| metadata.modified()).ok()
    }

    fn links(&self, end: End) -> PathBuf {
        self.links.join(if end == End::Read { "from" } else { "to" })
    }
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// An open FIFO. Clones share the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Fifo {
    pub(crate) fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl Fifo {
    fn open(path: &Path, end: End) -> io::Result<Fifo> {
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let one_way = if end == End::Read { OFlags::RDONLY } else { OFlags::WRONLY };
        let fd = match open(path, flags | OFlags::RDWR, Mode::empty()) {
            Err(Errno::ACCESS | Errno::PERM) => open(path, flags | one_way, Mode::empty())?,
            opened => opened?,
        };
        let found = fstat(&fd)?;
        if !FileType::from_raw_mode(found.st_mode).is_fifo() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a FIFO"));
        }
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "belongs to another user"));
        }
        Ok(Fifo { fd: Arc::new(fd), path: path.to_owned() })
    }

    /// A core creates new FIFOs if its runtime folder was cleared.
    pub(crate) fn is_current(&self) -> bool {
        match (fstat(&*self.fd), stat(&self.path)) {
            (Ok(own), Ok(found)) => own.st_ino == found.st_ino && own.st_dev == found.st_dev,
            _ => false,
        }
    }

    /// The reader's lock. During a restart the old process of a plugin reads until it ends.
    pub(crate) fn try_lock(&self) -> bool {
        flock(&*self.fd, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
    }

    /// None if nothing is available, 0 if there is no writer (in a FIFO opened only for reading).
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&*self.fd, buffer) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            outcome => Ok(Some(outcome?)),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(&*self.fd, bytes) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            outcome => Ok(outcome?),
        }
    }
}
