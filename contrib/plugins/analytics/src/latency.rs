//! Latencies in buckets: constant memory, any percentile within 10 %.

/// Buckets to an octave: each is 2^(1/8), 9 %, wider than the one before.
const PER_OCTAVE: f64 = 8.0;
/// The shortest time that is told apart, in milliseconds.
const SHORTEST: f64 = 0.001;
const BUCKETS: usize = 256;

/// How long something took, over and over.
#[derive(Clone, Debug)]
pub struct Latency {
    buckets: Vec<u64>,
    count: u64,
    longest: f64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: vec![0; BUCKETS], count: 0, longest: 0.0 }
    }
}

impl Latency {
    /// Adds a time in milliseconds.
    pub fn add(&mut self, milliseconds: f64) {
        let octaves = (milliseconds.max(SHORTEST) / SHORTEST).log2();
        let bucket = ((octaves * PER_OCTAVE) as usize).min(BUCKETS - 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(milliseconds);
    }

    /// How many times were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest time in milliseconds.
    pub fn longest(&self) -> f64 {
        self.longest
    }

    /// The time in milliseconds that this part (0 to 1) of all were within.
    pub fn percentile(&self, part: f64) -> f64 {
        let wanted = (part * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let upper = SHORTEST * ((bucket + 1) as f64 / PER_OCTAVE).exp2();
                return upper.min(self.longest);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn percentiles_are_within_a_tenth() {
        let mut latency = Latency::default();
        for each in 1..=1000 {
            latency.add(f64::from(each) / 10.0);
        }
        for (part, exact) in [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = latency.percentile(part);
            assert!((found - exact).abs() / exact < 0.1, "{part}: {found}");
        }
        assert_eq!(latency.longest(), 100.0);
    }

    #[test]
    fn nothing_is_zero_and_extremes_are_kept() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile(0.5), 0.0);
        latency.add(0.0);
        latency.add(1e12);
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.percentile(1.0), SHORT_OF_FOREVER.min(latency.longest()));
    }

    const SHORT_OF_FOREVER: f64 = 4_294_967.296; // the last bucket's end
}
