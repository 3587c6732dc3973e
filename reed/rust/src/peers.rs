//! Messages between plugins: all FIFOs of this plugin, and requests that wait for their answers.
//!
//! ```text
//! send ─────────── Outbound ── fifos/self→B                      fifos/B→self ── Inbound ─┬─ an answer ── its request
//! request ── send, wait on its bell, send again now and then                              ├─ a repeat ── answered as before
//! main thread: flush (pipes with room again)                                              └─ new ── inbox ── main thread
//! ```
//!
//! The main thread handles messages. A handler that waits in `request`, on whatever thread, reads the FIFO of its answer
//! itself (`ask`); what else it finds there goes to the inbox. Locks are held for reading and writing only, never while waiting.

mod ask;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;

use crate::bell::Bell;
use crate::clock::now_micros;
use crate::connection::timespec;
use crate::error::Error;
use crate::fifo::End;
use crate::inbound::{Arrival, Inbound, PAUSE};
use crate::locks::lock;
use crate::log;
use crate::outbound::Outbound;
use crate::places::Places;
use crate::plugin::Answer;
use crate::strict_json;
use crate::wire::codes::messages;
use crate::wire::message::PluginMessage;
use requests::Requests;

const CHUNK: usize = 64 * 1024;
/// Chunks read from one FIFO before the others have their turn.
const CHUNKS_A_TURN: usize = 4;

/// Messages in the inbox; further ones stay in their pipes until a handler that waits is done.
const MOST_UNHANDLED: usize = 8192;

#[derive(Default)]
struct Reading {
    by_source: BTreeMap<String, Inbound>,
    inbox: VecDeque<PluginMessage>,
    chunk: Vec<u8>,
}

/// All FIFOs of one plugin.
pub(crate) struct Peers {
    places: Places,
    looked_at: Mutex<Option<SystemTime>>,
    writing: Mutex<BTreeMap<String, Outbound>>,
    reading: Mutex<Reading>,
    requests: Requests,
    /// Wakes the main thread: for the inbox, or for a pipe that got full.
    pub(crate) bell: Bell,
    generation: AtomicU64,
}

impl Peers {
    pub(crate) fn new(places: Places) -> Result<Peers, Error> {
        Ok(Peers {
            places,
            looked_at: Mutex::default(),
            writing: Mutex::default(),
            reading: Mutex::default(),
            requests: Requests::default(),
            bell: Bell::new()?,
            generation: AtomicU64::new(0),
        })
    }

    // The FIFOs.

    /// Opens the FIFOs that lead here, and anew those that were replaced; `known` are the other plugins, if the core
    /// said so.
    pub(crate) fn look(&self, known: Option<&[String]>) {
        *lock(&self.looked_at) = self.places.changed_at();
        let sources = match known.map_or_else(|| self.places.others(End::Read), |known| Ok(known.to_vec())) {
            Ok(sources) => sources,
            Err(error) => return log::line(&format!("which plugins may send to this one: {error}")),
        };
        let mut reading = lock(&self.reading);
        reading.by_source.retain(|source, _| sources.contains(source));
        for source in sources {
            let outcome = match reading.by_source.get_mut(&source) {
                Some(inbound) => inbound.renew(&self.places),
                None => Inbound::open(&self.places, &source)
                    .map(|inbound| drop(reading.by_source.insert(source, inbound))),
            };
            if let Err(error) = outcome {
                log::line(&error.to_string());
            }
        }
        drop(reading);
        lock(&self.writing).retain(|_, outbound| match outbound.renew(&self.places) {
            Ok(()) => true,
            Err(error) => {
                log::line(&format!("{error}: {} messages are lost", outbound.waiting()));
                false
            }
        });
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`Peers::look`], if FIFOs came or went since.
    pub(crate) fn look_again(&self, known: Option<&[String]>) {
        if self.places.changed_at() != *lock(&self.looked_at) {
            self.look(known);
        }
    }

