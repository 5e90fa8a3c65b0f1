//! `mqadmin store rebuild`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Result, bail};
use common::clock::SystemClock;
use common::message::record::RecordView;
use common::message::sys_flag;
use store::offline::{
    Checks, DERIVED, Item, Locked, OfflineQueue, OfflineStore, Part, Problem, Progress, walk,
};
use store::{DelayLevels, StoreConfig, StoreError};

use super::{Place, known_topics};
use crate::terminal::{Code, Usage, finish, out, waiting, watched};
use crate::text;

/// What a broker makes when nothing else is set: 300,000 units.
const QUEUE_FILE_BYTES: u64 = 6_000_000;

/// Deletes ConsumeQueues and key index and makes them anew from the log. The store must not be open.
/// Before anything is deleted the log is read; when it is damaged, or could not give back what is
/// there now, nothing is changed. Interrupted later, the next start of a broker does the rest.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 the log does not allow it, 2 wrong arguments, 3 the store is open, or cannot be read or written, 130 Ctrl-C before anything was changed."
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// The broker's messageDelayLevel, if it is not the usual one: units of delayed messages say
    /// when those are due.
    #[arg(long, value_name = "LEVELS", value_parser = parse_levels)]
    delay_levels: Option<DelayLevels>,
    /// Slots of the key index's files (maxHashSlotNum), if maxIndexNum is not four times as many.
    #[arg(long, value_name = "N")]
    index_slots: Option<u32>,
}

fn parse_levels(text: &str) -> Result<DelayLevels, String> {
    DelayLevels::parse(text).ok_or_else(|| {
        format!("{text:?}: whole numbers with s, m, h or d, as in \"1s 30s 5m 2h\", are right")
    })
}

/// What the log says of the queues.
#[derive(Default)]
struct Survey {
    /// By topic and queue.
    queues: BTreeMap<(String, i32), Found>,
    /// Where it ends, if that is not the end of its last file.
    stop: Option<(u64, Problem)>,
    /// Good records behind that.
    goes_on: bool,
}

struct Found {
    messages: u64,
    next: i64,
    /// Here its offsets began again.
    again: Option<u64>,
}

impl Survey {
    fn see(&mut self, item: &Item<'_>) {
        match item {
            Item::Record(at, record, _) => {
                self.goes_on |= self.stop.is_some();
                self.count(*at, record);
            }
            Item::Bad { at, problem, next } => {
                self.goes_on |= next.is_some();
                self.stop.get_or_insert((*at, *problem));
            }
            Item::End(at) => {
                self.stop.get_or_insert((*at, Problem::Hole));
            }
            Item::Blank(_) => {}
        }
    }

    fn count(&mut self, at: u64, record: &RecordView<'_>) {
        if !sys_flag::is_queued(record.sys_flag) {
            return;
        }
        let key = (record.topic_text().into_owned(), record.queue_id);
        let found = self.queues.entry(key).or_insert(Found {
            messages: 0,
            next: record.queue_offset,
            again: None,
        });
        if record.queue_offset < found.next {
            found.again = Some(at);
        }
        found.messages += 1;
        found.next = record.queue_offset.saturating_add(1);
    }
}

fn survey(store: &OfflineStore, progress: &Progress) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    for segment in &store.segments {
        let checks = Checks {
            crc: true,
            live: false,
        };
        let _ = walk(segment, segment.base, checks, progress, |item| {
            survey.see(&item);
            ControlFlow::Continue(())
        })?;
    }
    Ok(survey)
}

