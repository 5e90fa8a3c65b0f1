//! Transactions: a message that consumers see if, and only if, a local transaction commits.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use common::message::message_id;
use common::message::properties::{PRODUCER_GROUP, TRANSACTION_PREPARED};
use common::message::sys_flag::{TRANSACTION_COMMIT, TRANSACTION_ROLLBACK};
use common::wire::header::{CheckTransactionStateRequestHeader, EndTransactionRequestHeader};
use common::wire::{Command, request_code};
use tokio::sync::Semaphore;

use super::builder::Settings;
use super::{Inner, Producer, SendResult, SendStatus};
use crate::caught::{Callback, caught};
use crate::error::ClientError;
use crate::instance::{Instance, PeerRequest};
use crate::{Message, MessageExt};

/// Checks that wait or run. Brokers repeat what is dropped.
const MOST_CHECKS: usize = 2000;

/// How a local transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionState {
    /// Consumers shall get the message.
    Commit,
    /// The message shall vanish.
    Rollback,
    /// Not known yet: the broker asks again later.
    #[default]
    Unknown,
}

impl TransactionState {
    /// What `END_TRANSACTION` carries; nothing is sent while the end is not known.
    fn to_wire(self) -> Option<i32> {
        match self {
            Self::Commit => Some(TRANSACTION_COMMIT),
            Self::Rollback => Some(TRANSACTION_ROLLBACK),
            Self::Unknown => None,
        }
    }
}

/// What became of a transactional message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionResult {
    /// The half message as it was stored: invisible, its ids are not those of the message consumers get.
    pub half: SendResult,
    /// What the broker was told.
    pub state: TransactionState,
}

/// Sends messages that belong to a local transaction. Clones share everything.
///
/// ```no_run
/// # async fn example() -> Result<(), client::ClientError> {
/// use client::{Message, Producer, TransactionState};
/// # async fn book(order: &str) -> Result<(), String> { Ok(()) }
/// # async fn is_booked(order: Option<&str>) -> bool { true }
///
/// let producer = Producer::builder("order-service", "127.0.0.1:9876")
///     .topics(["orders"])
///     .start_transactional(|half| async move {
///         // Asked by the broker, perhaps about a message another process of the group sent.
///         if is_booked(half.keys().next()).await { TransactionState::Commit } else { TransactionState::Unknown }
///     })
///     .await?;
/// let message = Message::new("orders", "one coffee").keys(["order-7"]);
/// let result = producer
///     .send(message, |_half| async {
///         match book("order-7").await {
///             Ok(()) => TransactionState::Commit,
///             Err(_) => TransactionState::Rollback,
///         }
///     })
///     .await?;
/// println!("{:?}", result.state);
/// producer.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// The broker is told of the end once, without an answer. If that is lost, if the state is
/// [`TransactionState::Unknown`], or if this process dies, the broker asks any producer of the group. To be asked, a
/// producer has to be known to the broker: see [`ProducerBuilder::topics`](super::ProducerBuilder::topics).
#[derive(Clone)]
pub struct TransactionProducer {
    pub(super) producer: Producer,
}

impl TransactionProducer {
    /// Stores the message out of sight of consumers, runs `local`, and tells the broker how that ended. A panic in `local`
    /// counts as [`TransactionState::Unknown`]. A half message that is less safe than asked for
    /// ([`SendStatus`]) is rolled back, and `local` does not run.
    ///
    /// All of that goes on if the returned future is dropped.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] for a message to be delivered later; otherwise as [`Producer::send`]. `local`
    /// has not run then.
    pub async fn send<F, Fut>(
        &self,
        mut message: Message,
        local: F,
    ) -> Result<TransactionResult, ClientError>
    where
        F: FnOnce(SendResult) -> Fut + Send + 'static,
        Fut: Future<Output = TransactionState> + Send + 'static,
    {
        let inner = Arc::clone(&self.producer.inner);
        if message.is_delayed() {
            let reason = "a transactional message cannot be delivered later";
            return Err(ClientError::illegal(reason));
        }
        message.set_system(TRANSACTION_PREPARED, "true");
        message.set_system(PRODUCER_GROUP, inner.settings.group.as_str());
        let permit = Arc::clone(&inner.at_work).acquire_owned().await;
        let permit = permit.map_err(|_| ClientError::Stopped)?;
        let whole = tokio::spawn(async move {
            let _permit = permit;
            inner.transact(message, local).await
        });
        whole.await.map_err(|_| ClientError::Stopped)?
    }

    /// For messages without a transaction, in the same group.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// As [`Producer::shutdown`]: waits for local transactions and checks that run.
    pub async fn shutdown(self) {
        self.producer.shutdown().await;
    }
}

