//! What a neighbour's FIFO brings that is of no use, and when its writer is not heard for a while.
//!
//! A writer that dies in the middle of messages, and one that asks again for its answers, stay far below the limit.

use std::time::{Duration, Instant};

use crate::wire::codes::MAX_PAYLOAD;

/// How long a writer is not heard.
pub(crate) const CUT: Duration = Duration::from_secs(60);
/// Bytes: two messages of the longest, torn at once.
const LIMIT: f64 = 2.0 * MAX_PAYLOAD as f64;
/// Bytes that a repeated message counts as: it costs an answer.
pub(crate) const REPEAT: u64 = 4096;

/// Of one FIFO: a level that sinks with time.
pub(crate) struct Rubbish {
    level: f64,
    since: Instant,
}

impl Rubbish {
    pub(crate) fn new(now: Instant) -> Rubbish {
        Rubbish { level: 0.0, since: now }
    }

    /// Whether that was too much: its writer is to be cut off.
    pub(crate) fn add(&mut self, size: u64, now: Instant) -> bool {
        let sunk = now.duration_since(self.since).as_secs_f64() * LIMIT / CUT.as_secs_f64();
        self.level = (self.level - sunk).max(0.0) + size as f64;
        self.since = now;
        let is_over = self.level > LIMIT;
        if is_over {
            self.level = 0.0;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_messages_are_no_rubbish_and_a_stream_of_it_is() {
        let now = Instant::now();
        let mut rubbish = Rubbish::new(now);
        assert!(!rubbish.add(2 * MAX_PAYLOAD as u64, now));
        assert!(rubbish.add(1, now));
        assert!(!rubbish.add(2 * MAX_PAYLOAD as u64, now + CUT), "heard again, and what was is forgotten");
        assert!(!rubbish.add(MAX_PAYLOAD as u64, now + CUT + CUT / 2), "as time goes by");
        assert!(rubbish.add(MAX_PAYLOAD as u64 + 1, now + CUT + CUT / 2));
    }
}
