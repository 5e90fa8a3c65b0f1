//! Everything in a store held against everything else.
//!
//! The queues' units are read first, then every record of the log, file by file on all threads.
//! Each record is looked up in its queue; a queue in which as many units were hit as it has is
//! right, and only the others are looked at unit by unit.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::queues::{OpenQueue, Scan};
use super::reader::RecordReader;
use super::walk::{Item, Judged, Problem, Progress, walk};
use super::{OfflineStore, Segment};
use crate::error::StoreError;

mod follow;
mod index;
mod report;
mod units;

use follow::Follow;
use report::KEPT_FINDINGS;
pub use report::{BadRange, Finding, Findings, LogEnd, Part, Report, SegmentReport};

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Threads that read the log; 0: one.
    pub threads: usize,
    /// Topics that exist, if that is known: messages of others need no queue.
    pub topics: Option<HashSet<String>>,
    /// Slots of index files, where those have not the usual proportion of slots to entries.
    pub index_slots: Option<u32>,
}

/// Checks everything in `store`.
///
/// # Errors
/// [`StoreError::Io`] when a file cannot be read.
pub fn verify(
    store: &OfflineStore,
    options: &Options,
    progress: &Progress,
) -> Result<Report, StoreError> {
    let mut findings = Findings::default();
    for finding in &store.findings {
        findings.add(finding.clone());
    }
    let settled = settled(store);
    let mut scans = Vec::with_capacity(store.queues.len());
    for queue in &store.queues {
        let queue = queue.open()?;
        let mut scan = queue.scan(store.log_start())?;
        for mut finding in scan.findings.drain(..) {
            finding.mended = scan.physical_end >= settled;
            findings.add(finding);
        }
        scans.push((queue, scan));
    }
    let mut seen = read_log(store, options, &scans, settled, progress)?;
    seen.segments.sort_by_key(|report| report.segment.base);
    findings.join(seen.findings);
    let ends = scans.iter().map(|(_, scan)| scan.physical_end);
    let known_end = ends.max().unwrap_or(0);
    let end = log_end(store, &seen.segments, known_end, &mut findings);
    let (mut orphans, mut unindexed) = (seen.orphans, 0);
    if !progress.is_stopped() {
        let log = units::Log {
            end: end.offset(),
            settled,
        };
        orphans += units::check(store, &scans, &seen.hits, &seen.misses, &log, &mut findings)?;
        check_checkpoint(store, end.offset(), &mut findings)?;
        let slots = options.index_slots;
        unindexed = index::check(store, slots, end.offset(), progress, &mut findings)?;
    }
    let place = |found: &Finding| (found.part, found.physical_offset.unwrap_or(0), found.at);
    findings.list.sort_by_key(place);
    findings.list.truncate(KEPT_FINDINGS);
    Ok(Report {
        segments: seen.segments,
        end,
        units: scans
            .iter()
            .map(|(_, scan)| scan.units.end - scan.units.start)
            .sum(),
        pending: seen.pending,
        unindexed,
        orphans,
        findings,
        stopped: progress.is_stopped(),
    })
}

/// Below this position every record has its unit: what is missing or wrong above it is made anew
/// when the store is opened, or is still on its way.
fn settled(store: &OfflineStore) -> u64 {
    if store.state.is_clean() {
        return u64::MAX;
    }
    let Some(checkpoint) = &store.checkpoint else {
        return 0;
    };
    let known = checkpoint.logics_physical_offset;
    checkpoint
        .indexed
        .or_else(|| Some(store.segment_of(known)?.base).filter(|_| known > 0))
        .unwrap_or(0)
}

/// A queue and what stands in it.
type Scanned<'s> = (OpenQueue<'s>, Scan);

/// What the threads have seen.
#[derive(Default)]
struct Seen {
    segments: Vec<SegmentReport>,
    /// For each queue the number of records found where it says.
    hits: Vec<u64>,
    misses: Vec<follow::Miss>,
    pending: u64,
    orphans: u64,
    findings: Findings,
}