impl Inner {
    async fn transact<F, Fut>(
        &self,
        message: Message,
        local: F,
    ) -> Result<TransactionResult, ClientError>
    where
        F: FnOnce(SendResult) -> Fut,
        Fut: Future<Output = TransactionState>,
    {
        let outgoing = self.prepare(message)?;
        let half = self.send_round_or_to(&outgoing, None).await?;
        let mut remark = None;
        let state = if half.status == SendStatus::SendOk {
            caught(|| local(half.clone())).await.unwrap_or_else(|| {
                tracing::error!(half.msg_id, "the local transaction panicked");
                remark = Some("the local transaction panicked".to_owned());
                TransactionState::Unknown
            })
        } else {
            tracing::warn!(half.msg_id, status = ?half.status, "half message is not safe, rolling back");
            TransactionState::Rollback
        };
        if let Err(error) = self.end(&outgoing.topic, &half, state, remark).await {
            tracing::warn!(half.msg_id, %error, "could not end the transaction, the broker will ask");
        }
        Ok(TransactionResult { half, state })
    }

    async fn end(
        &self,
        topic: &str,
        half: &SendResult,
        state: TransactionState,
        remark: Option<String>,
    ) -> Result<(), ClientError> {
        let Some(commit_or_rollback) = state.to_wire() else {
            return Ok(());
        };
        let (_, position) = message_id::parse_offset_id(&half.offset_msg_id)
            .map_err(|error| ClientError::illegal(error.to_string()))?;
        let header = EndTransactionRequestHeader {
            topic: Some(topic.to_owned()),
            producer_group: Some(self.settings.group.clone()),
            tran_state_table_offset: half.queue_offset,
            commit_log_offset: position.to_wire(),
            commit_or_rollback,
            from_transaction_check: Some(false),
            msg_id: Some(half.msg_id.clone()),
            transaction_id: half.transaction_id.clone(),
            broker_name: Some(half.queue.broker_name.clone()),
        };
        let mut command = Command::request(request_code::END_TRANSACTION).with(&header);
        command.remark = remark;
        let address = self.instance.master_to_send(&half.queue.broker_name)?;
        let sent = self.instance.send_oneway(&address, command, Bytes::new());
        sent.await
    }
}

/// Answers brokers that ask how a transaction ended.
pub(super) struct Checker {
    group: String,
    check: Box<Callback<MessageExt, TransactionState>>,
    waiting: Arc<Semaphore>,
    running: Semaphore,
}

impl Checker {
    pub(super) fn new(
        settings: &Settings,
        check: Box<Callback<MessageExt, TransactionState>>,
    ) -> Self {
        let concurrency = settings.max_concurrent_checks;
        Self {
            group: settings.group.clone(),
            check,
            waiting: Arc::new(Semaphore::new(MOST_CHECKS)),
            running: Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// Has the application asked, unless too much of that goes on already.
    pub(super) fn ask(
        self: &Arc<Self>,
        instance: &Instance,
        at_work: &Arc<Semaphore>,
        request: PeerRequest,
    ) {
        let places = (
            Arc::clone(&self.waiting).try_acquire_owned(),
            Arc::clone(at_work).try_acquire_owned(),
        );
        let (Ok(waiting), Ok(working)) = places else {
            tracing::warn!("too many checks of transactions at once, the broker will ask again");
            return;
        };
        let this = Arc::clone(self);
        instance.spawn(async move {
            let _places = (waiting, working);
            let Ok(_running) = this.running.acquire().await else {
                return;
            };
            if let Err(error) = this.answer(&request).await {
                tracing::warn!(%error, "cannot answer how a transaction ended");
            }
        });
    }

    async fn answer(&self, request: &PeerRequest) -> Result<(), Box<dyn std::error::Error>> {
        let asked: CheckTransactionStateRequestHeader = request.command.header()?;
        let broker_name = asked.broker_name.as_deref().unwrap_or_default();
        let half = MessageExt::read_all(&request.body, broker_name)?
            .pop()
            .ok_or("no message")?;
        let msg_id = half.msg_id.clone();
        let state = caught(|| (self.check)(half)).await;
        tracing::debug!(msg_id, ?state, "asked how a transaction ended");
        let Some(commit_or_rollback) = state.unwrap_or_default().to_wire() else {
            return Ok(());
        };
        let header = EndTransactionRequestHeader {
            topic: asked.topic,
            producer_group: Some(self.group.clone()),
            tran_state_table_offset: asked.tran_state_table_offset,
            commit_log_offset: asked.commit_log_offset,
            commit_or_rollback,
            from_transaction_check: Some(true),
            msg_id: Some(msg_id),
            transaction_id: asked.transaction_id,
            broker_name: asked.broker_name,
        };
        let command = Command::request(request_code::END_TRANSACTION).with(&header);
        // To who asked: that is where the half message lies.
        request.connection.send_oneway(command, Bytes::new());
        Ok(())
    }
}
