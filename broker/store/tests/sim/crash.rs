//! Every way to crash in a moment, and what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::clock::{Clock, ManualClock};
use parking_lot::Mutex;
use store::StoreConfig;
use store::sim::{Image, Observer, Op, SimFiles, Step, Unsynced};

use crate::check::{Promise, Store};
use crate::message::{BATCH_TOPIC, Message};
use crate::model::Model;
use crate::recorder::Point;
use crate::rng::Rng;

/// Random choices of what a power cut takes, per moment.
const RANDOM_CUTS: u64 = 3;
/// How often recovery is crashed in a row.
const CRASHES_IN_RECOVERY: u32 = 3;

/// Crashes, and how many there were.
pub struct Crashes {
    pub config: StoreConfig,
    pub clock: Arc<ManualClock>,
    pub states: u64,
    /// Not every single thing is lost once at every moment: more moments for as many states.
    pub fleeting: bool,
}

/// What is left of everything that was not synced.
#[derive(Clone)]
enum Cut {
    /// The process was killed: everything, still not synced.
    Kill,
    /// Of each thing a version.
    Power(Vec<(Unsynced, usize)>),
}

impl Cut {
    fn after(&self, image: &Image) -> Arc<SimFiles> {
        match self {
            Self::Kill => image.after_kill(),
            Self::Power(kept) => {
                let mut kept = kept.iter();
                image.after_power_cut(|item| {
                    let mut found = kept.by_ref().skip_while(|(other, _)| *other != item);
                    found.next().map_or(0, |(_, version)| *version)
                })
            }
        }
    }

    fn describe(&self, image: &Image) -> String {
        let Self::Power(kept) = self else {
            return "kill".into();
        };
        let lost: Vec<_> = kept
            .iter()
            .filter(|(item, version)| *version < item.versions)
            .map(|(item, version)| match item.versions {
                1 => image.describe(item),
                all => format!(
                    "{} (version {version} of {all} is left)",
                    image.describe(item)
                ),
            })
            .collect();
        match lost.len() {
            0 => "power cut that loses nothing".into(),
            all if all == kept.len() => {
                format!("power cut that loses everything: {}", lost.join(", "))
            }
            _ => format!("power cut that loses {}", lost.join(", ")),
        }
    }
}

/// The disk before each step of a recovery.
#[derive(Default)]
struct Steps {
    files: Mutex<Option<Arc<SimFiles>>>,
    seen: Mutex<Vec<(Op, Image)>>,
}

impl Observer for Steps {
    fn before(&self, op: &Op) {
        if let Some(files) = &*self.files.lock() {
            self.seen.lock().push((op.clone(), files.image()));
        }
    }

    fn after(&self, _: &Op) {}
}

fn random_cut(items: &[Unsynced], rng: &mut Rng) -> Cut {
    let keep = *rng.pick(&[10, 50, 90]);
    let choose = |item: &Unsynced| {
        let newest = rng.below(100) < keep;
        let version = if newest {
            item.versions
        } else {
            rng.index(item.versions)
        };
        (*item, version)
    };
    Cut::Power(items.iter().map(choose).collect())
}

