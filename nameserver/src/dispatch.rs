//! From frames to handlers: one exhaustive match.

use std::sync::Arc;

use common::transport::{Connection, Replies, Requests, Service};
use common::wire::request::namesrv::{Request, parse};
use common::wire::{Command, Reply, response_code};

use crate::disk_thread::DiskThread;
use crate::handler::{Answer, Handler};
use crate::metrics::RequestCounts;
use crate::route::RouteTable;

/// Everything a connection can reach.
pub struct Dispatch {
    /// Serves the requests.
    pub handler: Handler,
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
        let handler = &self.handler;
        match request {
            Request::PutKvConfig(header) => return handler.put_kv(header),
            Request::DeleteKvConfig(header) => return handler.delete_kv(header),
            Request::GetKvConfig(header) => handler.get_kv(&header),
            Request::GetKvListByNamespace(header) => handler.list_kv(&header),
            Request::RegisterBroker(header) => {
                handler.register_broker(connection, command.version, *header, body)
            }
            Request::UnregisterBroker(header) => handler.unregister_broker(header),
            Request::BrokerHeartbeat(header) => handler.heartbeat(header),
            Request::QueryDataVersion(header) => handler.query_data_version(header, body),
            Request::GetRouteInfo(header) => handler.route(command.version, &header),
            Request::GetBrokerClusterInfo => handler.cluster_info(),
            Request::GetBrokerMemberGroup(header) => handler.member_group(&header),
            Request::WipeWritePermOfBroker(header) => handler.wipe_write_perm(&header),
            Request::AddWritePermOfBroker(header) => handler.add_write_perm(&header),
            Request::GetAllTopicList => handler.all_topics(),
            Request::GetTopicsByCluster(header) => {
                handler.some_topics(|table| table.topics_of_cluster(&header.cluster))
            }
            Request::GetSystemTopicList => handler.system_topics(),
            Request::GetUnitTopicList => handler.some_topics(RouteTable::unit_topics),
            Request::GetHasUnitSubTopicList => handler.some_topics(RouteTable::unit_sub_topics),
            Request::GetHasUnitSubUnunitTopicList => {
                handler.some_topics(RouteTable::unit_sub_ununit_topics)
            }
            Request::DeleteTopic(header) => handler.delete_topic(&header),
            Request::RegisterTopic(header) => handler.register_topic(&header, body),
            Request::UpdateConfig => return handler.update_config(body),
            Request::GetConfig => handler.get_config(),
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
        self.handler.routes.connection_closed(connection);
    }
}
