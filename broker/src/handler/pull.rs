//! Pulling: checks, the read, the offsets a pull leaves behind, and the hold at the end of a queue.

mod admit;
mod answer;
mod broadcast;
mod held;

pub use held::HeldPull;

use super::later::fetch;
use crate::client::BroadcastOffsets;
use crate::pull_hold::{Parked, PullHoldService};
use crate::state::State;
use admit::Admitted;
use answer::Answer;
use common::transport::Connection;
use common::wire::header::{PULL_COMMIT_OFFSET, PULL_SUSPEND, PullMessageRequestHeader};
use common::wire::{Command, Reply, ReplyTo, response_code};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Reads of messages that are probably not in memory, at a time; each may wait for the disk on a thread of its own.
/// Further ones are answered by the connection's thread, which slows down those who ask for them.
const MAX_COLD_READS: usize = 64;

/// Longest time a pull is held, whatever it asks for: a connection that is silent for longer is closed as idle.
const MAX_HOLD: Duration = Duration::from_mins(2);

/// The parked pulls of the broker; made before the store is opened, which wakes them.
pub type HeldPulls = Arc<PullHoldService<HeldPull>>;

/// Serves `PULL_MESSAGE` and `LITE_PULL_MESSAGE`.
pub struct PullHandler {
    state: State,
    hold: HeldPulls,
    broadcast: Mutex<BroadcastOffsets>,
    cold_reads: AtomicUsize,
}

/// One pull and where its answer goes.
struct Pull {
    connection: Arc<Connection>,
    to: ReplyTo,
    header: PullMessageRequestHeader,
    lite: bool,
}

impl PullHandler {
    /// A handler that parks pulls in `hold`, which the store wakes.
    pub fn new(state: State, hold: HeldPulls) -> Arc<Self> {
        Arc::new(Self {
            state,
            hold,
            broadcast: Mutex::default(),
            cold_reads: AtomicUsize::new(0),
        })
    }

    /// Serves a pull on the I/O thread of its connection; `None` when it is answered later.
    pub fn handle(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        command: &Command,
        header: PullMessageRequestHeader,
        lite: bool,
    ) -> Option<Reply> {
        let (connection, to) = (Arc::clone(connection), command.reply_to());
        let mut pull = Pull {
            connection,
            to,
            header,
            lite,
        };
        let (admitted, answer) = match self.execute(&pull) {
            Ok(executed) => executed,
            Err(refusal) => return Some(refusal),
        };
        if pull.header.sys_flag & PULL_COMMIT_OFFSET != 0 {
            let (header, offsets) = (&pull.header, &self.state.offsets);
            let offset = header.commit_offset.unwrap_or(0);
            let (group, topic) = (&header.consumer_group, &header.topic);
            offsets.commit(group, topic, header.queue_id, offset);
        }
        if answer.code == response_code::PULL_NOT_FOUND && pull.header.sys_flag & PULL_SUSPEND != 0
        {
            pull = self.park(pull, admitted)?;
            return self.again(pull);
        }
        self.reply(pull, &admitted, answer)
    }

    /// The second and last execution of a pull: no hold, no commit. `None` when it is answered later.
    fn again(self: &Arc<Self>, pull: Pull) -> Option<Reply> {
        match self.execute(&pull) {
            Ok((admitted, answer)) => self.reply(pull, &admitted, answer),
            Err(refusal) => Some(refusal),
        }
    }

    /// The checks, the read, and what they leave behind.
    fn execute(&self, pull: &Pull) -> Result<(Admitted, Answer), Reply> {
        let admitted = self.admit(pull)?;
        let answer = self.read(pull, &admitted);
        self.record_broadcast(pull, &admitted, &answer);
        let header = &pull.header;
        let (group, topic) = (&header.consumer_group, &header.topic);
        let offsets = &self.state.offsets;
        offsets.pulled(group, topic, header.queue_id, answer.next);
        Ok((admitted, answer))
    }

    /// What the request gets: a pending reset, an offset handed over, or what the queue holds.
    fn read(&self, pull: &Pull, admitted: &Admitted) -> Answer {
        let header = &pull.header;
        let (topic, queue_id) = (header.topic.as_str(), admitted.queue_id);
        let reset_here = self.state.settings.now().use_server_side_reset_offset;
        let reset = reset_here.then(|| {
            self.state
                .offsets
                .take_reset(&header.consumer_group, topic, header.queue_id)
        });
        let moved = reset.flatten().or_else(|| self.handed_over(pull, admitted));
        if let Some(next) = moved {
            let min = self.state.reader.min_offset(topic, queue_id);
            return Answer::reset(next, min, self.state.reader.max_offset(topic, queue_id));
        }
        Answer::read(
            &self.state.reader,
            header,
            queue_id,
            admitted.wanted.filter(),
        )
    }

    /// Parks a pull; gives it back when it has to be answered now.
    fn park(self: &Arc<Self>, pull: Pull, admitted: Admitted) -> Option<Pull> {
        let asked = pull.header.suspend_timeout_millis.unwrap_or(0);
        let settings = self.state.settings.now();
        let wait = if settings.long_polling_enable {
            Duration::from_millis(u64::try_from(asked).unwrap_or(0)).min(MAX_HOLD)
        } else {
            Duration::from_millis(settings.short_polling_time_mills)
        };
        let queue = self
            .state
            .writer
            .queue(&pull.header.topic, admitted.queue_id);
        let parked = Parked {
            connection: pull.connection.id(),
            offset: u64::try_from(pull.header.queue_offset).unwrap_or(0),
            filter: admitted.wanted.into_filter(),
            deadline: self.hold.now() + wait,
            pull: HeldPull::new(Arc::clone(self), pull),
        };
        self.hold.park(&queue, parked).map(|held| held.pull)
    }

    /// The reply, unless its messages have to be fetched from the disk first: then it is sent later.
    fn reply(self: &Arc<Self>, pull: Pull, admitted: &Admitted, answer: Answer) -> Option<Reply> {
        match answer.found {
            (0, _) => self.state.metrics.missed(),
            (count, bytes) => {
                let (group, topic) = (&pull.header.consumer_group, &pull.header.topic);
                self.state
                    .metrics
                    .delivered(group, topic, count as u64, bytes as u64);
            }
        }
        let cold = answer.cold;
        let reply = answer.into_reply(
            &admitted.topic,
            &admitted.group,
            self.state.settings.now().slave_read_enable,
        );
        if !cold || !self.begin_cold_read() {
            return Some(reply);
        }
        let handler = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            fetch(&reply.body);
            handler.cold_reads.fetch_sub(1, Ordering::Relaxed);
            pull.connection.reply(pull.to, reply);
        });
        None
    }

    /// True when one more cold read may leave the connection's thread.
    fn begin_cold_read(&self) -> bool {
        let began = self.cold_reads.fetch_add(1, Ordering::Relaxed) < MAX_COLD_READS;
        if !began {
            self.cold_reads.fetch_sub(1, Ordering::Relaxed);
        }
        began
    }
}

#[cfg(test)]
mod tests;
