//! `END_TRANSACTION`: ends join the turn's batch as sends do, the messages that are committed first and behind them one
//! record that names every half that is over.

use super::detour::Destination;
use super::reply::{Answer, NO_REMARK, Pending, ended};
use super::{SendHandler, SendSession, properties, sys_flag};
use crate::topic::MessageType;
use crate::transaction::{HalfMessage, Outcome};
use common::message::record::{RecordParts, RecordView};
use common::transport::{Connection, Replies};
use common::wire::{Command, Fields, Reply, ReplyTo, response_code};
use std::sync::Arc;

/// What `END_TRANSACTION` says, as far as it is looked at.
struct Asked {
    outcome: Outcome,
    group: Option<String>,
    half_offset: i64,
    position: i64,
    /// It answers a check.
    checked: bool,
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
            group: fields.get("producerGroup").map(str::to_owned),
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
        let to = command.reply_to();
        let asked = match Asked::read(&command.fields) {
            Ok(None) => return,
            Ok(Some(asked)) => asked,
            Err(refusal) => return replies.push(to, refusal),
        };
        let position = asked.position;
        let request = move |this: &Self, session: &mut SendSession| this.end(session, to, &asked);
        self.take_record(session, (connection, to), position, replies, request);
    }

    fn end(
        &self,
        session: &mut SendSession,
        to: ReplyTo,
        asked: &Asked,
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
        if half.group.is_none() || half.group != asked.group.as_deref() {
            return Err(wrong("The producer group wrong"));
        }
        if half.record.queue_offset != asked.half_offset {
            return Err(wrong("The transaction state table offset wrong"));
        }
        if !session.endings.claim(half.first) {
            // It is over, or will be in a moment: a repeated answer changes nothing.
            return Ok(Some(ended(asked.outcome)));
        }
        let answer = (to, Answer::Ended(asked.outcome));
        if asked.outcome == Outcome::Committed {
            self.push_committed(session, &half, answer)?;
        } else {
            // It is stored with the record that names it.
            let kind = (MessageType::Transaction, None);
            session.pending.push(Pending::new(answer, kind, 0, 0..0));
        }
        Ok(None)
    }

    /// Adds the message of a half as its consumers see it; one that is to be delayed is delayed from now on.
    fn push_committed(
        &self,
        session: &mut SendSession,
        half: &HalfMessage<'_>,
        answer: (ReplyTo, Answer),
    ) -> Result<(), Reply> {
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
        let first = batch.len();
        batch
            .push(&queue, &parts)
            .map_err(|error| self.refuse_record(&error))?;
        let kind = (MessageType::Transaction, topic);
        let pending = Pending::new(answer, kind, queue.id(), first..batch.len());
        session.pending.push(pending);
        Ok(())
    }

    /// Adds the record that names what is over, if anything is; gives its place.
    pub(super) fn push_op(&self, session: &mut SendSession) -> Option<usize> {
        if session.endings.len() == 0 {
            return None;
        }
        let place = session.batch.len();
        for sent in &mut session.pending {
            if let Answer::Ended(Outcome::RolledBack) = sent.answer {
                sent.records = place..place + 1;
            }
        }
        let pushed = session
            .endings
            .push_op(&mut session.batch, &self.state.writer);
        pushed.unwrap_or_else(|error| {
            tracing::error!(%error, "an op record");
            None
        })
    }

    /// Takes note of what was appended of the turn's ends.
    pub(super) fn finish_ends(session: &mut SendSession, op: Option<usize>) {
        let appended = &session.appended;
        let outcomes = session.pending.iter().filter_map(|sent| match sent.answer {
            Answer::Ended(outcome) => Some(appended.get(sent.records.clone()).map(|_| outcome)),
            _ => None,
        });
        let op = op.and_then(|place| appended.get(place));
        session.endings.finish(op, outcomes);
    }
}

fn wrong(text: &str) -> Reply {
    Reply::error(response_code::SYSTEM_ERROR, text)
}
