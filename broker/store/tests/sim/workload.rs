//! A seeded life of a broker's store, crashed at every step of its disk.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, ManualClock, Millis};
use parking_lot::Mutex;
use store::sim::{Failing, Observer as _, Op, SimFiles, Step};
use store::{FlushMode, RetentionConfig, StoreConfig};

use crate::check::Store;
use crate::crash::{Crashes, panic_text};
use crate::message::{Message, deletable, topics};
use crate::model::Model;
use crate::recorder::Shared;
use crate::rng::Rng;

/// Milliseconds since 1970 at which every run begins.
const NOW: i64 = 1_000_000;
/// Actions of one run.
const ACTIONS: u64 = 60;
/// Actions a report names.
const LAST_ACTIONS: usize = 12;

/// What went wrong, and how to see it again.
#[derive(Debug)]
pub struct Violation {
    pub seed: u64,
    /// How many actions were done before.
    pub action: u64,
    /// How many moments were looked at before.
    pub point: u64,
    /// How many states were looked at before.
    pub states: u64,
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            action,
            point,
            problem,
            ..
        } = self;
        writeln!(
            f,
            "violation in the run of seed {seed}, action {action}, point {point}:"
        )?;
        writeln!(f, "{problem}")?;
        write!(f, "again: scripts/sim.sh --seed {seed} --runs 1")
    }
}

pub struct Run {
    seed: u64,
    rng: Rng,
    shared: Arc<Shared>,
    crashes: Crashes,
    clock: Arc<ManualClock>,
    sent: u64,
    points: u64,
    /// An operation has failed: nothing but a crash comes next.
    broken: bool,
    /// What was done, in words.
    history: Vec<String>,
    /// States to be looked at.
    enough: u64,
}

fn config(rng: &mut Rng, mode: FlushMode) -> StoreConfig {
    StoreConfig {
        segment_bytes: *rng.pick(&[2048, 3000, 4096, 8192]),
        // Five units, or more than two sectors.
        consume_queue_file_bytes: *rng.pick(&[100, 100, 1040]),
        batch_consume_queue_file_bytes: *rng.pick(&[230, 230, 1058]),
        light_queues: true,
        // Below the other files, or on a disk of its own.
        commit_log: rng.pick(&["/s/commitlog", "/log"]).into(),
        // Files of the key index are full after a few messages, and keys share slots.
        index_slots: *rng.pick(&[4, 16]),
        index_entries: *rng.pick(&[8, 24, 48]),
        flush_mode: mode,
        retention: RetentionConfig {
            // Every file has expired.
            reserved: Duration::ZERO,
            segment_pause: Duration::ZERO,
            queue_pause: Duration::ZERO,
            batch: 2,
            ..RetentionConfig::default()
        },
        ..StoreConfig::new("/s")
    }
}

/// Runs the life of a seed until `enough` states were looked at; returns how many there were.
pub fn run(seed: u64, enough: u64, fleeting: bool) -> Result<u64, Box<Violation>> {
    let mut run = Run::new(seed, enough, fleeting);
    let mut action = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        run.open()?;
        while action < ACTIONS && run.crashes.states < enough {
            action += 1;
            run.act()?;
        }
        Ok(())
    }));
    run.files().observe(None);
    let problem = match outcome {
        Ok(Ok(())) => return Ok(run.crashes.states),
        Ok(Err(problem)) => problem,
        Err(panic) => format!("panic: {}", panic_text(&*panic)),
    };
    let from = run.history.len().saturating_sub(LAST_ACTIONS);
    let last = run.history[from..].join(", ");
    let problem = format!("{problem}\n  the last actions: {last}");
    Err(Box::new(Violation {
        seed,
        action,
        point: run.points,
        states: run.crashes.states,
        problem,
    }))
}

impl Run {
    fn new(seed: u64, enough: u64, fleeting: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mode = *rng.pick(&[FlushMode::Sync, FlushMode::Async]);
        let config = config(&mut rng, mode);
        let clock = Arc::new(ManualClock::new(Millis(NOW)));
        let shared = Arc::new(Shared {
            mode,
            model: Mutex::new(Model::new(config.segment_bytes)),
            files: Mutex::new(SimFiles::new()),
            store: Mutex::default(),
            points: Mutex::default(),
            closed: Mutex::default(),
            meanwhile: Mutex::default(),
            problem: Mutex::default(),
            clock: Arc::clone(&clock),
        });
        Self {
            seed,
            rng,
            shared,
            crashes: Crashes {
                config,
                clock: Arc::clone(&clock),
                states: 0,
                fleeting,
            },
            clock,
            sent: 0,
            points: 0,
            broken: false,
            history: Vec::new(),
            enough,
        }
    }

