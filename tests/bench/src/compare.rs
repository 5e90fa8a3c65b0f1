//! Several runs of several servers, side by side: medians and ratios.
//!
//! Input is a file of JSON lines `{"server":…, "test":…, "report":…}`, one per run, where the report is what a
//! subcommand printed, or an object of plain figures.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, bail};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::args::CompareArgs;

/// The server others are compared with.
const OURS: &str = "ours";

/// What a run of load is compared by: name, and where it stands in the report.
const FIGURES: [(&str, &str); 12] = [
    ("messages/s", "/messages_per_second"),
    ("server CPU µs/message", "/servers/0/cpu_us_per_message"),
    (
        "messages/server CPU s",
        "/servers/0/messages_per_cpu_second",
    ),
    ("p50 µs", "/latency_us/p50"),
    ("p99 µs", "/latency_us/p99"),
    ("p99.9 µs", "/latency_us/p99_9"),
    ("of plain sends", "/share_of_plain_sends"),
    (
        "timers stored after due, p99 µs",
        "/stored_after_due_us/p99",
    ),
    ("timers read after due, p50 µs", "/read_after_due_us/p50"),
    ("timers read after due, p99 µs", "/read_after_due_us/p99"),
    ("timers read after due, max µs", "/read_after_due_us/max"),
    ("faults", "/fault_count"),
];

/// Values of all rounds by test, figure and server. Tests and figures keep the order they came in.
#[derive(Default)]
struct Results {
    servers: Vec<String>,
    rows: Vec<(String, String, BTreeMap<String, Vec<f64>>)>,
}

impl Results {
    fn add(&mut self, server: &str, test: &str, figure: &str, value: f64) {
        if !self.servers.iter().any(|known| known == server) {
            self.servers.push(server.to_owned());
        }
        let row = self
            .rows
            .iter()
            .position(|(known, name, _)| known == test && name == figure);
        let row = row.unwrap_or_else(|| {
            self.rows
                .push((test.to_owned(), figure.to_owned(), BTreeMap::new()));
            self.rows.len() - 1
        });
        self.rows[row]
            .2
            .entry(server.to_owned())
            .or_default()
            .push(value);
    }

    fn add_line(&mut self, line: &str) -> anyhow::Result<()> {
        let line: Value = serde_json::from_str(line)?;
        let (Some(server), Some(test)) = (line["server"].as_str(), line["test"].as_str()) else {
            bail!("a line needs \"server\" and \"test\"");
        };
        let mut report = line["report"].clone();
        if report["latency_us"].is_null() {
            let figures = report.as_object().context("\"report\" is no object")?;
            for (figure, value) in figures {
                if let Some(value) = value.as_f64() {
                    self.add(server, test, figure, value);
                }
            }
            return Ok(());
        }
        let counts = report["faults"]["counts"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        report["fault_count"] = counts
            .values()
            .filter_map(Value::as_u64)
            .sum::<u64>()
            .into();
        for (figure, place) in FIGURES {
            if let Some(value) = report.pointer(place).and_then(Value::as_f64) {
                self.add(server, test, figure, value);
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(test, figure, values)| {
            let medians: BTreeMap<&str, f64> =
                values.iter().map(|(server, values)| (server.as_str(), median(values))).collect();
            let ratios: BTreeMap<String, f64> = medians
                .iter()
                .filter(|(server, _)| **server != OURS)
                .filter_map(|(server, &other)| Some((format!("{OURS}/{server}"), ratio(*medians.get(OURS)?, other)?)))
                .collect();
            json!({ "test": test, "figure": figure, "medians": medians, "ratios": ratios, "values": values })
        });
        Value::Array(rows.collect())
    }

    fn table(&self) -> String {
        let others: Vec<&String> = self
            .servers
            .iter()
            .filter(|server| *server != OURS)
            .collect();
        let mut table = Table::new();
        let mut header = vec!["test".to_owned(), "figure".to_owned()];
        header.extend(self.servers.iter().cloned());
        header.extend(others.iter().map(|server| format!("{OURS}/{server}")));
        table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
        let mut last = "";
        for (test, figure, values) in &self.rows {
            let of = |server: &String| values.get(server).map(|values| median(values));
            let own = of(&OURS.to_owned());
            let mut row = vec![
                if test == last {
                    String::new()
                } else {
                    test.clone()
                },
                figure.clone(),
            ];
            row.extend(
                self.servers
                    .iter()
                    .map(|server| of(server).map_or(String::new(), shown)),
            );
            row.extend(others.iter().map(|server| {
                own.zip(of(server))
                    .and_then(|(own, other)| ratio(own, other))
                    .map_or(String::new(), shown)
            }));
            table.add_row(row);
            last = test;
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn ratio(own: f64, other: f64) -> Option<f64> {
    (other > 0.0).then(|| own / other)
}

/// Three significant digits are enough; whole numbers from 100 on.
fn shown(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 || large == 0.0 => 0,
        large if large >= 10.0 => 1,
        large if large >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// `mqbench compare`: prints the table, writes the same as JSON next to the input if asked to.
pub fn compare(args: &CompareArgs) -> anyhow::Result<bool> {
    let text =
        fs::read_to_string(&args.runs).with_context(|| format!("read {}", args.runs.display()))?;
    let mut results = Results::default();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        results
            .add_line(line)
            .with_context(|| format!("{} line {}", args.runs.display(), number + 1))?;
    }
    println!("{}", results.table());
    if let Some(out) = &args.json {
        fs::write(out, format!("{:#}\n", results.json()))
            .with_context(|| format!("write {}", out.display()))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        for (server, rate) in [
            ("ours", 400.0),
            ("reference", 90.0),
            ("ours", 600.0),
            ("reference", 110.0),
            ("ours", 500.0),
        ] {
            let report = json!({ "messages_per_second": rate, "latency_us": { "p50": 5.0 }, "faults": { "counts": { "lost": 2 } } });
            let line = json!({ "server": server, "test": "send 1x1", "report": report });
            results.add_line(&line.to_string()).unwrap();
        }
        results
    }

    #[test]
    fn medians_and_ratios_are_taken_over_the_rounds() {
        let json = results().json();
        assert_eq!(json[0]["figure"], "messages/s");
        assert_eq!(
            json[0]["medians"],
            json!({ "ours": 500.0, "reference": 100.0 })
        );
        assert_eq!(json[0]["ratios"], json!({ "ours/reference": 5.0 }));
        assert_eq!(json[2]["figure"], "faults");
        assert_eq!(json[2]["medians"]["ours"], 2.0);
    }

    #[test]
    fn plain_figures_are_taken_as_they_are() {
        let mut results = Results::default();
        results.add_line(r#"{"server":"ours","test":"startup","report":{"mode":"startup","milliseconds":12.5}}"#).unwrap();
        assert_eq!(results.json()[0]["medians"]["ours"], 12.5);
        assert!(results.table().contains("12.5"));
        assert!(results.add_line("{}").is_err());
    }

    #[test]
    fn numbers_are_shown_with_the_digits_that_matter() {
        assert_eq!(
            [0.0, 0.1234, 1.234, 12.34, 123.4].map(shown),
            ["0", "0.123", "1.23", "12.3", "123"]
        );
    }
}
