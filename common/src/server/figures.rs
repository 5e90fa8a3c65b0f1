//! Figures for Prometheus that are taken when somebody asks, from wherever they are kept.

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// Adds figures to a registry: `take` is called for every answer, so that what is gone is gone from the answer.
///
/// # Errors
/// The registry does not take them.
pub fn register(
    registry: &Registry,
    take: impl Fn(&mut Families) + Send + Sync + 'static,
) -> prometheus::Result<()> {
    registry.register(Box::new(Taken(take)))
}

/// The families of one answer.
#[derive(Default)]
pub struct Families(Vec<MetricFamily>);

/// A value of a figure.
pub trait Figure {
    /// The value as Prometheus has it.
    fn value(&self) -> f64;
}

macro_rules! figures {
    ($($number:ty)+) => {$(
        impl Figure for $number {
            #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "Prometheus knows no other numbers")]
            fn value(&self) -> f64 { *self as f64 }
        }
    )+};
}

figures!(u32 i32 u64 i64 usize f64);

impl Families {
    /// A figure that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Figure) {
        self.gauges(name, help, [], [([], value)]);
    }

    /// A figure that only grows.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Figure) {
        self.counters(name, help, [], [([], value)]);
    }

    /// Figures that go up and down, one for each row of label values.
    pub fn gauges<'a, const N: usize, F: Figure>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([&'a str; N], F)>,
    ) {
        self.add(name, help, MetricType::GAUGE, labels, rows);
    }

    /// Figures that only grow, one for each row of label values.
    pub fn counters<'a, const N: usize, F: Figure>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([&'a str; N], F)>,
    ) {
        self.add(name, help, MetricType::COUNTER, labels, rows);
    }

    fn add<'a, const N: usize, F: Figure>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([&'a str; N], F)>,
    ) {
        let metric = |(values, figure): ([&str; N], F)| {
            let label = |(name, value): (&str, &str)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            };
            let mut metric =
                Metric::from_label(labels.into_iter().zip(values).map(label).collect());
            if kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(figure.value());
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(figure.value());
                metric.set_gauge(gauge);
            }
            metric
        };
        let metrics: Vec<Metric> = rows.into_iter().map(metric).collect();
        // A family without a value is an error in the text format.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

struct Taken<F>(F);

impl<F: Fn(&mut Families) + Send + Sync> Collector for Taken<F> {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        (self.0)(&mut families);
        families.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn rows_become_lines_and_families_without_any_are_left_out() {
        let registry = Registry::new();
        let take = |families: &mut Families| {
            families.gauge("open", "Open ones.", 3_usize);
            families.counters(
                "seen_total",
                "Seen.",
                ["topic"],
                [(["a\"b"], 7_u64), (["c"], 8)],
            );
            families.gauges("none", "None.", ["topic"], [] as [([&str; 1], i64); 0]);
        };
        register(&registry, take).unwrap();
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        let expected = "# HELP open Open ones.\n# TYPE open gauge\nopen 3\n# HELP seen_total Seen.\n# TYPE seen_total counter\n\
                        seen_total{topic=\"a\\\"b\"} 7\nseen_total{topic=\"c\"} 8\n";
        assert_eq!(text, expected);
    }
}
