//! Messages sent one by one at about the same time, gathered into batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::message::properties::{PRODUCER_GROUP, TAGS};
use common::names::is_retry_topic;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{Inner, SendResult};
use crate::error::ClientError;
use crate::{Message, MessageQueue};

/// When messages sent one by one are gathered into batches ([`ProducerBuilder::auto_batch`]): those of one topic with
/// one tag.
///
/// [`ProducerBuilder::auto_batch`]: crate::ProducerBuilder::auto_batch
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoBatch {
    /// Bytes of bodies at which a batch is sent. Larger messages go by themselves. Default 32 KiB.
    pub bytes: usize,
    /// Time after which a batch is sent, however small it is; 1 ms to 30 s. Default 10 ms.
    pub delay: Duration,
    /// Bytes that may wait in all batches together; further messages go by themselves. Default 32 MiB.
    pub total_bytes: usize,
}

impl Default for AutoBatch {
    fn default() -> Self {
        Self {
            bytes: 32 << 10,
            delay: Duration::from_millis(10),
            total_bytes: 32 << 20,
        }
    }
}

/// What the messages of a batch have in common: topic, queue if one was chosen, waiting for the store, tag.
type Key = (String, Option<MessageQueue>, bool, Option<String>);
type Outcome = Result<SendResult, ClientError>;

/// A batch that still takes messages, as long as it is in the table.
#[derive(Default)]
struct Open {
    gathered: Mutex<Vec<(Message, oneshot::Sender<Outcome>)>>,
    bytes: AtomicUsize,
    full: Notify,
}

/// The batches being gathered.
pub(super) struct Accumulator {
    settings: AutoBatch,
    open: Mutex<BTreeMap<Key, Arc<Open>>>,
    waiting_bytes: AtomicUsize,
}

impl Accumulator {
    pub(super) fn new(settings: AutoBatch) -> Self {
        Self {
            settings,
            open: Mutex::default(),
            waiting_bytes: AtomicUsize::new(0),
        }
    }

    fn takes(&self, message: &Message) -> bool {
        let bytes = message.body().len();
        bytes < self.settings.bytes
            && self.waiting_bytes.load(Ordering::Relaxed) + bytes <= self.settings.total_bytes
            && !message.is_delayed()
            && !is_retry_topic(message.topic())
            && message.get(PRODUCER_GROUP).is_none()
    }

    /// Nothing is added to this batch any more.
    fn close(&self, key: &Key, open: &Arc<Open>) {
        let mut table = self.open.lock();
        if table.get(key).is_some_and(|known| Arc::ptr_eq(known, open)) {
            table.remove(key);
        }
    }

    /// Sends what was gathered, now.
    pub(super) fn flush(&self) {
        for open in std::mem::take(&mut *self.open.lock()).into_values() {
            open.full.notify_one();
        }
    }
}

impl Inner {
    /// Sends a message, in a batch with others if it may be in one.
    pub(super) async fn send_gathered(
        self: &Arc<Self>,
        message: Message,
        queue: Option<&MessageQueue>,
    ) -> Outcome {
        let message = match self.gather(message, queue)? {
            Ok(outcome) => return outcome.await.unwrap_or(Err(ClientError::Stopped)),
            Err(message) => message,
        };
        let outgoing = self.prepare(message)?;
        self.send_round_or_to(&outgoing, queue).await
    }

    /// Adds a message to the batch of its kind; gives it back when it has to go by itself.
    fn gather(
        self: &Arc<Self>,
        message: Message,
        queue: Option<&MessageQueue>,
    ) -> Result<Result<oneshot::Receiver<Outcome>, Message>, ClientError> {
        let Some(accumulator) = self
            .accumulator
            .as_ref()
            .filter(|all| all.takes(&message) && !self.is_stopping())
        else {
            return Ok(Err(message));
        };
        self.check(&message)?;
        let topic = message.topic().to_owned();
        let tag = message.get(TAGS).map(str::to_owned);
        let key = (topic, queue.cloned(), message.waits(), tag);
        let bytes = message.body().len();
        let mut table = accumulator.open.lock();
        let open = if let Some(open) = table.get(&key) {
            Arc::clone(open)
        } else {
            let Ok(permit) = Arc::clone(&self.at_work).try_acquire_owned() else {
                return Ok(Err(message));
            };
            let open = Arc::<Open>::default();
            table.insert(key.clone(), Arc::clone(&open));
            let task = (Arc::clone(self), key.clone(), Arc::clone(&open));
            tokio::spawn(async move {
                let (_permit, (inner, key, open)) = (permit, task);
                inner.send_when_full(&key, &open).await;
            });
            open
        };
        let (sender, outcome) = oneshot::channel();
        open.gathered.lock().push((message, sender));
        accumulator
            .waiting_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        if open.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= accumulator.settings.bytes {
            table.remove(&key);
            open.full.notify_one();
        }
        Ok(Ok(outcome))
    }

    async fn send_when_full(&self, key: &Key, open: &Arc<Open>) {
        let Some(accumulator) = &self.accumulator else {
            return;
        };
        let _ = tokio::time::timeout(accumulator.settings.delay, open.full.notified()).await;
        accumulator.close(key, open);
        let gathered = std::mem::take(&mut *open.gathered.lock());
        let (messages, senders): (Vec<Message>, Vec<_>) = gathered.into_iter().unzip();
        let sent = self.send_together(messages, key.1.as_ref()).await;
        let bytes = open.bytes.load(Ordering::Relaxed);
        accumulator
            .waiting_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
        match sent {
            Ok(results) => {
                for (sender, result) in senders.into_iter().zip(results) {
                    let _ = sender.send(Ok(result));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for sender in senders {
                    let _ = sender.send(Err(ClientError::Batch(Arc::clone(&error))));
                }
            }
        }
    }

    async fn send_together(
        &self,
        messages: Vec<Message>,
        queue: Option<&MessageQueue>,
    ) -> Result<Vec<SendResult>, ClientError> {
        let count = messages.len();
        let outgoing = match <[Message; 1]>::try_from(messages) {
            Ok([alone]) => self.prepare(alone)?,
            Err(messages) => self.prepare_batch(messages)?,
        };
        let whole = self.send_round_or_to(&outgoing, queue).await?;
        let ids = outgoing.msg_id.split(',');
        let mut offset_ids = whole.offset_msg_id.split(',');
        let one = |(at, id): (i64, &str)| SendResult {
            msg_id: id.to_owned(),
            // A queue that stores batches whole has one such id for all.
            offset_msg_id: offset_ids.next().unwrap_or(&whole.offset_msg_id).to_owned(),
            queue_offset: whole.queue_offset + at,
            ..whole.clone()
        };
        debug_assert_eq!(ids.clone().count(), count);
        Ok((0..).zip(ids).map(one).collect())
    }
}
