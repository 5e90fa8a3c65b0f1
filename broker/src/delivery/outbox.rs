//! Appending what is due, with the note that says so.

use super::ledger::Entered;
use super::note::{self, Kind};
use crate::topic::{MessageType, TopicTable};
use common::clock::Clock;
use common::message::record::RecordParts;
use common::names::DELIVERY_NOTE_TOPIC;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Appended, FlushMode, RecordBatch, StoreError, StoreWriter};

/// One origin and what is delivered of it.
pub struct Delivery<'a> {
    /// Where it comes from; what that means depends on the [`Kind`].
    pub origin: u64,
    /// The message; `None` when nothing comes of this origin.
    pub message: Option<RecordParts<'a>>,
}

/// What became of deliveries.
pub struct Delivered<'a> {
    /// So many from the first on are done. An origin without a message is done when all before it are.
    pub done: usize,
    /// Where the messages of those are in the log, in order.
    pub appended: &'a [Appended],
    /// Why the rest is not done; it may be tried again.
    pub error: Option<StoreError>,
}

impl Delivered<'_> {
    /// Messages delivered, and the bytes of their records.
    pub fn sum(&self) -> (u64, u64) {
        let bytes = self.appended.iter().map(|one| u64::from(one.bytes)).sum();
        (self.appended.len() as u64, bytes)
    }
}

/// The way of deliveries into the log. Each thread that delivers has its own.
pub struct Outbox {
    store: StoreWriter,
    topics: TopicTable,
    host: SocketAddr,
    clock: Arc<dyn Clock>,
    batch: RecordBatch,
    appended: Vec<Appended>,
}

impl Outbox {
    /// An outbox of a broker that stores as `host`.
    pub fn new(
        store: StoreWriter,
        topics: TopicTable,
        host: SocketAddr,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            batch: store.batch(),
            appended: Vec::new(),
            store,
            topics,
            host,
            clock,
        }
    }

    /// Appends a note and its messages under one lock. The guard must be held until the caller's own state knows what is
    /// done. A message that the log can never take is left out with a line in the broker's log.
    pub fn deliver(
        &mut self,
        _entered: &Entered<'_>,
        kind: Kind,
        deliveries: &[Delivery<'_>],
    ) -> Delivered<'_> {
        self.appended.clear();
        self.batch.clear();
        let messages: Vec<_> = deliveries.iter().map(|one| self.fit(one)).collect();
        let error = self.append(kind, deliveries, &messages).err();
        let appended = self.appended.get(1..);
        let mut left = appended.map_or(0, <[_]>::len);
        let stored = |message: &Option<_>| {
            let here = message.is_none() || left > 0;
            left -= usize::from(message.is_some() && here);
            here
        };
        // Without the note nothing is done.
        let noted = appended.map_or(&[][..], |_| &messages);
        let done = noted.iter().map(stored).take_while(|here| *here).count();
        let appended = appended.unwrap_or_default();
        for (message, stored) in messages.iter().flatten().zip(appended) {
            self.count(message, stored);
        }
        if self.store.flush_mode() == FlushMode::Sync {
            self.store.ask_for_flush();
        }
        Delivered {
            done,
            appended,
            error,
        }
    }

    fn fit<'a>(&self, delivery: &Delivery<'a>) -> Option<RecordParts<'a>> {
        let message = delivery.message?;
        if let Err(error) = self.store.check(&message) {
            let (topic, origin) = (message.topic, delivery.origin);
            tracing::error!(topic, origin, %error, "a message that is due cannot be stored; it is left out");
            return None;
        }
        Some(message)
    }

    fn append(
        &mut self,
        kind: Kind,
        deliveries: &[Delivery<'_>],
        messages: &[Option<RecordParts<'_>>],
    ) -> Result<(), StoreError> {
        let fingerprint = |message: &RecordParts<'_>| {
            let (topic, text) = (message.topic.as_bytes(), message.properties.as_bytes());
            note::fingerprint(topic, message.queue_id, message.body, text)
        };
        let entries: Vec<_> = deliveries
            .iter()
            .zip(messages)
            .map(|(delivery, message)| (delivery.origin, message.as_ref().map(fingerprint)))
            .collect();
        let (queue, body) = ((DELIVERY_NOTE_TOPIC, 0), note::encode(kind, &entries));
        let note = RecordParts {
            sys_flag: note::SYS_FLAG,
            ..RecordParts::of_broker(self.host, self.clock.now().0, queue, &body, "")
        };
        self.batch.begin_group();
        for parts in std::iter::once(&note).chain(messages.iter().flatten()) {
            let queue = self.store.queue(parts.topic, parts.queue_id);
            self.batch.push(&queue, parts)?;
        }
        self.batch.end_group();
        self.store.append_batch(&mut self.batch, &mut self.appended)
    }

    /// As senders' messages are counted. Whatever else it is, what comes here was delayed.
    fn count(&self, message: &RecordParts<'_>, stored: &Appended) {
        if let Some(topic) = self.topics.get(message.topic) {
            let counters = topic.counters();
            counters.stored(MessageType::Delay, 1, stored.bytes.into());
        }
    }
}