pub fn run(args: &Args) -> Result<Code> {
    let store = args.place.open()?;
    if store.state.live && !args.dry_run {
        let path = store.root.clone();
        return Err(StoreError::Locked { path }).map_err(|error| {
            anyhow::Error::from(error).context(format!(
                "the store is {}: stop its broker first",
                super::state(&store)
            ))
        });
    }
    let locked = if args.dry_run {
        None
    } else {
        Some(Locked::take(&store.root)?)
    };
    let store = match &locked {
        Some(locked) => locked.look(&args.place.commitlog)?,
        None => store,
    };
    let config = config(args, &store)?;
    let bytes = store.segments.iter().map(|segment| segment.bytes).sum();
    let (survey, stopped) = watched(bytes, |progress| {
        let survey = survey(&store, progress)?;
        Ok::<_, StoreError>((survey, progress.is_stopped()))
    })??;
    if stopped {
        eprintln!("mqadmin: stopped, nothing was changed");
        return Ok(Code::Interrupted);
    }
    if let Some(problem) = forbids(&store, &survey) {
        eprintln!("mqadmin: {problem}; nothing was changed");
        return Ok(Code::Bad);
    }
    let known = known_topics(&store.root);
    let is_deleted = |topic: &str| known.as_ref().is_some_and(|known| !known.contains(topic));
    let mut out = out();
    let Some(locked) = locked else {
        let there = DERIVED.iter().filter(|name| store.root.join(name).exists());
        let there: Vec<_> = there
            .map(|name| store.root.join(name).display().to_string())
            .collect();
        writeln!(
            out,
            "would delete {}",
            if there.is_empty() {
                "nothing".to_owned()
            } else {
                there.join(", ")
            }
        )?;
        let kept = survey
            .queues
            .iter()
            .filter(|((topic, _), _)| !is_deleted(topic));
        let (queues, messages) = kept.fold((0, 0), |(queues, messages), (_, found)| {
            (queues + 1, messages + found.messages)
        });
        writeln!(
            out,
            "would make {} queues with {} messages",
            text::count(queues),
            text::count(messages)
        )?;
        return finish(out, Code::Good);
    };
    let progress = Arc::clone(&config.progress);
    let clock = Arc::new(SystemClock::new());
    let rebuilt = waiting(
        || progress.text(),
        || locked.rebuild(config, clock, is_deleted),
    )??;
    writeln!(
        out,
        "made {} queues with {} messages from {} bytes of the log",
        text::count(rebuilt.queues as u64),
        text::count(rebuilt.messages),
        text::count(rebuilt.end - store.log_start()),
    )?;
    if let Some(cut) = rebuilt.cut {
        writeln!(
            out,
            "{} bytes behind the end of the log now lie in {}",
            cut.bytes,
            cut.kept_in.display()
        )?;
    }
    finish(out, Code::Good)
}

/// Why the log cannot give back what is there now.
fn forbids(store: &OfflineStore, survey: &Survey) -> Option<String> {
    if let Some((at, problem)) = survey.stop.filter(|_| survey.goes_on) {
        return Some(format!(
            "the log is damaged at offset {at} ({problem}), and a store that makes its queues anew ends there; `mqadmin store verify` tells more"
        ));
    }
    let again = survey
        .queues
        .iter()
        .find_map(|((topic, id), found)| Some((topic, id, found.again?)));
    if let Some((topic, id, at)) = again {
        return Some(format!(
            "queue {id} of {topic} begins anew at offset {at} of the log: the topic was deleted and made again, and the log does not say which of its messages are gone"
        ));
    }
    let unread = store.unread.first()?;
    Some(format!(
        "there is {unread}, which is not made from the log here"
    ))
}

/// Sizes come from the files that are there.
fn config(args: &Args, store: &OfflineStore) -> Result<StoreConfig> {
    let [commit_log] = &store.commit_logs[..] else {
        bail!(Usage(
            "a log in several directories cannot be opened here".to_owned()
        ));
    };
    let in_log = store
        .findings
        .iter()
        .find(|finding| finding.part == Part::File && finding.path.starts_with(commit_log));
    if let Some(finding) = in_log {
        bail!(
            "{}: {}; nothing was changed",
            finding.path.display(),
            finding.problem
        );
    }
    let Some(first) = store.segments.first() else {
        bail!(
            "there is no log in {}; nothing was changed",
            commit_log.display()
        );
    };
    let queue_file = store
        .queues
        .iter()
        .map(|queue| queue.file_bytes)
        .find(|bytes| *bytes > 0 && bytes % 20 == 0);
    let ext_file = store.queues.iter().find_map(OfflineQueue::ext_file_bytes);
    let usual = StoreConfig::new(&store.root);
    let (index_slots, index_entries) = match store.index_shape(args.index_slots) {
        Some(shape) => shape,
        None if store.indexes.is_empty() => (usual.index_slots, usual.index_entries),
        None => bail!(Usage("nobody can tell how many slots the files of the key index have; name the number with --index-slots".to_owned())),
    };
    Ok(StoreConfig {
        index_slots,
        index_entries,
        consume_queue_ext: ext_file.is_some(),
        consume_queue_ext_file_bytes: ext_file.unwrap_or(usual.consume_queue_ext_file_bytes),
        commit_log: commit_log.clone(),
        segment_bytes: first.bytes,
        consume_queue_file_bytes: queue_file.unwrap_or(QUEUE_FILE_BYTES),
        delay_levels: args.delay_levels.clone().unwrap_or_default(),
        ..usual
    })
}
