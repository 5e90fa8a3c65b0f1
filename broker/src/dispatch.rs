//! The broker's side of a connection: requests become types, types go to their handler.

use crate::handler::{
    client, group, lock, offset, progress, pull::HeldPulls, pull::PullHandler, query::QueryHandler,
    reset, send::SendHandler, send::SendSession, settings::SettingsHandler, timer, topic,
    transaction, view,
};
use crate::state::State;
use crate::timer::Timers;
use crate::transaction::Checks;
use common::transport::{Connection, Replies, Requests, Service};
use common::wire::header::SendMessageRequestHeader;
use common::wire::request::broker::{self as request, Request};
use common::wire::{Command, Reply, request_code};
use std::net::SocketAddr;
use std::sync::Arc;

/// Everything requests are handed to.
pub struct Handlers {
    /// Sends.
    pub send: Arc<SendHandler>,
    /// Pulls.
    pub pull: Arc<PullHandler>,
    /// Transactions, except for their ends.
    pub checks: Arc<Checks>,
    /// Messages by key or position.
    pub query: Arc<QueryHandler>,
    /// Settings.
    pub settings: Arc<SettingsHandler>,
    /// Messages with a time.
    pub timers: Timers,
    /// What everything else is answered from.
    pub state: State,
    /// The address that clients are told.
    pub address: SocketAddr,
    /// Pulls that wait.
    pub held: HeldPulls,
}

/// Of requests that are answered elsewhere.
const JOIN: &str = "these join the turn's batch";

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
            Ok(Request::EndTransaction) => {
                return handlers
                    .send
                    .end_transaction(session, connection, command, replies);
            }
            Ok(Request::SendBack(header)) => {
                return handlers
                    .send
                    .send_back(session, connection, command, header, replies);
            }
            Ok(Request::RecallMessage(header)) => {
                let send = &handlers.send;
                return send.recall(session, connection, command, &header, replies);
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

    /// `None` when the request is answered later: then its handler says so.
    fn answer(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        request: Request<'_>,
        body: &[u8],
    ) -> Option<Reply> {
        let (handlers, to) = (&*self.handlers, command.reply_to());
        let state = &handlers.state;
        Some(match request {
            Request::SendMessage(_) | Request::SendBack(_) => unreachable!("{JOIN}"),
            Request::RecallMessage(_) | Request::EndTransaction => unreachable!("{JOIN}"),
            Request::ResumeCheckHalfMessage(header) => {
                transaction::resume(&handlers.checks, connection, to, &header)?
            }
            Request::ListTransactions(header) => {
                transaction::list(&handlers.checks, connection, to, &header);
                return None;
            }
            Request::SendReply(header) => handlers
                .send
                .push_reply(connection, command, &header, body)?,
            Request::PullMessage(header) => {
                handlers.pull.handle(connection, command, header, false)?
            }
            Request::LitePullMessage(header) => {
                handlers.pull.handle(connection, command, header, true)?
            }
            Request::QueryConsumerOffset(header) => offset::query(state, &header),
            Request::UpdateConsumerOffset(fields) => offset::update(state, connection, to, fields)?,
            Request::SearchOffset(header) => offset::search(state, &header),
            Request::ResetOffset(header) => reset::reset(state, connection, to, &header)?,
            Request::GetConsumerStatus(header) => {
                reset::consumer_status(state, connection, to, &header)?
            }
            Request::GetAllDelayOffset => offset::delays(state),
            Request::GetMaxOffset(header) => offset::max(state, &header),
            Request::GetMinOffset(header) => offset::min(state, &header),
            Request::GetEarliestMsgStoretime(header) => offset::earliest_store_time(state, &header),
            Request::QueryMessage(header) => {
                let query = &handlers.query;
                query.look_up(connection, command, move |query| query.by_key(&header))?
            }
            Request::ViewMessage(header) => {
                let query = &handlers.query;
                query.look_up(connection, command, move |query| query.by_offset(&header))?
            }
            Request::Heartbeat => client::heartbeat(state, connection, command, body),
            Request::UnregisterClient(header) => client::unregister(state, connection, &header),
            Request::CheckClientConfig => client::check_config(body),
            Request::GetConsumerListByGroup(header) => client::consumer_list(state, &header),
            Request::GetConsumerConnectionList(header) => {
                client::consumer_connections(state, &header)
            }
            Request::GetProducerConnectionList(header) => {
                client::producer_connections(state, &header)
            }
            Request::LockBatchMq => lock::lock(&state.locks, body),
            Request::UnlockBatchMq => lock::unlock(&state.locks, body),
            Request::CreateTopic(header) => topic::create(state, &header),
            Request::CreateTopicList => topic::create_list(state, body),
            Request::DeleteTopic(header) => topic::delete(state, &header),
            Request::GetAllTopicConfig(header) => topic::all(state, &header),
            Request::GetTopicConfig(header) => topic::config(state, &header),
            Request::GetTopicStatsInfo(header) => topic::stats(state, &header),
            Request::GetSystemTopicList => topic::system_list(state),
            Request::CreateSubscriptionGroup => group::create(state, body),
            Request::CreateSubscriptionGroupList => group::create_list(state, body),
            Request::DeleteSubscriptionGroup(header) => group::delete(state, &header),
            Request::GetAllSubscriptionGroup(header) => group::all(state, &header),
            Request::GetSubscriptionGroupConfig(header) => group::config(state, &header),
            Request::GetAllConsumerOffset => progress::all_offsets(state),
            Request::GetConsumeStats(header) => progress::of_group(state, &header),
            Request::GetBrokerConsumeStats(header) => {
                progress::of_broker(state, handlers.address, &header)
            }
            Request::GetAllProducerInfo => progress::producers(state),
            Request::QueryTopicConsumeByWho(header) => progress::groups_of(state, &header),
            Request::QuerySubscriptionByConsumer(header) => progress::subscription(state, &header),
            Request::QueryTopicsByConsumer(header) => {
                progress::topics_of(state, handlers.address, &header)
            }
            Request::CleanExpiredConsumeQueue | Request::DeleteExpiredCommitLog => {
                // Whatever the hour; files of queues follow those of the log. The answer does not wait for it.
                state.writer.delete_expired();
                Reply::ok()
            }
            Request::GetBrokerRuntimeInfo => view::runtime_info(state),
            Request::UpdateBrokerConfig => handlers.settings.update(connection, to, body)?,
            Request::GetBrokerConfig => handlers.settings.get(),
            Request::GetTimerCheckPoint => timer::check_point(&handlers.timers),
            Request::GetTimerMetrics => timer::metrics(&handlers.timers),
            Request::SwitchTimerEngine(fields) => timer::switch_engine(&handlers.timers, fields),
            Request::ListTimers(header) => timer::list(
                &handlers.timers,
                &handlers.query,
                connection,
                command,
                header,
            )?,
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
        self.handlers.state.clients.closed(connection);
        self.handlers.held.closed(connection.id());
    }
}
