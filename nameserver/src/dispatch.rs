//! From frames to handlers: one exhaustive match.

use std::sync::Arc;

use common::transport::{Connection, Replies, Requests, Service};
use common::wire::request::namesrv::{Request, parse};
use common::wire::{Command, Reply, response_code};

use crate::disk_thread::DiskThread;
use crate::handler::{Answer, BrokerHandler, KvHandler, Peer, SettingsHandler, TopicHandler};
use crate::metrics::RequestCounts;
use crate::routes::Routes;

/// Everything a connection can reach.
pub struct Dispatch {
    /// Brokers.
    pub broker: BrokerHandler,
    /// Topics.
    pub topic: TopicHandler,
    /// Key-value configuration.
    pub kv: KvHandler,
    /// Settings.
    pub settings: SettingsHandler,
    /// Told when a connection is gone.
    pub routes: Arc<Routes>,
    /// Does what blocks.
    pub disk: Arc<DiskThread>,
    /// Counts.
    pub counts: RequestCounts,
}

impl Dispatch {
    fn answer(&self, connection: &Arc<Connection>, command: &Command, body: &[u8]) -> Answer {
        let request = match parse(command) {
            Ok(request) => request,
            Err(error) => return Reply::from(error).into(),
        };
        let peer = Peer {
            version: command.version,
        };
        match request {
            Request::PutKvConfig(header) => return self.kv.put(header),
            Request::DeleteKvConfig(header) => return self.kv.delete(header),
            Request::GetKvConfig(header) => self.kv.get(&header),
            Request::GetKvListByNamespace(header) => self.kv.list(&header),
            Request::RegisterBroker(header) => {
                self.broker.register(connection, peer, *header, body)
            }
            Request::UnregisterBroker(header) => self.broker.unregister(header),
            Request::BrokerHeartbeat(header) => self.broker.heartbeat(header),
            Request::QueryDataVersion(header) => self.broker.query_data_version(header, body),
            Request::GetRouteInfo(header) => self.topic.route(peer, &header),
            Request::GetBrokerClusterInfo => self.broker.cluster_info(),
            Request::GetBrokerMemberGroup(header) => self.broker.member_group(&header),
            Request::WipeWritePermOfBroker(header) => self.broker.wipe_write_perm(&header),
            Request::AddWritePermOfBroker(header) => self.broker.add_write_perm(&header),
            Request::GetAllTopicList => self.topic.all(),
            Request::GetTopicsByCluster(header) => self.topic.of_cluster(&header),
            Request::GetSystemTopicList => self.topic.system(),
            Request::GetUnitTopicList => self.topic.unit(),
            Request::GetHasUnitSubTopicList => self.topic.unit_sub(),
            Request::GetHasUnitSubUnunitTopicList => self.topic.unit_sub_ununit(),
            Request::DeleteTopic(header) => self.topic.delete(&header),
            Request::RegisterTopic(header) => self.topic.register(&header, body),
            Request::UpdateConfig => return self.settings.update(body),
            Request::GetConfig => self.settings.get(),
        }
        .into()
    }
}

impl Service for Dispatch {
    type Session = ();

    fn connected(&self, _: &Arc<Connection>) {}

    fn turn(
        &self,
        (): &mut (),
        connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        while let Some((command, body)) = requests.next() {
            self.counts.count(command.code);
            let to = command.reply_to();
            match self.answer(connection, command, body) {
                Answer::Now(reply) => replies.push(to, reply),
                Answer::AfterDisk(work) => {
                    let waiting = Arc::clone(connection);
                    let submitted = self.disk.submit(move || waiting.reply(to, work()));
                    if let Err(busy) = submitted {
                        let reply = Reply::error(response_code::SYSTEM_BUSY, busy.to_string());
                        replies.push(to, reply);
                    }
                }
            }
        }
    }

    fn closed(&self, (): (), connection: &Arc<Connection>) {
        self.routes.connection_closed(connection);
    }
}
