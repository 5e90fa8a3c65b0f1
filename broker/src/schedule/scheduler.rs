//! The thread `schedule`: delivers what is due, of every level in turn.

use super::message::Waiting;
use super::offsets::DelayOffsets;
use crate::delivery::{Delivery, Kind, Ledger, Outbox};
use crate::metrics::Metrics;
use crate::thread::Steps;
use bytes::Bytes;
use common::clock::Clock;
use common::ids::PhysicalOffset;
use common::names::{SCHEDULE_GROUP, SCHEDULE_TOPIC};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{DelayLevels, StoreReader, Unit};

/// One batch of a level; then the others have their turn.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: u64 = 1 << 20;
/// Pause when the log takes nothing.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Longest and shortest time until queues are looked at for messages that came meanwhile: each of those waits at least for the
/// shortest delay there is.
const LOOK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(20));

/// What the scheduler works with.
pub struct SchedulerParts {
    /// The delays.
    pub levels: DelayLevels,
    /// How far each level is.
    pub offsets: DelayOffsets,
    /// Where messages wait.
    pub reader: StoreReader,
    /// Their way out.
    pub outbox: Outbox,
    /// What is delivered is accounted for there.
    pub ledger: Ledger,
    /// Counts what is delivered.
    pub metrics: Metrics,
    /// Says what is due.
    pub clock: Arc<dyn Clock>,
}

/// Starts to deliver.
///
/// # Errors
/// There is no thread.
pub fn start(parts: SchedulerParts) -> std::io::Result<Steps> {
    let mut worker = Worker::new(parts);
    Steps::start("schedule", Arc::default(), move || worker.round())
}

pub(super) struct Worker {
    parts: SchedulerParts,
    /// Queues that may hold messages, also of levels that are no more.
    queues: u32,
    look: Duration,
    /// Heads that would be due later than their level allows because the clock was set back: the offset, and when it is due all
    /// the same in monotonic time.
    late: BTreeMap<u32, (u64, Duration)>,
    failing: bool,
}

/// What a queue's turn has led to.
pub(super) enum Turn {
    /// There may be more that is due.
    More,
    /// Nothing is due before this time has passed.
    Wait(Duration),
    /// The log takes nothing.
    Failed,
}

impl Worker {
    pub(super) fn new(parts: SchedulerParts) -> Self {
        let highest = parts.levels.highest();
        let queues = parts.reader.queues();
        let waiting = queues
            .iter()
            .filter(|queue| queue.topic() == SCHEDULE_TOPIC)
            .map(|queue| queue.id().saturating_add(1));
        let queues = waiting.chain([u32::try_from(highest).unwrap_or(0)]).max();
        parts.offsets.correct(queues.unwrap_or(0), |level| {
            let queue_id = u32::try_from(level).ok()?.checked_sub(1)?;
            let queue = parts.reader.queue(SCHEDULE_TOPIC, queue_id)?;
            Some(queue.min_offset()..=queue.max_offset().max(queue.min_offset()))
        });
        let delays = (1..=highest).map(|level| parts.levels.delay_ms(level));
        let shortest = u64::try_from(delays.min().unwrap_or(0)).unwrap_or(0);
        Self {
            queues: queues.unwrap_or(0),
            look: Duration::from_millis(shortest / 2).clamp(LOOK.1, LOOK.0),
            late: BTreeMap::new(),
            failing: false,
            parts,
        }
    }

    /// Gives every level its turn; how long to wait for the next round.
    fn round(&mut self) -> Duration {
        let mut pause = self.look;
        for queue_id in 0..self.queues {
            match self.serve(queue_id) {
                Turn::More => pause = Duration::ZERO,
                Turn::Wait(time) => pause = pause.min(time),
                Turn::Failed => return AFTER_FAILURE,
            }
        }
        pause
    }

