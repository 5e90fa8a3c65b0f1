//! `END_TRANSACTION`: ends join the turn's batch as sends do, the messages that are committed first and behind them one
//! record that names every half that is over.

use super::detour::Destination;
use super::{SendHandler, SendSession, properties, sys_flag};
use crate::topic::{MessageType, Topic};
use crate::transaction::{HalfMessage, Outcome};
use common::message::record::{RecordParts, RecordView};
use common::transport::{Connection, Replies};
use common::wire::{Command, Fields, Reply, ReplyTo, response_code};
use std::sync::Arc;
use store::Appended;

/// Remark of answers for which the reference has none.
const NO_REMARK: &str = "not set any response code";

/// The end of a transaction that is in the turn's batch.
pub(super) struct End {
    pub(super) to: ReplyTo,
    /// The committed message's record in the batch, and the topic it is stored in if that is known.
    committed: Option<(usize, Option<Arc<Topic>>)>,
}

/// What `END_TRANSACTION` says, as far as it is looked at, but for the producer's group.
#[derive(Clone, Copy)]
struct Asked {
    outcome: Outcome,
    half_offset: i64,
    position: i64,
    /// It answers a check.
    checked: bool,
}

impl End {
    /// The answer to an end that is stored.
    pub(super) fn reply(&self) -> Reply {
        reply(self.committed.is_some())
    }

    /// What is in the log of it; `has_op`: with the turn's op record.
    fn outcome(&self, appended: &[Appended], has_op: bool) -> Option<Outcome> {
        match &self.committed {
            None => has_op.then_some(Outcome::RolledBack),
            Some((record, topic)) => {
                let stored = appended.get(*record)?;
                if let Some(topic) = topic {
                    let bytes = stored.bytes.into();
                    topic.counters().stored(MessageType::Transaction, 1, bytes);
                }
                Some(Outcome::Committed)
            }
        }
    }
}

impl Asked {
    /// `None` where the producer does not know the outcome.
    fn read(fields: &Fields) -> Result<Option<Self>, Reply> {
        let outcome = match fields.required::<i32>("commitOrRollback")? {
            0 => return Ok(None),
            sys_flag::TRANSACTION_COMMIT => Outcome::Committed,
            sys_flag::TRANSACTION_ROLLBACK => Outcome::RolledBack,
            other => return Err(wrong(&format!("commitOrRollback is {other}"))),
        };
        Ok(Some(Self {
            outcome,
            half_offset: fields.required("tranStateTableOffset")?,
            position: fields.required("commitLogOffset")?,
            checked: fields.optional("fromTransactionCheck")?.unwrap_or(false),
        }))
    }
}

impl SendHandler {
    /// Takes one end of a turn, or answers it at once, or later if its half may have to come from the disk. Where the producer
    /// does not know the outcome there is no answer.
    pub fn end_transaction(
        self: &Arc<Self>,
        session: &mut SendSession,
        connection: &Arc<Connection>,
        command: &Command,
        replies: &mut Replies<'_>,
    ) {
        let (to, group) = (command.reply_to(), command.fields.get("producerGroup"));
        match Asked::read(&command.fields) {
            Ok(None) => {}
            Ok(Some(asked)) if self.is_hot(asked.position) => {
                self.take_end(session, to, (asked, group), replies);
            }
            Ok(Some(asked)) => {
                let group = group.map(str::to_owned);
                self.take_later(connection, to, move |this, session, replies| {
                    this.take_end(session, to, (asked, group.as_deref()), replies);
                });
            }
            Err(refusal) => replies.push(to, refusal),
        }
    }

    fn take_end(
        &self,
        session: &mut SendSession,
        to: ReplyTo,
        asked: (Asked, Option<&str>),
        replies: &mut Replies<'_>,
    ) {
        match session.attempt(|session| self.encode_end(session, to, asked)) {
            Ok(None) => {}
            Ok(Some(reply)) | Err(reply) => replies.push(to, reply),
        }
    }

