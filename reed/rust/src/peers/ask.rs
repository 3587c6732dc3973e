//! Requests: a message goes out, and its answer is waited for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use super::Peers;
use super::requests::Pending;
use crate::connection::timespec;
use crate::error::Error;
use crate::inbound::{Inbound, PAUSE};
use crate::locks::lock;

impl Peers {
    /// Sends a message and waits for its answer; sends it again while none comes.
    pub(crate) fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        within: Duration,
    ) -> Result<Value, Error> {
        let fifo = self.answers_of(target)?;
        let mut pending = self.requests.begin(target)?;
        self.send_then(target, message_type, payload, |timestamp| pending.is_called(timestamp))?;
        let deadline = Instant::now() + within;
        while !pending.is_answered() {
            let now = Instant::now();
            if now >= deadline {
                let what = format!("message 0x{message_type:02X} to {target}");
                return Err(Error::Timeout { what, after: within });
            }
            if pending.must_repeat(now) {
                self.send_again(target, message_type, pending.timestamp(), payload)?;
            }
            self.wait_for_answer(&pending, &fifo, deadline.min(pending.repeat_at()) - now)?;
        }
        pending.answer()
    }

    fn send_again(
        &self,
        target: &str,
        message_type: u8,
        timestamp: u64,
        payload: &[u8],
    ) -> Result<(), Error> {
        let mut writing = lock(&self.writing);
        let outbound = self.outbound(&mut writing, target)?;
        if outbound.waiting() > 0 {
            return Ok(()); // it may not have left yet
        }
        outbound.push(&self.message(target, message_type, timestamp, payload))
    }

    /// The FIFO that the answers of a plugin come by.
    fn answers_of(&self, target: &str) -> Result<Arc<OwnedFd>, Error> {
        let mut reading = lock(&self.reading);
        if !reading.by_source.contains_key(target) {
            let inbound = Inbound::open(&self.places, target).map_err(|_| self.no_fifo(target))?;
            reading.by_source.insert(target.to_owned(), inbound);
            self.generation.fetch_add(1, Ordering::Relaxed);
            self.bell.ring();
        }
        let inbound = reading.by_source.get(target).ok_or_else(|| self.no_fifo(target))?;
        Ok(Arc::clone(&inbound.fifo.fd))
    }

    fn wait_for_answer(&self, pending: &Pending<'_>, fifo: &OwnedFd, within: Duration) -> Result<(), Error> {
        let blocked = self.blocked();
        let mut fds = vec![PollFd::new(pending.bell(), PollFlags::IN)];
        fds.extend(blocked.iter().map(|fd| PollFd::new(&**fd, PollFlags::OUT)));
        let mut within = within;
        if self.is_full() || self.paused().iter().any(|source| source == pending.target()) {
            within = within.min(PAUSE);
        } else {
            fds.push(PollFd::new(fifo, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timespec(within))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("waiting for an answer", error)),
        }
        drop(fds);
        self.flush();
        self.receive(std::iter::once(pending.target()));
        if !lock(&self.reading).inbox.is_empty() {
            self.bell.ring();
        }
        Ok(())
    }
}