    fn files(&self) -> Arc<SimFiles> {
        Arc::clone(&self.shared.files.lock())
    }

    fn store(&self) -> Arc<Store> {
        self.shared.store.lock().clone().unwrap()
    }

    /// Opens the store on what is there, compares it with the model, and goes on from there.
    fn open(&mut self) -> Result<(), String> {
        let files = self.files();
        files.observe(Some(Arc::clone(&self.shared) as _));
        let store = Store::open(&self.crashes.config, &files, &self.clock)?;
        self.crash_at_points()?;
        let promise = self.shared.promise();
        let found = store.verify(&files, &self.shared.model.lock(), &promise)?;
        self.shared.model.lock().settle(found);
        self.history
            .push(format!("opened with {}..{}", found.0, found.1));
        *self.shared.store.lock() = Some(Arc::new(store));
        self.broken = false;
        let deleting = self.shared.model.lock().deleting.clone();
        deleting.map_or(Ok(()), |topic| self.delete(&topic))
    }

    /// Looks at all moments there were since the last call.
    fn crash_at_points(&mut self) -> Result<(), String> {
        let points = std::mem::take(&mut *self.shared.points.lock());
        let model = self.shared.model.lock().clone();
        for point in &points {
            if self.crashes.states >= self.enough {
                break;
            }
            self.points += 1;
            let mut rng = Rng::new(self.seed).derive(self.points);
            self.crashes
                .at(point, &model, &mut rng)
                .map_err(|problem| format!("before {}: {problem}", point.op))?;
        }
        self.shared.problem.lock().take().map_or(Ok(()), Err)
    }

    fn act(&mut self) -> Result<(), String> {
        if self.broken {
            return self.crash();
        }
        match self.rng.below(40) {
            0..16 => self.send()?,
            16..21 => self.work(Step::Flush)?,
            21..24 => self.work(Step::Prepare)?,
            24..27 => self.work(Step::WriteOut)?,
            27..30 => self.work(Step::SyncIndexes)?,
            30 | 31 => self.restart()?,
            32..35 => return self.crash(),
            35 => {
                let topic = deletable(&mut self.rng);
                self.delete(&topic)?;
            }
            36 => self.fill_disk()?,
            38 => self.clean()?,
            37 => self.fail()?,
            _ => self.clock.advance(Duration::from_secs(1)),
        }
        self.crash_at_points()
    }

    fn messages(&mut self) -> Vec<Arc<Message>> {
        let largest = usize::try_from(self.crashes.config.segment_bytes).unwrap() / 2;
        let count = if self.rng.one_in(3) {
            1 + self.rng.below(5)
        } else {
            1
        };
        let mut messages = Vec::new();
        for _ in 0..count {
            self.sent += 1;
            let bytes = if self.rng.one_in(4) {
                largest
            } else {
                largest / 6
            };
            let topics = topics();
            let topic = &topics[self.rng.index(6).saturating_sub(2)];
            messages.push(Arc::new(Message::new(
                &mut self.rng,
                topic,
                self.sent,
                bytes,
            )));
        }
        messages
    }

    fn send(&mut self) -> Result<(), String> {
        let messages = self.messages();
        let group = self.rng.one_in(3);
        let from = self.shared.model.lock().tail();
        self.history
            .push(format!("send {} messages from {from} on", messages.len()));
        let before = self.shared.model.lock().clone();
        let appended = self.shared.append(&messages, group)?;
        if appended == messages.len() {
            return Ok(());
        }
        match self.store().reader.status().refusal {
            // Nothing was written of the rest.
            Some(store::StoreError::DiskFull { .. }) => {
                self.crash_at_points()?;
                let mut model = before;
                let stored = model.append(&messages[..appended], false, self.clock.now().0);
                model.written = stored.last().map_or(model.written, store::Appended::end);
                *self.shared.model.lock() = model;
            }
            // The rest may be on the disk or not.
            _ => self.broken = true,
        }
        Ok(())
    }

