use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::crash::{Cycle, Extent, Faults, Trial, Unpromised};

use crate::kinds::KindStage;
use crate::options::Options;

/// Between these the document has the figures of the last run.
const BEGIN: &str = "<!-- figures of scripts/crash.sh: begin -->";
const END: &str = "<!-- figures of scripts/crash.sh: end -->";
const KINDS_BEGIN: &str = "<!-- figures of messages that wait: begin -->";
const KINDS_END: &str = "<!-- figures of messages that wait: end -->";

/// Blows of one kind under one flush mode.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) flush: &'static str,
    pub(crate) blow: &'static str,
    /// The machine does not permit it.
    pub(crate) skipped: bool,
    pub(crate) took: Duration,
    blows: u32,
    killed_starts: usize,
    acknowledged: u64,
    seen: u64,
    deleted: u64,
    read: u64,
    longest_recovery: Duration,
    unpromised: Unpromised,
    faults: Faults,
}

impl Stage {
    pub(crate) fn new(flush: &'static str, blow: &'static str) -> Self {
        Self {
            flush,
            blow,
            skipped: false,
            took: Duration::ZERO,
            blows: 0,
            killed_starts: 0,
            acknowledged: 0,
            seen: 0,
            deleted: 0,
            read: 0,
            longest_recovery: Duration::ZERO,
            unpromised: Unpromised::default(),
            faults: Faults::default(),
        }
    }

    pub(crate) fn cuts_power(&self) -> bool {
        self.blow == "power cut"
    }

    /// Stages of one run make choices of their own.
    pub(crate) fn salt(&self) -> u64 {
        u64::from(self.cuts_power()) << 62 | u64::from(self.flush == "SYNC_FLUSH") << 61
    }

    pub(crate) fn note(&mut self, cycle: &Cycle, read: u64) {
        self.blows += 1;
        self.killed_starts += cycle.killed_starts;
        self.acknowledged += cycle.acknowledged;
        self.read += read;
        self.longest_recovery = self.longest_recovery.max(cycle.recovery);
    }

    /// Reads a whole store before it goes, first through its broker and then its files, and takes
    /// over what was found wrong with it.
    ///
    /// # Errors
    /// When the broker cannot be asked or does not end in order.
    pub(crate) fn close(&mut self, trial: &mut Trial) -> Result<()> {
        if trial.books.faults().count() == 0 {
            self.read += trial.check(Extent::All).context("the last check")?;
            trial
                .verify_files()
                .context("the last check of the files")?;
        }
        let faults = trial.books.faults();
        self.seen += trial.books.seen();
        self.deleted += trial.books.deleted();
        let unpromised = trial.books.unpromised();
        self.unpromised.count += unpromised.count;
        self.unpromised.oldest = self.unpromised.oldest.max(unpromised.oldest);
        self.faults.lost += faults.lost;
        self.faults.altered += faults.altered;
        self.faults.reused += faults.reused;
        self.faults.other += faults.other;
        self.faults.texts.extend(faults.texts);
        Ok(())
    }

    pub(crate) fn progress(&self, number: u32, count: u32, cycle: &Cycle, trial: &Trial) -> String {
        let starts = match cycle.killed_starts {
            0 => String::new(),
            starts => format!(", {starts} starts killed"),
        };
        format!(
            "{} {} {number}/{count}: {} acknowledged ({} in all){starts}, ready after {} ms, {} read, {} faults",
            self.flush,
            self.blow,
            cycle.acknowledged,
            self.acknowledged,
            cycle.recovery.as_millis(),
            cycle.read,
            trial.books.faults().count()
        )
    }

    fn row(&self) -> String {
        if self.skipped {
            return format!(
                "| {} | {} | skipped: not permitted here | | | | | | | | | | |",
                self.flush, self.blow
            );
        }
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} ms |",
            self.flush,
            self.blow,
            self.blows,
            self.killed_starts,
            self.acknowledged,
            self.seen,
            self.deleted,
            self.faults.lost,
            self.faults.altered,
            self.faults.reused,
            self.faults.other,
            match self.unpromised {
                Unpromised { count: 0, .. } => "–".to_owned(),
                taken => format!("{}, oldest {} ms", taken.count, taken.oldest.as_millis()),
            },
            self.longest_recovery.as_millis()
        )
    }
}

/// All stages of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    stages: Vec<Stage>,
    kinds: Vec<KindStage>,
}

impl Summary {
    const HEADER: &'static str = "\
| Flush | Blow | Blows | Starts killed | Acknowledged | Consumed meanwhile | Expired | Lost | Altered | Offsets reused | Other faults | Taken without a promise | Longest start |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

    pub(crate) fn add_kind(&mut self, stage: KindStage) {
        self.kinds.push(stage);
    }

    pub(crate) fn add(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.stages.iter().all(|stage| stage.faults.count() == 0)
            && self.kinds.iter().all(KindStage::is_clean)
    }

    /// One for each group of loads that was run, with where a document has it.
    fn tables(&self) -> Vec<([&'static str; 2], String)> {
        let mut tables = Vec::new();
        let mut add = |marks, header: &str, rows: Vec<String>| {
            if !rows.is_empty() {
                tables.push((marks, format!("{header}{}\n", rows.join("\n"))));
            }
        };
        let rows = self.stages.iter().map(Stage::row).collect();
        add([BEGIN, END], Self::HEADER, rows);
        let rows = self.kinds.iter().map(ToString::to_string).collect();
        add([KINDS_BEGIN, KINDS_END], KindStage::HEADER, rows);
        tables
    }

    /// Replaces the figures in a document.
    ///
    /// # Errors
    /// When it has no place for them or cannot be written.
    pub(crate) fn record(&self, path: &Path, options: &Options) -> Result<()> {
        let mut text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for ([begin, end], table) in self.tables() {
            let (before, rest) = text.split_once(begin).context("no begin of the figures")?;
            let (_, after) = rest.split_once(end).context("no end of the figures")?;
            let given = options.given.join(" ");
            let command = format!("`scripts/crash.sh {given} --seed {}`", options.seed);
            text = format!("{before}{begin}\n{command}\n\n{table}{end}{after}");
        }
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, table) in self.tables() {
            writeln!(f, "{table}")?;
        }
        let acknowledged: u64 = self.stages.iter().map(|stage| stage.acknowledged).sum();
        let read: u64 = self.stages.iter().map(|stage| stage.read).sum();
        let took: Duration = self.stages.iter().map(|stage| stage.took).sum();
        let took = took + self.kinds.iter().map(KindStage::took).sum::<Duration>();
        if !self.stages.is_empty() {
            writeln!(
                f,
                "{acknowledged} messages acknowledged, {read} reads compared"
            )?;
        }
        writeln!(f, "{} s", took.as_secs())?;
        for stage in &self.stages {
            for text in &stage.faults.texts {
                writeln!(f, "FAULT {} {}: {text}", stage.flush, stage.blow)?;
            }
        }
        for text in self.kinds.iter().flat_map(KindStage::texts) {
            writeln!(f, "{text}")?;
        }
        let verdict = if self.is_clean() {
            "0 faults"
        } else {
            "FAILED"
        };
        writeln!(f, "{verdict}")
    }
}
