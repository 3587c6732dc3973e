//! Messages between plugins: all FIFOs of this plugin, and its requests to other plugins.
//!
//! The main thread handles messages. A handler that waits in `request`, on any thread, reads the FIFO of its answer
//! itself; other messages that it finds there go to the inbox. While that is full, nothing is read. Locks are held
//! during reads and writes, never during a wait.

mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags};

use crate::error::Error;
use crate::fifo::{End, FifoPaths};
use crate::inbound::{Arrival, Inbound, PAUSE};
use crate::log;
use crate::message::{self, Answer};
use crate::outbound::Outbound;
use crate::sys::{self, Waker, lock};
use crate::wire::codes::messages;
use crate::wire::message::PluginMessage;
use requests::Requests;

const CHUNK: usize = 64 * 1024;
/// Chunks that are read from one FIFO before the next one.
const CHUNKS_PER_FIFO: usize = 4;

const MAX_INBOX_MESSAGES: usize = 1024;
const MAX_INBOX_BYTES: usize = 1024 * 1024; // the newest messages may exceed it

#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<PluginMessage>,
    bytes: usize,
}

impl Inbox {
    fn push(&mut self, message: PluginMessage) {
        self.bytes += message.payload.len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<PluginMessage> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.payload.len();
        Some(message)
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MAX_INBOX_MESSAGES || self.bytes > MAX_INBOX_BYTES
    }
}

#[derive(Debug, Default)]
struct Reading {
    by_source: BTreeMap<String, Inbound>,
    inbox: Inbox,
    chunk: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Peers {
    paths: FifoPaths,
    refreshed_at: Mutex<Option<SystemTime>>,
    writing: Mutex<BTreeMap<String, Outbound>>,
    reading: Mutex<Reading>,
    requests: Requests,
    pub(crate) waker: Waker,
    generation: AtomicU64,
}

impl Peers {
    pub(crate) fn new(paths: FifoPaths) -> Result<Peers, Error> {
        Ok(Peers {
            paths,
            refreshed_at: Mutex::default(),
            writing: Mutex::default(),
            reading: Mutex::default(),
            requests: Requests::default(),
            waker: Waker::new()?,
            generation: AtomicU64::new(0),
        })
    }

    // FIFOs

    /// Opens new and replaced FIFOs. Without `known`, the other plugins are found by their FIFOs.
    pub(crate) fn refresh(&self, known: Option<&[String]>) {
        *lock(&self.refreshed_at) = self.paths.changed_at();
        let sources = match known.map_or_else(|| self.paths.others(End::Read), |known| Ok(known.to_vec())) {
            Ok(sources) => sources,
            Err(error) => return log::error(format_args!("list the FIFOs of other plugins: {error}")),
        };
        let mut reading = lock(&self.reading);
        reading.by_source.retain(|source, _| sources.contains(source));
        for source in sources {
            let outcome = match reading.by_source.get_mut(&source) {
                Some(inbound) => inbound.reopen_if_replaced(&self.paths),
                None => Inbound::open(&self.paths, &source)
                    .map(|inbound| drop(reading.by_source.insert(source, inbound))),
            };
            if let Err(error) = outcome {
                log::error(error);
            }
        }
        drop(reading);
        lock(&self.writing).retain(|target, outbound| match outbound.reopen_if_replaced(&self.paths) {
            Ok(()) => true,
            Err(error) => {
                let lost = outbound.waiting();
                log::error(format_args!("open the FIFO to {target}: {error}; {lost} messages are lost"));
                false
            }
        });
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refresh_if_changed(&self, known: Option<&[String]>) {
        if self.paths.changed_at() != *lock(&self.refreshed_at) {
            self.refresh(known);
        }
    }

    /// A number that changes with `readers`.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) fn readers(&self) -> Vec<(String, Arc<OwnedFd>)> {
        let reading = lock(&self.reading);
        let inbounds = reading.by_source.iter();
        inbounds.map(|(source, inbound)| (source.clone(), Arc::clone(&inbound.fifo.fd))).collect()
    }

