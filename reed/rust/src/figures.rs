//! What a plugin counts of itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Counters since the start; any thread may count.
pub(crate) struct Figures {
    started: Instant,
    last_work: AtomicU64, // milliseconds after the start
    active: AtomicUsize,
    calls: AtomicU64,
    errors: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Figures {
    pub(crate) fn new() -> Figures {
        Figures {
            started: Instant::now(),
            last_work: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Something is being done until what this gives is dropped.
    pub(crate) fn work(&self) -> Work<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Work(self)
    }

    pub(crate) fn call_answered(&self, failed: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    pub(crate) fn message_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn message_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// How long nothing was done; none while something is.
    pub(crate) fn idle(&self) -> Duration {
        if self.active.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last_work.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// As the answer to PLUGIN_HEALTH has them.
    pub(crate) fn json(&self, dropped: u64, waiting: usize, own: &Value) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "calls": count(&self.calls),
            "errors": count(&self.errors),
            "messages_sent": count(&self.sent),
            "messages_received": count(&self.received),
            "messages_waiting": waiting,
            "bytes_dropped": dropped,
            "own": own,
        })
    }
}

/// See [`Figures::work`].
pub(crate) struct Work<'a>(&'a Figures);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_work.store(now, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
