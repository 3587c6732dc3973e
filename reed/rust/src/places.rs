//! Where a plugin's FIFOs are.
//!
//! ```text
//! RUNTIME/fifos/A→B                the FIFOs, all plugins' in one folder
//! RUNTIME/peers/SELF/from/OTHER    second names (hard links) of those that lead here and from here: a sandbox
//! RUNTIME/peers/SELF/to/OTHER      that grants whole folders only lets the plugin see these two
//! ```
//!
//! The first name is tried first. A list of plugins is read where there is one to read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::fifo::{End, Fifo};

/// U+2192, between the two names.
const ARROW: char = '→';

/// The folders of one plugin's FIFOs.
pub(crate) struct Places {
    name: String,
    fifos: PathBuf,
    from: PathBuf,
    to: PathBuf,
}

impl Places {
    pub(crate) fn new(runtime_dir: &Path, name: &str) -> Places {
        let links = runtime_dir.join("peers").join(name);
        Places {
            name: name.to_owned(),
            fifos: runtime_dir.join("fifos"),
            from: links.join("from"),
            to: links.join("to"),
        }
    }

    /// The plugin whose FIFOs these are.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Opens the FIFO from (to read) or to (to write) another plugin.
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
            End::Read => format!("{other}{ARROW}{}", self.name),
            End::Write => format!("{}{ARROW}{other}", self.name),
        })
    }

    /// The plugins that may send to this one, or that this one may send to; the reason why there is no list.
    pub(crate) fn others(&self, end: End) -> io::Result<Vec<String>> {
        if let Ok(names) = names_in(self.links(end)) {
            return Ok(names);
        }
        let own = match end {
            End::Read => format!("{ARROW}{}", self.name),
            End::Write => format!("{}{ARROW}", self.name),
        };
        let other = |name: &String| match end {
            End::Read => name.strip_suffix(&own).map(str::to_owned),
            End::Write => name.strip_prefix(&own).map(str::to_owned),
        };
        Ok(names_in(&self.fifos)?.iter().filter_map(other).collect())
    }

    /// When FIFOs came or went; `None` when that cannot be told.
    pub(crate) fn changed_at(&self) -> Option<SystemTime> {
        fs::metadata(&self.fifos).and_then(|metadata| metadata.modified()).ok()
    }

    fn links(&self, end: End) -> &Path {
        if end == End::Read { &self.from } else { &self.to }
    }
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