    /// Counts up when the set of FIFOs has changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What the main thread waits for: FIFOs to read.
    pub(crate) fn readers(&self) -> Vec<(String, Arc<OwnedFd>)> {
        let reading = lock(&self.reading);
        let inbounds = reading.by_source.iter();
        inbounds.map(|(source, inbound)| (source.clone(), Arc::clone(&inbound.fifo.fd))).collect()
    }

    /// What the main thread waits for: pipes that are full.
    pub(crate) fn blocked(&self) -> Vec<Arc<OwnedFd>> {
        let writing = lock(&self.writing);
        let blocked = writing.values().filter(|outbound| outbound.is_blocked());
        blocked.map(|outbound| Arc::clone(&outbound.fifo.fd)).collect()
    }

    /// Whether messages wait for a pipe that nobody reads: now and then `flush` tries again.
    pub(crate) fn is_stuck(&self) -> bool {
        lock(&self.writing).values().any(Outbound::is_stuck)
    }

    /// Whether nothing is under way: nothing queued, nothing half read.
    pub(crate) fn is_quiet(&self) -> bool {
        let reading = lock(&self.reading);
        let silent = reading.inbox.is_empty() && !reading.by_source.values().any(Inbound::is_in_the_middle);
        drop(reading);
        silent && lock(&self.writing).values().all(|outbound| outbound.waiting() == 0)
    }

    /// Bytes of torn messages that were dropped, and messages that wait for a pipe.
    pub(crate) fn figures(&self) -> (u64, usize) {
        let dropped = lock(&self.reading).by_source.values().map(Inbound::dropped).sum();
        (dropped, lock(&self.writing).values().map(Outbound::waiting).sum())
    }

    // Out.

    /// Sends a message; gives its timestamp.
    pub(crate) fn send(&self, target: &str, message_type: u8, payload: &[u8]) -> Result<u64, Error> {
        self.send_then(target, message_type, payload, |_| {})
    }

    fn send_then(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        before: impl FnOnce(u64),
    ) -> Result<u64, Error> {
        let mut writing = lock(&self.writing);
        let outbound = self.outbound(&mut writing, target)?;
        let timestamp = outbound.stamp(now_micros());
        before(timestamp);
        outbound.push(&self.message(target, message_type, timestamp, payload))?;
        if outbound.waiting() > 0 {
            self.bell.ring();
        }
        Ok(timestamp)
    }

    fn message(&self, target: &str, message_type: u8, timestamp: u64, payload: &[u8]) -> PluginMessage {
        let (source, target) = (self.places.name().to_owned(), target.to_owned());
        PluginMessage { message_type, source, target, timestamp, payload: payload.to_vec() }
    }

