//! The broker's side of a connection: requests become types, types go to their handler.

use crate::handler::{
    client, group, lock, offset, progress, pull::HeldPulls, pull::PullHandler, query, reset,
    send::SendHandler, send::SendSession, settings::SettingsHandler, timer, topic, transaction,
    view,
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
        let (state, asked) = (&handlers.state, (connection, to));
        // By a handler that may wait for the disk.
        macro_rules! later {
            ($handler:path, $header:expr) => {{
                let header = $header;
                state.later(asked, move |state| $handler(state, &header))?
            }};
        }
        Some(match request {
            Request::SendMessage(_) | Request::SendBack(_) => unreachable!("{JOIN}"),
            Request::RecallMessage(_) | Request::EndTransaction => unreachable!("{JOIN}"),
            Request::ResumeCheckHalfMessage(header) => {
                let checks = Arc::clone(&handlers.checks);
                state.later(asked, move |_| transaction::resume(&checks, &header))?
            }
            Request::ListTransactions(header) => {
                let checks = Arc::clone(&handlers.checks);
                state.later(asked, move |_| transaction::list(&checks, &header))?
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
            Request::SearchOffset(header) => later!(offset::search, header),
            Request::ResetOffset(header) => later!(reset::reset, header),
            Request::GetConsumerStatus(header) => {
                reset::consumer_status(state, connection, to, &header)?
            }
            Request::GetAllDelayOffset => offset::delays(state),
            Request::GetMaxOffset(header) => offset::max(state, &header),
            Request::GetMinOffset(header) => offset::min(state, &header),
            Request::GetEarliestMsgStoretime(header) => later!(offset::earliest_store_time, header),
            Request::QueryMessage(header) => later!(query::by_key, header),
            Request::ViewMessage(header) => later!(query::by_offset, header),
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
            Request::CreateTopic(header) => later!(topic::create, header),
            Request::CreateTopicList => later!(topic::create_list, body.to_vec()),
            Request::DeleteTopic(header) => later!(topic::delete, header),
            Request::GetAllTopicConfig(header) => topic::all(state, &header),
            Request::GetTopicConfig(header) => topic::config(state, &header),
            Request::GetTopicStatsInfo(header) => later!(topic::stats, header),
            Request::GetSystemTopicList => topic::system_list(state),
            Request::CreateSubscriptionGroup => later!(group::create, body.to_vec()),
            Request::CreateSubscriptionGroupList => later!(group::create_list, body.to_vec()),
            Request::DeleteSubscriptionGroup(header) => later!(group::delete, header),
            Request::GetAllSubscriptionGroup(header) => group::all(state, &header),
            Request::GetSubscriptionGroupConfig(header) => group::config(state, &header),
            Request::GetAllConsumerOffset => progress::all_offsets(state),
            Request::GetConsumeStats(header) => later!(progress::of_group, header),
            Request::GetBrokerConsumeStats(header) => {
                let address = handlers.address;
                state.later(asked, move |state| {
                    progress::of_broker(state, address, &header)
                })?
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
            Request::GetBrokerRuntimeInfo => state.later(asked, view::runtime_info)?,
            Request::UpdateBrokerConfig => handlers.settings.update(asked, body)?,
            Request::GetBrokerConfig => handlers.settings.get(),
            Request::GetTimerCheckPoint => timer::check_point(&handlers.timers),
            Request::GetTimerMetrics => timer::metrics(&handlers.timers),
            Request::SwitchTimerEngine(fields) => timer::switch_engine(&handlers.timers, fields),
            Request::ListTimers(header) => {
                let timers = handlers.timers.clone();
                state.later(asked, move |state| timer::list(state, &timers, &header))?
            }
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
        session.begin(requests.has_waited());
        while let Some((command, body)) = requests.next() {
            self.handle(session, connection, command, body, replies);
            session.begin(false);
            if let Some(work) = session.take_first() {
                requests.pause(work);
            }
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
