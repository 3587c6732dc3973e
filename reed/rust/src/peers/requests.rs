//! Requests to other plugins: a message is sent, and its answer awaited.
//!
//! The thread that reads the answer wakes the thread that waits for it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use serde_json::Value;

use super::Peers;
use crate::error::Error;
use crate::inbound::{Inbound, PAUSE};
use crate::log;
use crate::message;
use crate::sys::{self, Waker, lock};
use crate::wire::message::PluginMessage;

const FIRST_RESEND: Duration = Duration::from_secs(1);

const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

type Key = (String, u64);
type Outcome = Result<Value, Error>;

#[derive(Debug)]
struct Waiter {
    waker: Arc<Waker>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiters: Mutex<HashMap<Key, Waiter>>,
}

impl Requests {
    /// Ignores an answer that no request waits for.
    pub(crate) fn complete(&self, answer: &PluginMessage) {
        match message::decode(answer) {
            Ok((in_reply_to, outcome)) => {
                if let Some(waiter) = lock(&self.waiters).get_mut(&(answer.source.clone(), in_reply_to)) {
                    waiter.outcome = Some(outcome);
                    waiter.waker.wake();
                }
            }
            Err(error) => log::error(format_args!("an answer of {}: {error}", answer.source)),
        }
    }
}

/// A request in flight, until it is dropped.
struct Pending<'a> {
    requests: &'a Requests,
    key: Key,
    waker: Arc<Waker>,
}

impl<'a> Pending<'a> {
    /// `register` follows when the timestamp is known.
    fn new(requests: &'a Requests, target: &str) -> Result<Pending<'a>, Error> {
        Ok(Pending { requests, key: (target.to_owned(), 0), waker: Arc::new(Waker::new()?) })
    }

    fn register(&mut self, timestamp: u64) {
        self.key.1 = timestamp;
        let waiter = Waiter { waker: Arc::clone(&self.waker), outcome: None };
        lock(&self.requests.waiters).insert(self.key.clone(), waiter);
    }

    fn take_outcome(&self) -> Option<Outcome> {
        lock(&self.requests.waiters).get_mut(&self.key)?.outcome.take()
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        lock(&self.requests.waiters).remove(&self.key);
    }
}

impl Peers {
    /// Null for an ACK. Sends the message again while no answer arrives, in case the other plugin died with it.
    pub(crate) fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<Value, Error> {
        if timeout > MAX_TIMEOUT {
            let why = format!("{timeout:?} exceeds the maximum of {MAX_TIMEOUT:?}");
            return Err(Error::malformed("timeout of a request", why));
        }
        let answers = self.open_answers(target)?;
        let mut pending = Pending::new(&self.requests, target)?;
        let timestamp =
            self.send_with(target, message_type, payload, |timestamp| pending.register(timestamp))?;
        let start = Instant::now();
        let (deadline, mut interval, mut resend_at) = (start + timeout, FIRST_RESEND, start + FIRST_RESEND);
        loop {
            if let Some(outcome) = pending.take_outcome() {
                return outcome;
            }
            let now = Instant::now();
            if now >= deadline {
                let what = format!("message 0x{message_type:02X} to {target}");
                return Err(Error::Timeout { what, after: timeout });
            }
            if now >= resend_at {
                interval *= 2;
                resend_at = now + interval;
                self.send_again(target, message_type, timestamp, payload)?;
            }
            self.await_answer(&pending, &answers, deadline.min(resend_at) - now)?;
        }
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
            return Ok(()); // the first copy may still be queued
        }
        outbound.push(&self.message(target, message_type, timestamp, payload))
    }

    fn open_answers(&self, target: &str) -> Result<Arc<OwnedFd>, Error> {
        let mut reading = lock(&self.reading);
        if !reading.by_source.contains_key(target) {
            let inbound = Inbound::open(&self.paths, target).map_err(|_| self.no_fifo(target))?;
            reading.by_source.insert(target.to_owned(), inbound);
            self.generation.fetch_add(1, Ordering::Relaxed);
            self.waker.wake();
        }
        let inbound = reading.by_source.get(target).ok_or_else(|| self.no_fifo(target))?;
        Ok(Arc::clone(&inbound.fifo.fd))
    }

    /// Waits until the answer is there, the FIFO is readable, or a full pipe has room.
    fn await_answer(&self, pending: &Pending<'_>, answers: &OwnedFd, timeout: Duration) -> Result<(), Error> {
        let target = pending.key.0.as_str();
        let blocked = self.blocked();
        let mut fds = vec![PollFd::new(pending.waker.fd(), PollFlags::IN)];
        fds.extend(blocked.iter().map(|fd| PollFd::new(&**fd, PollFlags::OUT)));
        let mut timeout = timeout;
        if lock(&self.reading).inbox.is_full() || self.paused().iter().any(|source| source == target) {
            timeout = timeout.min(PAUSE);
        } else {
            fds.push(PollFd::new(answers, PollFlags::IN));
        }
        sys::poll(&mut fds, Some(timeout))?;
        drop(fds);
        self.flush();
        self.receive(std::iter::once(target));
        if !lock(&self.reading).inbox.messages.is_empty() {
            self.waker.wake();
        }
        Ok(())
    }
}