    fn encode_end(
        &self,
        session: &mut SendSession,
        to: ReplyTo,
        (asked, group): (Asked, Option<&str>),
    ) -> Result<Option<Reply>, Reply> {
        let record = self
            .transactions
            .record_at(asked.position)
            .ok_or_else(|| wrong("Find prepared transaction message failed"))?;
        let view = RecordView::parse(&record);
        let half = view.ok().as_ref().and_then(HalfMessage::of);
        let half = half.ok_or_else(|| wrong("the message is no half message"))?;
        let now = || (self.state.clock.now().0, self.transactions.rules());
        if !asked.checked && half.is_late(now) {
            return Err(Reply::error(response_code::ILLEGAL_OPERATION, NO_REMARK));
        }
        if half.group.is_none() || half.group != group {
            return Err(wrong("The producer group wrong"));
        }
        if half.record.queue_offset != asked.half_offset {
            return Err(wrong("The transaction state table offset wrong"));
        }
        let commits = asked.outcome == Outcome::Committed;
        if !session.endings.claim(half.first) {
            // It is over, or will be in a moment: a repeated answer changes nothing.
            return Ok(Some(reply(commits)));
        }
        let committed = if commits {
            Some(self.push_committed(session, &half)?)
        } else {
            None
        };
        session.ends.push(End { to, committed });
        Ok(None)
    }

    /// Adds the message of a half as its consumers see it; one that is to be delayed is delayed from now on.
    fn push_committed(
        &self,
        session: &mut SendSession,
        half: &HalfMessage<'_>,
    ) -> Result<(usize, Option<Arc<Topic>>), Reply> {
        let SendSession {
            known_topics,
            batch,
            properties: text,
            ..
        } = session;
        let record = &half.record;
        let sys_flag = record.sys_flag & !sys_flag::TRANSACTION_TYPE | sys_flag::TRANSACTION_COMMIT;
        text.clear();
        half.write_real_properties(text);
        let mut detour = None;
        if half.asks_for_a_time {
            let sent = properties::read(half.text, &mut String::new());
            let to = Destination {
                topic: half.topic,
                queue_id: half.queue_id,
                sys_flag,
                unique_key: half.unique_key.unwrap_or(""),
            };
            detour = self.detour(known_topics, &sent, false, to, text)?;
        }
        let (queue, topic) = match detour {
            Some(detour) => (detour.queue, Some(detour.topic)),
            None => match known_topics.known(&self.state.topics, half.topic) {
                Some(route) => (
                    route.queue(&self.state.writer, half.queue_id),
                    Some(Arc::clone(&route.topic)),
                ),
                None => (self.state.writer.queue(half.topic, half.queue_id), None),
            },
        };
        let parts = RecordParts {
            sys_flag,
            prepared_transaction_offset: record.physical_offset,
            ..record.moved_to((queue.topic(), queue.id()), text, self.store_host)
        };
        let place = batch.len();
        batch
            .push(&queue, &parts)
            .map_err(|error| self.refuse_record(&error))?;
        Ok((place, topic))
    }

    /// Adds the record that names what is over, if anything is; gives its place.
    pub(super) fn push_op(&self, session: &mut SendSession) -> Option<usize> {
        if session.ends.is_empty() {
            return None;
        }
        let pushed = session
            .endings
            .push_op(&mut session.batch, &self.state.writer);
        pushed.unwrap_or_else(|error| {
            tracing::error!(%error, "an op record");
            None
        })
    }

    /// Takes note of what was appended of the turn's ends; gives each with whether it is in the log.
    pub(super) fn finish_ends(
        session: &mut SendSession,
        op: Option<usize>,
    ) -> impl Iterator<Item = (End, bool)> {
        let appended = &session.appended;
        let op = op.and_then(|place| appended.get(place));
        let outcomes: Vec<_> = session
            .ends
            .iter()
            .map(|end| end.outcome(appended, op.is_some()))
            .collect();
        session.endings.finish(op, outcomes.iter().copied());
        let stored = outcomes.into_iter().map(|outcome| outcome.is_some());
        session.ends.drain(..).zip(stored)
    }
}

fn reply(committed: bool) -> Reply {
    if committed {
        Reply::ok()
    } else {
        Reply::ok().with_remark(NO_REMARK)
    }
}

fn wrong(text: &str) -> Reply {
    Reply::error(response_code::SYSTEM_ERROR, text)
}