    /// Delivers one batch of a level.
    pub(super) fn serve(&mut self, queue_id: u32) -> Turn {
        let nothing = Turn::Wait(self.look);
        let parts = &self.parts;
        let Ok(level) = i32::try_from(queue_id + 1) else {
            return nothing;
        };
        let Some(queue) = parts.reader.queue(SCHEDULE_TOPIC, queue_id) else {
            return nothing;
        };
        // What retention has deleted is gone.
        let next = parts.offsets.next(level).max(queue.min_offset());
        let units = match parts.reader.units(&queue, next, BATCH_MESSAGES) {
            Ok(units) => units,
            Err(error) => {
                tracing::warn!(level, %error, "the queue of a delay level cannot be read");
                return Turn::Wait(AFTER_FAILURE);
            }
        };
        let mut due = Vec::with_capacity(units.len());
        if units.is_empty() && next < queue.max_offset() {
            // A hole: as little can be said about it as about a message that cannot be read.
            due.push((next, None));
        }
        let (mut bytes, mut wait) = (0, None);
        for (offset, unit) in (next..).zip(&units) {
            let left = self.time_left(queue_id, level, offset, unit);
            if !left.is_zero() {
                wait = Some(left);
                break;
            }
            bytes += u64::from(unit.bytes);
            if !due.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            let at = PhysicalOffset(unit.physical_offset);
            let there = !unit.is_blank();
            due.push((
                offset,
                there.then(|| self.parts.reader.record_at(at)).flatten(),
            ));
        }
        if due.is_empty() {
            return wait.map_or(nothing, Turn::Wait);
        }
        if !self.deliver(level, &due) {
            return Turn::Failed;
        }
        wait.map_or(Turn::More, Turn::Wait)
    }

    /// How long the message of a unit has to wait; nothing when it is due. Never longer than its level says from the first
    /// look on: the clock may have been set back since it was stored.
    fn time_left(&mut self, queue_id: u32, level: i32, offset: u64, unit: &Unit) -> Duration {
        let parts = &self.parts;
        let (now, delay) = (parts.clock.now().0, parts.levels.delay_ms(level));
        let stored = || {
            let record = parts
                .reader
                .record_at(PhysicalOffset(unit.physical_offset))?;
            Waiting::read(&record).ok().map(|waiting| waiting.stored())
        };
        let mut due = unit.tags_code;
        if due < 0 {
            // No time, but the address of one that is lost.
            due = stored().map_or(now, |stored| stored.saturating_add(delay));
        }
        // Both are cut off to whole milliseconds: of equal ones nobody knows which is the later.
        if due < now {
            return Duration::ZERO;
        }
        let left = millis(due - now + 1);
        if due - now <= delay {
            return left;
        }
        // The level may have been a longer one when the message was stored.
        let asked = stored().map_or(Duration::ZERO, |stored| millis(due - stored));
        if asked >= left {
            return left;
        }
        let monotonic = parts.clock.monotonic();
        let (_, latest) = match self.late.get(&queue_id) {
            Some(late) if late.0 == offset => *late,
            _ => (offset, monotonic + asked),
        };
        self.late.insert(queue_id, (offset, latest));
        latest.saturating_sub(monotonic).min(left)
    }

    /// Appends the messages of a level that are due, by their offsets. False when the log did not take all of them.
    fn deliver(&mut self, level: i32, due: &[(u64, Option<Bytes>)]) -> bool {
        let waiting: Vec<_> = due
            .iter()
            .map(|(offset, record)| {
                let record = record.as_deref().ok_or("it is not in the log".to_owned());
                (*offset, record.and_then(Waiting::read))
            })
            .collect();
        let deliveries: Vec<_> = waiting
            .iter()
            .map(|(offset, waiting)| {
                let message = waiting.as_ref().map_err(String::clone);
                let message = message.and_then(Waiting::restored);
                if let Err(reason) = &message {
                    tracing::warn!(
                        level,
                        offset,
                        reason,
                        "a message that waited is not delivered"
                    );
                }
                Delivery {
                    origin: *offset,
                    message: message.ok(),
                }
            })
            .collect();
        let SchedulerParts {
            ledger,
            outbox,
            offsets,
            metrics,
            ..
        } = &mut self.parts;
        let delivering = ledger.enter();
        let kind = Kind::Level(level.unsigned_abs());
        let delivered = outbox.deliver(&delivering, kind, &deliveries);
        if let Some(last) = deliveries[..delivered.done].last() {
            offsets.advance(level, last.origin + 1, delivered.done);
        }
        drop(delivering);
        let (messages, bytes) = delivered.sum();
        metrics.passed_on(SCHEDULE_GROUP, SCHEDULE_TOPIC, messages, bytes);
        if let Some(error) = &delivered.error
            && !self.failing
        {
            tracing::warn!(level, %error, "messages that are due cannot be stored; trying again until they can");
        }
        self.failing = delivered.error.is_some();
        !self.failing
    }
}

fn millis(time: i64) -> Duration {
    Duration::from_millis(u64::try_from(time).unwrap_or(0))
}
