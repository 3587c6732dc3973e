//! Counters for `reed plugin health`, and how long the plugin has been idle.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    last_active: AtomicU64, // milliseconds after the start
    active: AtomicUsize,
    calls: AtomicU64,
    errors: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        Metrics {
            started: Instant::now(),
            last_active: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// The plugin is active until the guard is dropped.
    pub(crate) fn activity(&self) -> Activity<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Activity(self)
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

    pub(crate) fn idle_for(&self) -> Duration {
        if self.active.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last_active.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// `own` are the plugin's own metrics.
    pub(crate) fn to_json(&self, bytes_dropped: u64, messages_waiting: usize, own: &Value) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "calls": count(&self.calls),
            "errors": count(&self.errors),
            "messages_sent": count(&self.sent),
            "messages_received": count(&self.received),
            "messages_waiting": messages_waiting,
            "bytes_dropped": bytes_dropped,
            "own": own,
        })
    }
}

pub(crate) struct Activity<'a>(&'a Metrics);

impl Drop for Activity<'_> {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_active.store(now, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