    fn outbound<'a>(
        &self,
        writing: &'a mut BTreeMap<String, Outbound>,
        target: &str,
    ) -> Result<&'a mut Outbound, Error> {
        if !writing.contains_key(target) {
            let opened = Outbound::open(&self.places, target);
            let outbound = opened.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => self.no_fifo(target),
                _ => Error::io(format!("opening {}", self.places.path(End::Write, target).display()), error),
            })?;
            writing.insert(target.to_owned(), outbound);
        }
        writing.get_mut(target).ok_or_else(|| self.no_fifo(target))
    }

    fn no_fifo(&self, target: &str) -> Error {
        // Without a list there is no nearest name; that there is no such plugin stands all the same.
        let others = self.places.others(End::Write).unwrap_or_default();
        let known = others.iter().map(String::as_str);
        Error::NoFifo { plugin: target.to_owned(), nearest: crate::nearest::nearest(target, known) }
    }

    /// Writes to the pipes that have room again. Of one that fails it tells once.
    pub(crate) fn flush(&self) {
        for outbound in lock(&self.writing).values_mut() {
            let was_stuck = outbound.is_stuck();
            match outbound.flush() {
                Err(error) if !was_stuck => log::line(&error.to_string()),
                _ => {}
            }
        }
    }

    /// Before the end: waits a little for full pipes, and tells what did not go out.
    pub(crate) fn flush_within(&self, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            self.flush();
            let (blocked, is_stuck) = (self.blocked(), self.is_stuck());
            let left = deadline.saturating_duration_since(Instant::now());
            if blocked.is_empty() && !is_stuck {
                return;
            }
            if left.is_zero() {
                let waiting: usize = lock(&self.writing).values().map(Outbound::waiting).sum();
                return log::line(&format!("{waiting} messages were not sent: their pipes are full"));
            }
            let mut fds: Vec<_> = blocked.iter().map(|fd| PollFd::new(&**fd, PollFlags::OUT)).collect();
            let within = if is_stuck { left.min(PAUSE) } else { left };
            if poll(&mut fds, Some(&timespec(within))).is_err() {
                return;
            }
        }
    }

    // In.

    /// Reads these FIFOs.
    pub(crate) fn receive<'a>(&self, sources: impl Iterator<Item = &'a str>) {
        let mut repeated = BTreeSet::new(); // a repeat is answered once, however often it stands there
        let mut reading = lock(&self.reading);
        let Reading { by_source, inbox, chunk } = &mut *reading;
        if inbox.len() >= MOST_UNHANDLED {
            return; // the pipes hold the rest
        }
        chunk.resize(CHUNK, 0);
        for source in sources {
            let Some(inbound) = by_source.get_mut(source) else { continue };
            for _ in 0..CHUNKS_A_TURN {
                match inbound.receive(chunk) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        log::line(&error.to_string());
                        break;
                    }
                }
                while let Some(arrival) = inbound.next() {
                    match arrival {
                        Arrival::New(message) if messages::is_answer(message.message_type) => {
                            self.requests.answered(&message);
                        }
                        Arrival::New(message) => inbox.push_back(message),
                        Arrival::Repeat(timestamp) => drop(repeated.insert((source, timestamp))),
                    }
                }
                if let Some(why) = inbound.judge() {
                    log::line(&why);
                    break;
                }
            }
        }
        let answer_to = |(source, timestamp): (&'a str, u64)| {
            let (kind, payload) = by_source.get(source)?.answer_to(timestamp)?; // none while it is being handled
            Some((source, kind, payload))
        };
        let again: Vec<_> = repeated.into_iter().filter_map(answer_to).collect();
        drop(reading);
        for (target, message_type, payload) in again {
            if let Err(error) = self.send(target, message_type, &payload) {
                log::line(&error.to_string());
            }
        }
    }

    /// The next message to handle.
    pub(crate) fn next(&self) -> Option<PluginMessage> {
        lock(&self.reading).inbox.pop_front()
    }

    /// Whether nothing more can be read until messages were handled.
    fn is_full(&self) -> bool {
        lock(&self.reading).inbox.len() >= MOST_UNHANDLED
    }

    /// FIFOs that are to be left alone for a moment.
    pub(crate) fn paused(&self) -> Vec<String> {
        let reading = lock(&self.reading);
        let paused = reading.by_source.iter().filter(|(_, inbound)| inbound.is_paused());
        paused.map(|(source, _)| source.clone()).collect()
    }

    /// Answers a message, and keeps the answer for its repeats.
    pub(crate) fn answer(
        &self,
        message: &PluginMessage,
        outcome: &Result<Answer, Error>,
    ) -> Result<(), Error> {
        let asked = message.timestamp;
        let (kind, body) = match outcome {
            Ok(Answer::None) => return Ok(()),
            Ok(Answer::Ack) => (messages::RESPONSE_ACK, json!({"in_reply_to": asked})),
            Ok(Answer::Data(data)) => (messages::RESPONSE_DATA, json!({"in_reply_to": asked, "data": data})),
            Err(error) => {
                let body =
                    json!({"in_reply_to": asked, "status": error.status(), "error": error.to_string()});
                (messages::RESPONSE_ERROR, body)
            }
        };
        let body = strict_json::text(&body);
        if let Some(inbound) = lock(&self.reading).by_source.get_mut(&message.source) {
            inbound.answered(asked, kind, body.clone());
        }
        self.send(&message.source, kind, &body).map(drop)
    }
}