    /// Sources that are not to be polled now.
    pub(crate) fn paused(&self) -> Vec<String> {
        let reading = lock(&self.reading);
        let paused = reading.by_source.iter().filter(|(_, inbound)| inbound.is_paused());
        paused.map(|(source, _)| source.clone()).collect()
    }

    pub(crate) fn blocked(&self) -> Vec<Arc<OwnedFd>> {
        let writing = lock(&self.writing);
        let blocked = writing.values().filter(|outbound| outbound.is_blocked());
        blocked.map(|outbound| Arc::clone(&outbound.fifo.fd)).collect()
    }

    /// Whether `flush` is to be retried after a while.
    pub(crate) fn has_failed_writes(&self) -> bool {
        lock(&self.writing).values().any(Outbound::has_failed)
    }

    pub(crate) fn is_idle(&self) -> bool {
        let reading = lock(&self.reading);
        let is_read = reading.inbox.messages.is_empty()
            && !reading.by_source.values().any(Inbound::has_partial_message);
        drop(reading);
        is_read && self.queued() == 0
    }

    fn queued(&self) -> usize {
        lock(&self.writing).values().map(Outbound::waiting).sum()
    }

    /// Bytes dropped on receipt, and messages queued for sending.
    pub(crate) fn metrics(&self) -> (u64, usize) {
        let dropped = lock(&self.reading).by_source.values().map(Inbound::dropped).sum();
        (dropped, self.queued())
    }

    // Sending

    pub(crate) fn send(&self, target: &str, message_type: u8, payload: &[u8]) -> Result<u64, Error> {
        self.send_with(target, message_type, payload, |_| {})
    }

    /// As `send`; `before` gets the timestamp before the message is sent.
    fn send_with(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        before: impl FnOnce(u64),
    ) -> Result<u64, Error> {
        let mut writing = lock(&self.writing);
        let outbound = self.outbound(&mut writing, target)?;
        let timestamp = outbound.unique_timestamp(sys::now_micros());
        before(timestamp);
        outbound.push(&self.message(target, message_type, timestamp, payload))?;
        if outbound.waiting() > 0 {
            self.waker.wake();
        }
        Ok(timestamp)
    }

    fn message(&self, target: &str, message_type: u8, timestamp: u64, payload: &[u8]) -> PluginMessage {
        let (source, target) = (self.paths.plugin().to_owned(), target.to_owned());
        PluginMessage { message_type, source, target, timestamp, payload: payload.to_vec() }
    }