impl Crashes {
    /// Crashes in every way there is at a moment of a run.
    pub fn at(&mut self, point: &Point, model: &Model, rng: &mut Rng) -> Result<(), String> {
        // What a failed sync has left, only a new start of the machine brings to light.
        if !point.image.is_deceptive() {
            self.one(
                &point.image,
                &Cut::Kill,
                model,
                &point.promise,
                rng,
                CRASHES_IN_RECOVERY,
            )?;
        }
        let items = point.image.unsynced();
        let all = |version: usize| items.iter().map(|item| (*item, version)).collect();
        let mut cuts = vec![Cut::Power(all(0))];
        let singles = if self.fleeting { 0 } else { items.len() };
        for lost in 0..singles {
            let newest = |(at, item): (usize, &Unsynced)| {
                (*item, if at == lost { 0 } else { item.versions })
            };
            cuts.push(Cut::Power(items.iter().enumerate().map(newest).collect()));
        }
        if items.len() > 1 {
            cuts.extend((0..RANDOM_CUTS).map(|_| random_cut(&items, rng)));
        }
        for cut in &cuts {
            self.one(
                &point.image,
                cut,
                model,
                &point.promise,
                rng,
                CRASHES_IN_RECOVERY,
            )?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        image: &Image,
        cut: &Cut,
        model: &Model,
        promise: &Promise,
        rng: &mut Rng,
        depth: u32,
    ) -> Result<(), String> {
        let files = cut.after(image);
        let left = match cut {
            Cut::Kill => promise.clone(),
            Cut::Power(_) => promise.after_power_cut(),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.examine(&files, model, &left, rng, depth)
        }));
        let problem = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(problem)) => problem,
            Err(panic) => format!("panic: {}", panic_text(&*panic)),
        };
        Err(format!("{}\n  {problem}", cut.describe(image)))
    }

    /// Recovers, and looks at what comes of it.
    fn examine(
        &mut self,
        files: &Arc<SimFiles>,
        model: &Model,
        promise: &Promise,
        rng: &mut Rng,
        depth: u32,
    ) -> Result<(), String> {
        self.states += 1;
        let again = depth > 0
            && rng.one_in(if depth == CRASHES_IN_RECOVERY {
                40
            } else {
                100
            });
        let steps = Arc::new(Steps::default());
        if again {
            *steps.files.lock() = Some(Arc::clone(files));
            files.observe(Some(Arc::clone(&steps) as _));
        }
        let before = files.after_kill();
        let store = Store::open(&self.config, files, &self.clock)?;
        files.observe(None);
        *steps.files.lock() = None;
        let found = store.verify(files, model, promise)?;
        let seen = std::mem::take(&mut *steps.seen.lock());
        for (op, image) in &seen {
            let items = image.unsynced();
            let none = items.iter().map(|item| (*item, 0)).collect();
            let cuts = [Cut::Kill, Cut::Power(none), random_cut(&items, rng)];
            for cut in &cuts {
                self.one(image, cut, model, promise, rng, depth - 1)
                    .map_err(|problem| format!("and in recovery, before {op}: {problem}"))?;
            }
        }
        let mut model = model.clone();
        model.settle(found);
        match rng.below(8) {
            0 => self.nothing_is_unsafe(&before, files, &model),
            1 if model.deleting.is_none() => self.second_recovery_changes_nothing(files, &model),
            2..4 => self.life_goes_on(&store, files, model, rng),
            _ => Ok(()),
        }
    }

    /// What a recovered store shows, no later power cut takes.
    fn nothing_is_unsafe(
        &mut self,
        before: &SimFiles,
        files: &Arc<SimFiles>,
        model: &Model,
    ) -> Result<(), String> {
        let left = files.image().after_power_cut(|_| 0);
        what_was_cut_is_kept(&self.config.commit_log, before, &left, model)?;
        self.states += 1;
        let store = Store::open(&self.config, &left, &self.clock)?;
        let promise = Promise::flushed(model.tail());
        store
            .verify(&left, model, &promise)
            .map(|_| ())
            .map_err(|problem| format!("and after recovery everything lost again: {problem}"))
    }

    fn second_recovery_changes_nothing(
        &mut self,
        files: &Arc<SimFiles>,
        model: &Model,
    ) -> Result<(), String> {
        let second = files.after_kill();
        self.states += 1;
        let store = Store::open(&self.config, &second, &self.clock)?;
        let promise = Promise::flushed(model.tail());
        store
            .verify(&second, model, &promise)
            .map_err(|problem| format!("and a second recovery: {problem}"))?;
        let (before, after) = (files.paths(), second.paths());
        if before != after {
            return Err(format!(
                "a second recovery makes {after:?} of the files {before:?}"
            ));
        }
        for path in before {
            if files.bytes(&path) != second.bytes(&path) {
                return Err(format!("a second recovery changes {}", path.display()));
            }
        }
        Ok(())
    }

    /// What was lost is sent again, and more; then the next crash comes.
    fn life_goes_on(
        &mut self,
        store: &Store,
        files: &Arc<SimFiles>,
        mut model: Model,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let mut messages: Vec<Arc<Message>> = std::mem::take(&mut model.lost);
        messages.truncate(rng.index(4));
        // Sometimes so many that a queue's file is filled.
        let (more, bytes) = *rng.pick(&[(1, 0), (9, 0), (9, 700)]);
        for number in 0..=rng.below(more) {
            let topic = *rng.pick(&["T", "T", BATCH_TOPIC]);
            messages.push(Arc::new(Message::new(rng, topic, number, bytes)));
        }
        messages.retain(|message| {
            let mut topics = [&message.queue.0].into_iter().chain(&message.light);
            topics.all(|topic| model.deleting.as_ref() != Some(topic))
        });
        let foreseen = model.append(&messages, false, self.clock.now().0);
        store
            .append(&messages, false, &foreseen)
            .map_err(|problem| format!("and after recovery: {problem}"))?;
        let step = *rng.pick(&[Step::Flush, Step::WriteOut, Step::SyncIndexes]);
        for step in [step, Step::Flush] {
            store
                .tasks
                .step(step)
                .map_err(|error| format!("{step:?}: {error}"))?;
        }
        let promise = Promise::flushed(model.tail());
        let left = if rng.one_in(3) {
            files.after_kill()
        } else {
            let image = files.image();
            random_cut(&image.unsynced(), rng).after(&image)
        };
        self.states += 1;
        let next = Store::open(&self.config, &left, &self.clock)
            .map_err(|problem| format!("and in the next life: {problem}"))?;
        next.verify(&left, &model, &promise)
            .map(|_| ())
            .map_err(|problem| format!("and in the next life: {problem}"))
    }
}

pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "of another kind".into())
}

/// Whatever stood behind the end of the log lies beside it now.
fn what_was_cut_is_kept(
    directory: &Path,
    before: &SimFiles,
    after: &SimFiles,
    model: &Model,
) -> Result<(), String> {
    for path in before.paths() {
        let Some(base) = segment_base(directory, &path) else {
            continue;
        };
        let bytes = before.bytes(&path).unwrap_or_default();
        let end = model.tail().clamp(base, base + bytes.len() as u64);
        let mut cut = &bytes[(end - base) as usize..];
        while let [rest @ .., 0] = cut {
            cut = rest;
        }
        let prefix = format!("{}/cut/{end:020}-", directory.display());
        let mut kept = after.paths().into_iter();
        let is_copy = |kept: &PathBuf| {
            let name = kept.to_string_lossy();
            let is_it = name.starts_with(&prefix) && !name.ends_with("tmp");
            is_it && after.bytes(kept).is_some_and(|kept| kept.starts_with(cut))
        };
        if !cut.is_empty() && !kept.any(|kept| is_copy(&kept)) {
            return Err(format!(
                "{} bytes from {end} on were cut and are not kept",
                cut.len()
            ));
        }
    }
    Ok(())
}

fn segment_base(directory: &Path, path: &Path) -> Option<u64> {
    let name = path.strip_prefix(directory).ok()?;
    name.to_str()?.parse().ok()
}
