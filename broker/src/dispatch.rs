//! The broker's side of a connection: requests become types, types go to their handler.

use crate::client::Clients;
use crate::handler::{
    clean::CleanHandler, client::ClientHandler, group::GroupHandler, lock::LockHandler,
    offset::OffsetHandler, pull::HeldPulls, pull::PullHandler, query::QueryHandler,
    send::SendHandler, send::SendSession, topic::TopicHandler, view::ViewHandler,
};
use common::transport::{Connection, Replies, Requests, Service};
use common::wire::header::SendMessageRequestHeader;
use common::wire::request::broker::{self as request, Request};
use common::wire::{Command, Reply, request_code};
use std::sync::Arc;

/// Everything requests are handed to.
pub struct Handlers {
    /// Sends.
    pub send: SendHandler,
    /// Pulls.
    pub pull: Arc<PullHandler>,
    /// Offsets of groups and queues.
    pub offset: OffsetHandler,
    /// Heartbeats and members.
    pub client: ClientHandler,
    /// Queue locks.
    pub lock: LockHandler,
    /// Topics.
    pub topic: TopicHandler,
    /// Subscription groups.
    pub group: GroupHandler,
    /// Messages by key or position.
    pub query: Arc<QueryHandler>,
    /// The broker itself.
    pub view: ViewHandler,
    /// Deletion of old files.
    pub clean: CleanHandler,
    /// Who is connected.
    pub clients: Clients,
    /// Pulls that wait.
    pub held: HeldPulls,
}

/// Which of the broker's two ports a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// `listenPort`: everything.
    Main,
    /// `listenPort - 2`, for sends that must not queue behind pulls: no pulls at all.
    Vip,
}

/// The service behind one of the ports.
pub struct BrokerService {
    handlers: Arc<Handlers>,
    port: Port,
}

impl BrokerService {
    /// Serves `handlers` on `port`.
    pub fn new(handlers: Arc<Handlers>, port: Port) -> Self {
        Self { handlers, port }
    }

    fn handle(
        &self,
        session: &mut SendSession,
        connection: &Arc<Connection>,
        command: &Command,
        body: &[u8],
        replies: &mut Replies<'_>,
    ) {
        let to = command.reply_to();
        let handlers = &*self.handlers;
        if self.port == Port::Vip && is_pull(command.code) {
            return replies.push(to, Reply::not_supported(command.code));
        }
        let parsed = match request::parse(command) {
            Ok(Request::SendMessage(header)) => {
                return handlers
                    .send
                    .accept(session, connection, command, &header, body, replies);
            }
            Ok(parsed) => parsed,
            Err(error) if SendMessageRequestHeader::is_code(command.code) => {
                return replies.push(to, handlers.send.refuse(error.into()));
            }
            Err(error) => return replies.push(to, error.into()),
        };
        // Answers see what was sent before them on the same connection.
        handlers.send.commit(session, connection, replies);
        if let Some(reply) = self.answer(connection, command, parsed, body) {
            replies.push(to, reply);
        }
    }

    /// `None` when the request is answered later.
    fn answer(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        request: Request<'_>,
        body: &[u8],
    ) -> Option<Reply> {
        let handlers = &*self.handlers;
        Some(match request {
            Request::SendMessage(_) => unreachable!("sends join the turn's batch"),
            Request::PullMessage { header, lite } => {
                return handlers.pull.handle(connection, command, header, lite);
            }
            Request::QueryConsumerOffset(header) => handlers.offset.query(&header),
            Request::UpdateConsumerOffset(fields) => {
                return handlers
                    .offset
                    .update(connection, command.reply_to(), fields);
            }
            Request::SearchOffset(header) => handlers.offset.search(&header),
            Request::GetMaxOffset(header) => handlers.offset.max(&header),
            Request::GetMinOffset(header) => handlers.offset.min(&header),
            Request::GetEarliestMsgStoretime(header) => {
                handlers.offset.earliest_store_time(&header)
            }
            Request::QueryMessage(header) => {
                return handlers.query.by_key(connection, command, header);
            }
            Request::ViewMessage(header) => {
                return handlers.query.by_offset(connection, command, header);
            }
            Request::Heartbeat => handlers.client.heartbeat(connection, command, body),
            Request::UnregisterClient(header) => handlers.client.unregister(connection, &header),
            Request::CheckClientConfig => ClientHandler::check_config(body),
            Request::GetConsumerListByGroup(header) => handlers.client.consumer_list(&header),
            Request::GetConsumerConnectionList(header) => {
                handlers.client.consumer_connections(&header)
            }
            Request::GetProducerConnectionList(header) => {
                handlers.client.producer_connections(&header)
            }
            Request::LockBatchMq => handlers.lock.lock(body),
            Request::UnlockBatchMq => handlers.lock.unlock(body),
            Request::CreateTopic(header) => handlers.topic.create(&header),
            Request::CreateTopicList => handlers.topic.create_list(body),
            Request::DeleteTopic(header) => handlers.topic.delete(&header),
            Request::GetAllTopicConfig(header) => handlers.topic.all(&header),
            Request::GetTopicConfig(header) => handlers.topic.config(&header),
            Request::GetTopicStatsInfo(header) => handlers.topic.stats(&header),
            Request::GetSystemTopicList => handlers.topic.system_list(),
            Request::CreateSubscriptionGroup => handlers.group.create(body),
            Request::CreateSubscriptionGroupList => handlers.group.create_list(body),
            Request::DeleteSubscriptionGroup(header) => handlers.group.delete(&header),
            Request::GetAllSubscriptionGroup(header) => handlers.group.all(&header),
            Request::GetSubscriptionGroupConfig(header) => handlers.group.config(&header),
            Request::QueryTopicsByConsumer(header) => handlers.offset.topics_of(&header),
            Request::CleanExpiredConsumeQueue | Request::DeleteExpiredCommitLog => {
                handlers.clean.delete_expired()
            }
            Request::GetBrokerRuntimeInfo => handlers.view.runtime_info(),
            Request::GetBrokerConfig => handlers.view.config(),
        })
    }
}

/// Requests that may wait for messages, which the VIP port does not serve.
fn is_pull(code: i32) -> bool {
    matches!(
        code,
        request_code::PULL_MESSAGE | request_code::LITE_PULL_MESSAGE
    )
}

impl Service for BrokerService {
    type Session = SendSession;

    fn connected(&self, _: &Arc<Connection>) -> SendSession {
        self.handlers.send.session()
    }

    fn turn(
        &self,
        session: &mut SendSession,
        connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        while let Some((command, body)) = requests.next() {
            self.handle(session, connection, command, body, replies);
            if SendHandler::is_full(session) {
                self.handlers.send.commit(session, connection, replies);
            }
        }
        self.handlers.send.commit(session, connection, replies);
    }

    fn closed(&self, _: SendSession, connection: &Arc<Connection>) {
        self.handlers.clients.closed(connection);
        self.handlers.held.closed(connection.id());
    }
}
