//! A bell: rung on one thread, heard by another that waits in `poll`.

use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

use crate::error::Error;

/// An eventfd.
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> Result<Bell, Error> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        fd.map(Bell).map_err(|error| Error::io("making an eventfd", error))
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    pub(crate) fn ring(&self) {
        // It fails only when it has been rung 2^64 - 2 times and nobody listened: then it rings still.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn silence(&self) {
        // It fails only when the bell was silent.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}
