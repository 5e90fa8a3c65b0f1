//! `mqadmin store rebuild`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use common::clock::SystemClock;
use common::message::record::RecordView;
use common::message::{batch, sys_flag};
use common::names;
use store::offline::{
    DERIVED, Item, Locked, OfflineQueue, OfflineStore, Part, Problem, Progress, light_queues, walk,
};
use store::{DelayLevels, QueueKind, StoreConfig, StoreError, TopicSet};

use super::{Place, known_topics};
use crate::terminal::{Code, Out, Usage, waiting, watched};
use crate::text;

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
    /// There are messages in light queues.
    light: bool,
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
            Item::Record(at, record) => {
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
        let (topic, properties) = (record.topic_text(), record.properties_text());
        let messages = batch::inner_messages(record.sys_flag, record.properties);
        self.add(at, (&topic, record.queue_id), record.queue_offset, messages);
        for (queue, offset) in light_queues(&topic, &properties) {
            self.light = true;
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            self.add(at, (queue, 0), offset, 1);
        }
    }

    fn add(&mut self, at: u64, (topic, id): (&str, i32), offset: i64, messages: u32) {
        let found = self.queues.entry((topic.to_owned(), id)).or_insert(Found {
            messages: 0,
            next: offset,
            again: None,
        });
        if offset < found.next {
            found.again = Some(at);
        }
        found.messages += u64::from(messages);
        found.next = offset.saturating_add(messages.into());
    }
}

fn survey(store: &OfflineStore, progress: &Progress) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    for segment in &store.segments {
        let _ = walk(segment, segment.base, store.checks(), progress, |item| {
            survey.see(&item);
            ControlFlow::Continue(())
        })?;
    }
    Ok(survey)
}

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let store = args.place.open()?;
    if store.state.live && !args.dry_run {
        let path = store.root.clone();
        let state = super::state(&store);
        return Err(StoreError::Locked { path })
            .context(format!("the store is {state}: stop its broker first"));
    }
    let taken = (!args.dry_run).then(|| Locked::take(&store.root));
    let locked = taken.transpose()?;
    let store = match &locked {
        Some(locked) => locked.look(&args.place.commitlog)?,
        None => store,
    };
    let mut config = config(args, &store)?;
    let bytes = store.segments.iter().map(|segment| segment.bytes).sum();
    let (mut survey, stopped) = watched(bytes, |progress| {
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
    let is_deleted = |topic: &str| {
        let unknown = known.as_ref().is_some_and(|known| !known.contains(topic));
        unknown && !names::is_light_queue(topic)
    };
    config.light_queues = survey.light;
    let Some(locked) = locked else {
        let paths = DERIVED.iter().map(|name| store.root.join(name));
        let there = paths.filter(|path| path.exists());
        let mut there: Vec<_> = there.map(|path| path.display().to_string()).collect();
        if there.is_empty() {
            there.push("nothing".to_owned());
        }
        writeln!(out, "would delete {}", there.join(", "))?;
        survey.queues.retain(|(topic, _), _| !is_deleted(topic));
        let queues = text::count(survey.queues.len() as u64);
        let messages = text::count(survey.queues.values().map(|found| found.messages).sum());
        writeln!(out, "would make {queues} queues with {messages} messages")?;
        return Ok(Code::Good);
    };
    let progress = Arc::clone(&config.progress);
    let clock = Arc::new(SystemClock::new());
    let rebuilt = waiting(
        || progress.text(),
        || locked.rebuild(config, clock, is_deleted),
    )??;
    let queues = text::count(rebuilt.queues as u64);
    let messages = text::count(rebuilt.messages);
    let bytes = text::count(rebuilt.end - store.log_start());
    writeln!(
        out,
        "made {queues} queues with {messages} messages from {bytes} bytes of the log"
    )?;
    if let Some(cut) = rebuilt.cut {
        let (bytes, kept_in) = (cut.bytes, cut.kept_in.display());
        writeln!(
            out,
            "{bytes} bytes behind the end of the log now lie in {kept_in}"
        )?;
    }
    Ok(Code::Good)
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
    let queue_file = |kind: QueueKind| {
        let unit_bytes = kind.unit_bytes() as u64;
        let mut queues = store.queues.iter().filter(|queue| queue.kind == kind);
        queues.find_map(|queue| {
            Some(queue.file_bytes()).filter(|bytes| *bytes > 0 && bytes.is_multiple_of(unit_bytes))
        })
    };
    let mut batch_topics = super::batch_topics(&store.root);
    let batches = store
        .queues
        .iter()
        .filter(|queue| queue.kind == QueueKind::Batch);
    batch_topics.extend(batches.map(|queue| queue.topic.clone()));
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
        consume_queue_file_bytes: queue_file(QueueKind::Simple)
            .unwrap_or(usual.consume_queue_file_bytes),
        batch_consume_queue_file_bytes: queue_file(QueueKind::Batch)
            .unwrap_or(usual.batch_consume_queue_file_bytes),
        batch_topics: TopicSet::new(move |topic| batch_topics.contains(topic)),
        delay_levels: args.delay_levels.clone().unwrap_or_default(),
        ..usual
    })
}
