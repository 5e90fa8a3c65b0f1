//! What a run found, as a table for people and as one line of JSON for scripts.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::load::Outcome;
use crate::process::Usage;
use crate::tally::Faults;

/// Everything that is reported.
pub struct Report<'a> {
    /// Name of the subcommand.
    pub mode: &'static str,
    /// What was asked for, as a JSON object.
    pub asked: Value,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Unit of what is counted: `message` or `route`.
    pub unit: &'static str,
    /// What the main histogram times.
    pub timed: &'static str,
    /// Further figures, as a JSON object, or null: numbers, and times as [`latency`] gives them.
    pub more: Value,
}

/// For rates and means, where 52 bits are plenty.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a run stay far below 2^52"
)]
fn float(number: u64) -> f64 {
    number as f64
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    float(count) / elapsed.as_secs_f64().max(1e-9)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn micros(nanoseconds: u64) -> f64 {
    rounded(float(nanoseconds) / 1_000.0, 1)
}

/// Mean, percentiles and maximum of nanoseconds, in microseconds.
pub fn latency(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(),
        "mean": rounded(histogram.mean() / 1_000.0, 1),
        "p50": micros(histogram.value_at_quantile(0.5)),
        "p99": micros(histogram.value_at_quantile(0.99)),
        "p99_9": micros(histogram.value_at_quantile(0.999)),
        "max": micros(histogram.max()),
    })
}

fn server(pid: u32, before: &Usage, after: &Usage, messages: u64) -> Value {
    let cpu = after.cpu().saturating_sub(before.cpu()).as_secs_f64();
    let count = float(messages.max(1));
    let growth = float(after.rss_anon_bytes) - float(before.rss_anon_bytes);
    json!({
        "pid": pid,
        "cpu_seconds": rounded(cpu, 3),
        "user_seconds": rounded(after.user.saturating_sub(before.user).as_secs_f64(), 3),
        "system_seconds": rounded(after.system.saturating_sub(before.system).as_secs_f64(), 3),
        "cpu_us_per_message": rounded(cpu * 1e6 / count, 4),
        "messages_per_cpu_second": if cpu > 0.0 { rounded(float(messages) / cpu, 0) } else { 0.0 },
        "rss_anon_bytes_before": before.rss_anon_bytes,
        "rss_anon_bytes": after.rss_anon_bytes,
        "rss_anon_bytes_per_message": rounded(growth / count, 3),
        "vm_rss_bytes": after.vm_rss_bytes,
    })
}

fn faults(faults: &Faults) -> Value {
    let codes = faults
        .codes()
        .iter()
        .map(|(code, &count)| (code.to_string(), Value::from(count)));
    json!({
        "counts": faults.counts(),
        "codes": Value::Object(codes.collect()),
        "examples": faults.examples(),
    })
}

