//! How long messages waited, by topic: a histogram of the reference.

use prometheus::{HistogramOpts, HistogramVec};

/// A histogram of seconds. Clones are handles of the same one.
#[derive(Clone)]
pub struct Waits(HistogramVec);

impl Waits {
    /// None yet. `bounds` are the upper ones of its buckets, in seconds; `labels` every row has.
    ///
    /// # Errors
    /// A name is no metric name; ours are.
    pub fn new(
        name: &str,
        help: &str,
        bounds: &[f64],
        labels: &[(&str, &str)],
    ) -> prometheus::Result<Self> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let options = labels.iter().fold(options, |options, (name, value)| {
            options.const_label(*name, *value)
        });
        HistogramVec::new(options, &["topic"]).map(Self)
    }

    /// Counts a message that has waited for so many milliseconds; whole seconds count.
    pub fn observe(&self, topic: &str, waited_ms: i64) {
        let seconds = i32::try_from(waited_ms.max(0) / 1_000).unwrap_or(i32::MAX);
        self.0.with_label_values(&[topic]).observe(seconds.into());
    }

    /// What Prometheus asks for.
    pub fn collector(&self) -> HistogramVec {
        self.0.clone()
    }
}