fn read_log(
    store: &OfflineStore,
    options: &Options,
    scans: &[Scanned<'_>],
    settled: u64,
    progress: &Progress,
) -> Result<Seen, StoreError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut follow = Follow::new(store, scans, settled, options.topics.as_ref());
        while let Some(segment) = store.segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            match read_segment(store, segment, &mut follow, progress) {
                Ok(report) => follow.seen.segments.push(report),
                Err(_) if store.state.live && !segment.path.exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok::<_, StoreError>(follow.seen)
    };
    let threads = options.threads.clamp(1, store.segments.len().max(1));
    let parts = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut parts = vec![work()];
        for other in others {
            match other.join() {
                Ok(part) => parts.push(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    let mut all = Seen {
        hits: vec![0; scans.len()],
        ..Seen::default()
    };
    for part in parts {
        let part = part?;
        all.segments.extend(part.segments);
        all.hits
            .iter_mut()
            .zip(part.hits)
            .for_each(|(sum, hits)| *sum += hits);
        all.misses.extend(part.misses);
        all.pending += part.pending;
        all.orphans += part.orphans;
        all.findings.join(part.findings);
    }
    Ok(all)
}

fn read_segment(
    store: &OfflineStore,
    segment: &Segment,
    follow: &mut Follow<'_>,
    progress: &Progress,
) -> Result<SegmentReport, StoreError> {
    let mut report = SegmentReport {
        segment: segment.clone(),
        records: 0,
        record_bytes: 0,
        times: None,
        bad: Vec::new(),
        zeros_from: None,
    };
    let _ = walk(segment, segment.base, store.checks(), progress, |item| {
        match item {
            Item::Record(at, record) => {
                report.records += 1;
                report.record_bytes += u64::from(record.total_size);
                let last = record.store_timestamp;
                report.times = Some((report.times.map_or(last, |(first, _)| first), last));
                follow.record(segment, at, &record);
            }
            Item::Blank(_) => {}
            Item::Bad { at, problem, next } => report.bad.push(BadRange { at, problem, next }),
            Item::End(at) => report.zeros_from = Some(at),
        }
        ControlFlow::Continue(())
    })?;
    Ok(report)
}

/// Where the log ends; what is damaged before that becomes findings.
fn log_end(
    store: &OfflineStore,
    segments: &[SegmentReport],
    known_end: u64,
    findings: &mut Findings,
) -> LogEnd {
    let used = segments
        .iter()
        .rposition(|report| report.records > 0 || !report.bad.is_empty());
    let Some(last) = used else {
        return LogEnd::Zeros(store.log_start());
    };
    let torn = segments[last]
        .bad
        .last()
        .filter(|bad| bad.next.is_none())
        .copied();
    for (at, report) in segments[..=last].iter().enumerate() {
        for bad in &report.bad {
            let is_end = at == last && Some(*bad) == torn;
            if is_end && store.state.is_clean() && known_end <= bad.at {
                return LogEnd::Leftover(bad.at);
            }
            let what = match bad.next {
                Some(next) => format!("{} bytes are lost, the log goes on at {next}", next - bad.at),
                None if is_end => "nothing valid behind it; a write cut short looks like this, and the next start goes on before it".to_owned(),
                None => format!("the rest of the file, {} bytes, is lost", report.segment.end() - bad.at),
            };
            let problem = format!("{}; {what}", bad.problem);
            findings.add(Finding::record(&report.segment, bad.at, problem));
        }
        if let Some(zeros) = report.zeros_from.filter(|_| at < last) {
            let (hole, bytes) = (Problem::Hole, report.segment.end() - zeros);
            let problem = format!("{hole}; {bytes} bytes up to the next file");
            findings.add(Finding::record(&report.segment, zeros, problem));
        }
    }
    let last = &segments[last];
    match (torn, last.zeros_from) {
        (Some(bad), _) => LogEnd::Torn(bad.at),
        (None, Some(zeros)) => LogEnd::Zeros(zeros),
        (None, None) => LogEnd::File(last.segment.end()),
    }
}

fn check_checkpoint(
    store: &OfflineStore,
    end: u64,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let Some(checkpoint) = &store.checkpoint else {
        return Ok(());
    };
    let path = store.root.join("checkpoint");
    let mut say =
        |at, problem| findings.add(Finding::new(Part::Checkpoint, path.clone(), at, problem));
    let known = checkpoint.logics_physical_offset;
    if known > end || (known == end && known > 0) {
        let problem = format!("logicsPhysicalOffset is {known}, the log ends at {end}");
        say(40, problem);
    } else if known > 0
        && let Judged::Bad(_) | Judged::Zeros = RecordReader::new(store).read(known)?
    {
        let problem = format!("logicsPhysicalOffset is {known}, where no record begins");
        say(40, problem);
    }
    if let Some(indexed) = checkpoint.indexed.filter(|indexed| *indexed > end) {
        let problem = format!("the mark is at {indexed}, the log ends at {end}");
        say(72, problem);
    }
    for (at, name, time) in [
        (0, "physicMsgTimestamp", checkpoint.physic_timestamp),
        (8, "logicsMsgTimestamp", checkpoint.logics_timestamp),
    ] {
        if time < 0 {
            let problem = format!("{name} is {time}, a time or 0 has to stand there");
            say(at, problem);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn queue_files_that_no_unit_fits_are_found_and_do_not_end_the_check() {
        let root = tempfile::tempdir().unwrap();
        let queue = root.path().join("consumequeue/T/0");
        fs::create_dir_all(&queue).unwrap();
        fs::create_dir(root.path().join("commitlog")).unwrap();
        for base in [0, 30] {
            fs::write(queue.join(format!("{base:020}")), [1; 30]).unwrap();
        }
        let store = OfflineStore::open(root.path(), &[]).unwrap();
        let report = verify(&store, &Options::default(), &Progress::default()).unwrap();
        let problems = report.findings.list.iter().map(|found| &*found.problem);
        let problems: Vec<_> = problems.collect();
        assert_eq!(problems, ["30 bytes long, multiples of 20 are right"]);
    }

    #[test]
    fn file_behind_which_nothing_can_follow_has_no_position() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("commitlog");
        fs::create_dir(&log).unwrap();
        fs::write(log.join(u64::MAX.to_string()), "x").unwrap();
        let store = OfflineStore::open(root.path(), &[]).unwrap();
        assert_eq!(
            store.findings[0].problem,
            "its name is no position of 20 digits"
        );
    }
}