    fn outbound<'a>(
        &self,
        writing: &'a mut BTreeMap<String, Outbound>,
        target: &str,
    ) -> Result<&'a mut Outbound, Error> {
        if !writing.contains_key(target) {
            let outbound = Outbound::open(&self.paths, target).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => self.no_fifo(target),
                _ => Error::io(format!("open {}", self.paths.path(End::Write, target).display()), error),
            })?;
            writing.insert(target.to_owned(), outbound);
        }
        writing.get_mut(target).ok_or_else(|| self.no_fifo(target))
    }

    fn no_fifo(&self, target: &str) -> Error {
        let others = self.paths.others(End::Write).unwrap_or_default();
        Error::NoFifo { plugin: target.to_owned(), nearest: nearest(target, &others) }
    }

    /// Logs only the first of several failures in a row.
    pub(crate) fn flush(&self) {
        for outbound in lock(&self.writing).values_mut() {
            let had_failed = outbound.has_failed();
            match outbound.flush() {
                Err(error) if !had_failed => log::error(error),
                _ => {}
            }
        }
    }

    /// Waits for full pipes, and logs what was not sent.
    pub(crate) fn flush_within(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            self.flush();
            let (blocked, has_failed) = (self.blocked(), self.has_failed_writes());
            let left = deadline.saturating_duration_since(Instant::now());
            if blocked.is_empty() && !has_failed {
                return;
            }
            if left.is_zero() {
                return log::error(format_args!("{} messages were not sent: FIFO full", self.queued()));
            }
            let mut fds: Vec<_> = blocked.iter().map(|fd| PollFd::new(&**fd, PollFlags::OUT)).collect();
            let timeout = if has_failed { left.min(PAUSE) } else { left };
            if sys::poll(&mut fds, Some(timeout)).is_err() {
                return;
            }
        }
    }

    // Receiving

    pub(crate) fn receive<'a>(&self, sources: impl Iterator<Item = &'a str>) {
        let mut repeated = BTreeSet::new(); // several repeats of one message get one answer
        let mut reading = lock(&self.reading);
        let Reading { by_source, inbox, chunk } = &mut *reading;
        chunk.resize(CHUNK, 0);
        for source in sources {
            let Some(inbound) = by_source.get_mut(source) else { continue };
            for _ in 0..CHUNKS_PER_FIFO {
                if inbox.is_full() {
                    break;
                }
                match inbound.receive(chunk) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        log::error(error);
                        break;
                    }
                }
                while let Some(arrival) = inbound.next() {
                    match arrival {
                        Arrival::New(message) if messages::is_answer(message.message_type) => {
                            self.requests.complete(&message);
                        }
                        Arrival::New(message) => inbox.push(message),
                        Arrival::Repeat(timestamp) => drop(repeated.insert((source, timestamp))),
                    }
                }
                if let Some(line) = inbound.check_junk() {
                    log::error(line);
                    break;
                }
            }
        }
        let answer_to = |(source, timestamp): (&'a str, u64)| {
            let (message_type, payload) = by_source.get(source)?.answer_to(timestamp)?; // None: still being handled
            Some((source, message_type, payload))
        };
        let answers: Vec<_> = repeated.into_iter().filter_map(answer_to).collect();
        drop(reading);
        for (target, message_type, payload) in answers {
            if let Err(error) = self.send(target, message_type, &payload) {
                log::error(error);
            }
        }
    }

    pub(crate) fn next(&self) -> Option<PluginMessage> {
        lock(&self.reading).inbox.pop()
    }

    /// Keeps the answer for repeats of the message.
    pub(crate) fn answer(
        &self,
        message: &PluginMessage,
        outcome: &Result<Answer, Error>,
    ) -> Result<(), Error> {
        let Some((message_type, payload)) = message::encode(outcome, message.timestamp) else {
            return Ok(());
        };
        if let Some(inbound) = lock(&self.reading).by_source.get_mut(&message.source) {
            inbound.set_answer(message.timestamp, message_type, payload.clone());
        }
        self.send(&message.source, message_type, &payload).map(drop)
    }
}

/// The most similar name, if less than half of its characters differ; else an empty text.
fn nearest(name: &str, known: &[String]) -> String {
    let ranked = known.iter().map(|other| (strsim::levenshtein(name, other), other));
    let best = ranked.min().filter(|(distance, other)| distance * 2 < other.chars().count());
    best.map(|(_, other)| other.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Inbox, MAX_INBOX_BYTES, MAX_INBOX_MESSAGES, PluginMessage, nearest};

    #[test]
    fn only_a_similar_name_is_suggested() {
        let known = ["analytics", "backup", "simple-seo"].map(str::to_owned);
        assert_eq!(nearest("analitics", &known), "analytics");
        assert_eq!(nearest("zzz", &known), "");
    }

    #[test]
    fn the_inbox_is_bounded_by_messages_and_bytes() {
        let message = |size| PluginMessage {
            message_type: 1,
            source: "a".to_owned(),
            target: "b".to_owned(),
            timestamp: 1,
            payload: vec![0; size],
        };
        let mut inbox = Inbox::default();
        for _ in 0..MAX_INBOX_MESSAGES {
            assert!(!inbox.is_full());
            inbox.push(message(1));
        }
        assert!(inbox.is_full());
        while inbox.pop().is_some() {}
        assert_eq!(inbox.bytes, 0);
        inbox.push(message(MAX_INBOX_BYTES + 1));
        assert!(inbox.is_full());
    }
}
