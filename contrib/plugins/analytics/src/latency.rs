//! Latencies in logarithmic buckets: constant memory, percentiles within 10 %.

/// Each bucket is wider than the one before by a factor of 2^(1/8), 9 %.
const PER_OCTAVE: f64 = 8.0;
/// The resolution in milliseconds.
const MIN: f64 = 0.001;
const BUCKETS: usize = 256;

/// A histogram of times.
#[derive(Clone, Debug)]
pub struct Latency {
    buckets: Vec<u64>,
    count: u64,
    max: f64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: vec![0; BUCKETS], count: 0, max: 0.0 }
    }
}

impl Latency {
    /// Adds a time in milliseconds.
    pub fn add(&mut self, milliseconds: f64) {
        let octaves = (milliseconds.max(MIN) / MIN).log2();
        let bucket = ((octaves * PER_OCTAVE) as usize).min(BUCKETS - 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(milliseconds);
    }

    /// The number of times.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest time in milliseconds.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The percentile (0 to 1) in milliseconds; 0 if there are no times.
    pub fn percentile(&self, rank: f64) -> f64 {
        let wanted = (rank * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let upper = MIN * ((bucket + 1) as f64 / PER_OCTAVE).exp2();
                return upper.min(self.max);
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
        assert_eq!(latency.max(), 100.0);
    }

    #[test]
    fn an_empty_histogram_is_zero_and_extremes_are_kept() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile(0.5), 0.0);
        latency.add(0.0);
        latency.add(1e12);
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.percentile(1.0), LAST_BUCKET.min(latency.max()));
    }

    const LAST_BUCKET: f64 = 4_294_967.296; // its end
}