impl Report<'_> {
    /// The whole report.
    pub fn json(&self) -> Value {
        let Outcome {
            elapsed,
            messages,
            bytes,
            tally,
            servers,
            own,
        } = self.outcome;
        let own_cpu = own.1.cpu().saturating_sub(own.0.cpu()).as_secs_f64();
        let mut report = json!({
            "mode": self.mode,
            "asked": self.asked,
            "unit": self.unit,
            "seconds": rounded(elapsed.as_secs_f64(), 4),
            "messages": messages,
            "messages_per_second": rounded(per_second(*messages, *elapsed), 1),
            "mb_per_second": rounded(per_second(*bytes, *elapsed) / 1e6, 2),
            "timed": self.timed,
            "latency_us": latency(&tally.latency),
            "generator_cpu_seconds": rounded(own_cpu, 3),
            "servers": servers.iter().map(|(pid, before, after)| server(*pid, before, after, *messages)).collect::<Vec<_>>(),
            "verified": tally.faults.is_empty(),
            "faults": faults(&tally.faults),
        });
        if !tally.acknowledged_after.is_empty() {
            report["acknowledged_after_us"] = latency(&tally.acknowledged_after);
        }
        for (name, value) in self.more.as_object().into_iter().flatten() {
            report[name] = value.clone();
        }
        report
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let json = self.json();
        let mut table = Table::new();
        table
            .load_preset(UTF8_FULL_CONDENSED)
            .set_header([self.mode, ""]);
        let mut row = |name: String, value: String| {
            table.add_row([name, value]);
        };
        row(
            format!("{}s", self.unit),
            format!("{} in {} s", json["messages"], json["seconds"]),
        );
        row(
            format!("{}s per second", self.unit),
            json["messages_per_second"].to_string(),
        );
        row(
            "MB per second".to_owned(),
            json["mb_per_second"].to_string(),
        );
        for (name, key) in [
            (self.timed, "latency_us"),
            ("acknowledged after", "acknowledged_after_us"),
        ] {
            let times = &json[key];
            if !times.is_null() {
                let texts = ["p50", "p99", "p99_9", "max"].map(|point| times[point].to_string());
                row(format!("{name}, µs: p50 p99 p99.9 max"), texts.join("  "));
            }
        }
        for (name, value) in self.more.as_object().into_iter().flatten() {
            let points = ["p50", "p99", "p99_9", "max"].map(|point| &value[point]);
            if points[0].is_null() {
                row(name.replace('_', " "), value.to_string());
            } else {
                let name = name.trim_end_matches("_us").replace('_', " ");
                let texts = points.map(ToString::to_string);
                row(format!("{name}, µs: p50 p99 p99.9 max"), texts.join("  "));
            }
        }
        for server in json["servers"].as_array().into_iter().flatten() {
            let pid = &server["pid"];
            row(
                format!("server {pid}: CPU µs per {}", self.unit),
                format!(
                    "{} ({} s user, {} s system)",
                    server["cpu_us_per_message"], server["user_seconds"], server["system_seconds"]
                ),
            );
            row(
                format!("server {pid}: {}s per CPU second", self.unit),
                server["messages_per_cpu_second"].to_string(),
            );
            row(
                format!("server {pid}: RssAnon, VmRSS"),
                format!(
                    "{}, {} MiB",
                    mebibytes(&server["rss_anon_bytes"]),
                    mebibytes(&server["vm_rss_bytes"])
                ),
            );
        }
        row(
            "generator CPU s".to_owned(),
            json["generator_cpu_seconds"].to_string(),
        );
        let counts = self.outcome.tally.faults.counts();
        row(
            "verified".to_owned(),
            if counts.is_empty() {
                "every reply".to_owned()
            } else {
                format!("FAULTS {}", json["faults"]["counts"])
            },
        );
        for example in self.outcome.tally.faults.examples() {
            row(String::new(), example.clone());
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

fn mebibytes(bytes: &Value) -> f64 {
    rounded(bytes.as_f64().unwrap_or(0.0) / f64::from(1 << 20), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Fault, Tally};

    fn outcome() -> Outcome {
        let mut tally = Tally::new(&[0]);
        tally.measuring = true;
        tally.time(1_500);
        let before = Usage::default();
        let after = Usage {
            user: Duration::from_millis(30),
            system: Duration::from_millis(10),
            ..before
        };
        Outcome {
            elapsed: Duration::from_secs(2),
            messages: 1_000,
            bytes: 1_024_000,
            tally,
            servers: vec![(7, before, after)],
            own: (before, after),
        }
    }

    #[test]
    fn figures_are_per_second_and_per_message() {
        let outcome = outcome();
        let report = Report {
            mode: "produce",
            asked: json!({}),
            outcome: &outcome,
            unit: "message",
            timed: "send",
            more: json!({"share_of_plain_sends": 0.5}),
        };
        let json = report.json();
        assert_eq!(json["messages_per_second"], 500.0);
        assert_eq!(json["mb_per_second"], 0.51);
        assert_eq!(json["latency_us"]["p50"], 1.5);
        assert_eq!(json["servers"][0]["cpu_us_per_message"], 40.0);
        assert_eq!(json["servers"][0]["messages_per_cpu_second"], 25_000.0);
        assert_eq!(json["verified"], true);
        assert_eq!(json["share_of_plain_sends"], 0.5);
        assert!(report.table().contains("messages per second"));
    }

    #[test]
    fn faults_show_in_both_forms() {
        let mut outcome = outcome();
        outcome
            .tally
            .faults
            .add(Fault::Lost, 3, || "three are gone".to_owned());
        let report = Report {
            mode: "consume",
            asked: json!({}),
            outcome: &outcome,
            unit: "message",
            timed: "pull",
            more: Value::Null,
        };
        assert_eq!(report.json()["faults"]["counts"]["lost"], 3);
        assert_eq!(report.json()["verified"], false);
        assert!(report.table().contains("three are gone"));
    }
}