    fn work(&mut self, step: Step) -> Result<(), String> {
        let interrupted = step != Step::Prepare && self.rng.one_in(2);
        let mut meanwhile = VecDeque::new();
        if interrupted {
            for message in self.messages() {
                let steps = self.rng.index(4);
                meanwhile.extend(std::iter::repeat_n(None, steps));
                meanwhile.push_back(Some(message));
            }
        }
        self.history.push(format!("{step:?}"));
        *self.shared.meanwhile.lock() = meanwhile;
        let outcome = self.store().tasks.step(step);
        self.shared.meanwhile.lock().clear();
        outcome.map_err(|error| format!("{step:?}: {error:?}"))
    }

    fn delete(&mut self, topic: &str) -> Result<(), String> {
        self.history.push(format!("delete {topic:.9}"));
        self.shared.model.lock().deleting = Some(topic.to_owned());
        let deleted = self.store().writer.delete_topic(topic);
        self.crash_at_points()?;
        deleted.map_err(|error| format!("delete {topic}: {error:?}"))?;
        let mut model = self.shared.model.lock();
        model.deleting = None;
        model.topic_deleted(topic);
        Ok(())
    }

    fn clean(&mut self) -> Result<(), String> {
        self.shared.model.lock().begin_cleaning();
        self.work(Step::Clean)?;
        self.crash_at_points()?;
        let min = self.store().reader.status().min_physical;
        self.shared.model.lock().min = (min, min);
        Ok(())
    }

    /// The disk fails an operation; then the store goes on as far as it does.
    fn fail(&mut self) -> Result<(), String> {
        if self.rng.one_in(2) {
            // Of the log everything is on the disk: it is the indexes that fail.
            self.work(Step::Flush)?;
            self.files().fail(Failing::Sync, self.rng.below(2));
        } else {
            let failing = *self.rng.pick(&[Failing::Write, Failing::Sync]);
            self.files().fail(failing, self.rng.below(3));
            for _ in 0..3 {
                if !self.broken {
                    self.try_anything()?;
                    self.crash_at_points()?;
                }
            }
        }
        // What has failed does not become good by being tried again.
        for step in [Step::SyncIndexes, Step::Flush, Step::SyncIndexes] {
            let _ = self.store().tasks.step(step);
        }
        self.shared.before(&Op::SyncBelow("/".into()));
        self.broken = true;
        Ok(())
    }

    fn fill_disk(&mut self) -> Result<(), String> {
        self.history.push("fill the disk".into());
        let files = self.files();
        files.set_room(self.rng.below(4096));
        for _ in 0..4 {
            self.try_anything()?;
            self.crash_at_points()?;
        }
        files.set_room(u64::MAX);
        self.clock.advance(Duration::from_secs(1));
        Ok(())
    }

    /// Something that may fail, because the disk does.
    fn try_anything(&mut self) -> Result<(), String> {
        self.history.push("try".into());
        let outcome = match self.rng.below(8) {
            0..4 => return self.send(),
            4 => self.store().tasks.step(Step::Flush),
            5 => self.store().tasks.step(Step::Prepare),
            6 => self.store().tasks.step(Step::WriteOut),
            _ => self.store().tasks.step(Step::SyncIndexes),
        };
        // What it means is seen after the next crash.
        let _ = outcome;
        Ok(())
    }

    /// Ends the store in order and opens it again.
    fn restart(&mut self) -> Result<(), String> {
        self.history.push("restart".into());
        *self.shared.closed.lock() = self.shared.promise();
        let Some(store) = self.shared.store.lock().take() else {
            return Ok(());
        };
        let (flushed, written) = (store.writer.flushed(), self.shared.model.lock().written);
        self.shared.model.lock().safe = *flushed.borrow();
        let store = Arc::into_inner(store).ok_or("the store is in use")?;
        let outcome = store.tasks.shutdown();
        self.crash_at_points()?;
        outcome.map_err(|error| format!("shutdown: {error:?}"))?;
        self.shared.model.lock().safe = written;
        self.open()
    }

    /// Dies, and lives on with what is left.
    fn crash(&mut self) -> Result<(), String> {
        self.history.push("crash".into());
        let promise = self.shared.promise();
        let image = self.files().image();
        self.files().observe(None);
        self.shared.store.lock().take();
        let mut model = self.shared.model.lock();
        model.safe = promise.flushed;
        let left = if !image.is_deceptive() && self.rng.one_in(2) {
            image.after_kill()
        } else {
            model.written = promise.flushed;
            let keep = self.rng.below(4);
            image.after_power_cut(|item| {
                if self.rng.below(4) < keep {
                    item.versions
                } else {
                    self.rng.index(item.versions)
                }
            })
        };
        drop(model);
        *self.shared.closed.lock() = promise;
        *self.shared.files.lock() = left;
        self.open()
    }
}
