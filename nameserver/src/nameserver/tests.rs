//! The whole server in this process, over real sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use bytes::Bytes;
use common::config::{Sources, load};
use common::transport::{Connection, Response};
use common::wire::body::{KvTable, RegisterBrokerBody, TopicConfig, TopicList, TopicRouteData};
use common::wire::header::{
    BrokerHeartbeatRequestHeader, BrokerRequestHeader, DeleteKvConfigRequestHeader,
    GetRouteInfoRequestHeader, PutKvConfigRequestHeader, RegisterBrokerRequestHeader,
};
use common::wire::{Command, request_code as code, response_code};
use tokio::sync::mpsc;

use super::*;

/// Far more than any answer takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker with this timeout is not dropped while a test runs.
const LONG_MS: i64 = 600_000;

struct Running {
    nameserver: Nameserver,
    client: RemotingClient,
    address: String,
}

/// Starts a name server whose files are in `dir`; `lines` are further settings.
async fn start(dir: &Path, lines: &str) -> Running {
    let file = dir.join("namesrv.properties");
    if !file.exists() {
        let kv = dir.join("kvConfig.json");
        let text = format!(
            "listenPort=0\nhttpListenPort=0\nbindAddress=127.0.0.1\nkvConfigPath={}\n{lines}",
            kv.display()
        );
        std::fs::write(&file, text).unwrap();
    }
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let nameserver = Nameserver::start(load(&sources).unwrap()).await.unwrap();
    let address = nameserver.address().to_string();
    let client = RemotingClient::new(ClientConfig::default(), Arc::new(NoRequests));
    Running {
        nameserver,
        client,
        address,
    }
}

impl Running {
    async fn call(&self, command: Command, body: impl Into<Bytes>) -> Response {
        self.client
            .call(&self.address, command, body.into(), PATIENCE)
            .await
            .unwrap()
    }

    async fn register(&self, client: &RemotingClient, timeout_ms: i64) -> Response {
        let header = RegisterBrokerRequestHeader {
            broker_name: "b".into(),
            broker_addr: "a:1".into(),
            cluster_name: "c".into(),
            ha_server_addr: "ha:1".into(),
            enable_acting_master: Some(false),
            heartbeat_timeout_millis: Some(timeout_ms),
            ..RegisterBrokerRequestHeader::default()
        };
        let mut body = RegisterBrokerBody::default();
        for topic in ["t1", "t2"] {
            let table = &mut body.topic_config_serialize_wrapper.topic_config_table;
            table.insert(topic.into(), TopicConfig::new(topic, 4, 6));
        }
        let command = Command::request(code::REGISTER_BROKER).with(&header);
        client
            .call(&self.address, command, body.encode().into(), PATIENCE)
            .await
            .unwrap()
    }

    async fn route(&self, topic: &str) -> Response {
        let header = GetRouteInfoRequestHeader {
            topic: topic.into(),
            ..Default::default()
        };
        self.call(
            Command::request(code::GET_ROUTEINFO_BY_TOPIC).with(&header),
            "",
        )
        .await
    }

    /// Waits until the route of `topic` has gone.
    async fn route_gone(&self, topic: &str) {
        let gone = async {
            while self.route(topic).await.command.code != response_code::TOPIC_NOT_EXIST {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
    }

    /// The status line and the body of a page.
    fn page(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.nameserver.http_address()).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn a_broker_is_routed_while_its_connection_lives() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), "").await;
    let broker = RemotingClient::new(ClientConfig::default(), Arc::new(NoRequests));
    assert_eq!(running.register(&broker, LONG_MS).await.command.code, 0);
    let route = TopicRouteData::decode(&running.route("t1").await.body).unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs[&0], "a:1");
    broker.close();
    running.route_gone("t1").await;
    running.nameserver.shutdown().await;
}

#[tokio::test]
async fn a_silent_broker_is_dropped_and_its_connection_closed() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), "scanNotActiveBrokerInterval=100\n").await;
    let broker = RemotingClient::new(ClientConfig::default(), Arc::new(NoRequests));
    running.register(&broker, 400).await;
    let connection = broker.connection(&running.address).await.unwrap();
    let heartbeat = BrokerHeartbeatRequestHeader {
        cluster_name: "c".into(),
        broker_addr: "a:1".into(),
        broker_name: "b".into(),
    };
    running
        .call(
            Command::request(code::BROKER_HEARTBEAT).with(&heartbeat),
            "",
        )
        .await;
    running.route_gone("t1").await;
    let closed = async {
        while !connection.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
    running.nameserver.shutdown().await;
}

struct Heard(mpsc::Sender<Command>);

impl common::transport::Service for Heard {
    type Session = ();
    fn connected(&self, _: &Arc<Connection>) {}
    fn turn(
        &self,
        (): &mut (),
        _: &Arc<Connection>,
        requests: &mut common::transport::Requests<'_>,
        _: &mut common::transport::Replies<'_>,
    ) {
        while let Some((command, _)) = requests.next() {
            self.0.try_send(command.clone()).unwrap();
        }
    }
    fn closed(&self, (): (), _: &Arc<Connection>) {}
}

#[tokio::test]
async fn a_group_is_told_when_its_smallest_id_changes() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), "notifyMinBrokerIdChanged=true\n").await;
    let (sender, mut heard) = mpsc::channel(8);
    let threads = IoThreads::start("slave", 1).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let slave = Listener::bind(address).unwrap();
    let slave = slave.serve(&threads, Arc::new(Heard(sender)), PATIENCE);
    let slave_address = slave.local_addr().to_string();

    running.register(&running.client, LONG_MS).await;
    let header = RegisterBrokerRequestHeader {
        broker_name: "b".into(),
        broker_addr: slave_address.clone(),
        cluster_name: "c".into(),
        ha_server_addr: "ha".into(),
        broker_id: 1,
        ..RegisterBrokerRequestHeader::default()
    };
    let answer = running
        .call(Command::request(code::REGISTER_BROKER).with(&header), "")
        .await;
    assert_eq!(answer.command.fields.get("masterAddr"), Some("a:1"));
    let leaving = BrokerRequestHeader {
        broker_name: "b".into(),
        broker_addr: "a:1".into(),
        cluster_name: "c".into(),
        broker_id: 0,
    };
    running
        .call(Command::request(code::UNREGISTER_BROKER).with(&leaving), "")
        .await;
    let told = tokio::time::timeout(PATIENCE, heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (told.code, told.is_oneway()),
        (code::NOTIFY_MIN_BROKER_ID_CHANGE, true)
    );
    assert_eq!(
        told.fields.get("minBrokerAddr"),
        Some(slave_address.as_str())
    );
    assert_eq!(told.fields.get("offlineBrokerAddr"), Some("a:1"));
    running.nameserver.shutdown().await;
}

#[tokio::test]
async fn changes_are_answered_after_they_are_on_disk_and_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), "").await;
    let connection = running.client.connection(&running.address).await.unwrap();
    let put = |value: i32| {
        let header = PutKvConfigRequestHeader {
            namespace: Some("n".into()),
            key: Some("k".into()),
            value: Some(value.to_string()),
        };
        Command::request(code::PUT_KV_CONFIG).with(&header)
    };
    for value in 0..20 {
        connection.send_oneway(put(value), Bytes::new());
    }
    assert_eq!(running.call(put(20), "").await.command.code, 0);
    let text = std::fs::read_to_string(dir.path().join("kvConfig.json")).unwrap();
    assert!(text.contains("\"20\""), "{text}");
    running.nameserver.shutdown().await;

    let running = start(dir.path(), "").await;
    let mut list = Command::request(code::GET_KVLIST_BY_NAMESPACE);
    list.fields.push("namespace", "n");
    let table = KvTable::decode(&running.call(list, "").await.body).unwrap();
    assert_eq!(table.table["k"], "20");
    let delete = DeleteKvConfigRequestHeader {
        namespace: Some("n".into()),
        key: None,
    };
    let answer = running
        .call(Command::request(code::DELETE_KV_CONFIG).with(&delete), "")
        .await;
    assert_eq!(
        answer.command.remark.as_deref(),
        Some("namespace or key is null")
    );
    running.nameserver.shutdown().await;
}

#[tokio::test]
async fn settings_change_at_run_time_except_places() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), "").await;
    let update =
        |body: &'static str| running.call(Command::request(code::UPDATE_NAMESRV_CONFIG), body);
    for key in [
        "kvConfigPath",
        "configStorePath",
        "configBlackList",
        "rocketmqHome",
    ] {
        let body = format!("enableAllTopicList=false\n{key}=/nowhere\n");
        let answer = running
            .call(Command::request(code::UPDATE_NAMESRV_CONFIG), body)
            .await;
        assert_eq!(answer.command.code, response_code::NO_PERMISSION, "{key}");
    }
    let list = || {
        running.call(
            Command::request(code::GET_ALL_TOPIC_LIST_FROM_NAMESERVER),
            "",
        )
    };
    assert_eq!(
        TopicList::decode(&list().await.body),
        Ok(TopicList::default())
    );
    assert_eq!(
        update("enableAllTopicList=false\nunheard=1\n")
            .await
            .command
            .code,
        0
    );
    assert_eq!(list().await.command.remark.as_deref(), Some("disable"));
    let file = std::fs::read_to_string(dir.path().join("namesrv.properties")).unwrap();
    assert!(file.ends_with("enableAllTopicList=false\n"), "{file}");
    let shown = running
        .call(Command::request(code::GET_NAMESRV_CONFIG), "")
        .await;
    let shown = String::from_utf8(shown.body.to_vec()).unwrap();
    assert!(
        shown.lines().any(|line| line == "enableAllTopicList=false"),
        "{shown}"
    );
    running.nameserver.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_what_the_table_holds() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(
        dir.path(),
        "needWaitForService=true\nwaitSecondsForService=100000\n",
    )
    .await;
    running.register(&running.client, LONG_MS).await;
    assert_eq!(running.page("/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(
        running.page("/readyz").0,
        "HTTP/1.1 503 Service Unavailable"
    );
    let answer = running.route("t1").await;
    assert_eq!(
        answer.command.remark.as_deref(),
        Some("name server not ready")
    );
    let json = |path| -> serde_json::Value { serde_json::from_str(&running.page(path).1).unwrap() };
    assert_eq!(
        json("/api/v1/topics"),
        serde_json::json!({"topics": ["t1", "t2"]})
    );
    assert_eq!(
        json("/api/v1/topics/t1/route")["brokerDatas"][0]["brokerAddrs"]["0"],
        "a:1"
    );
    assert_eq!(json("/api/v1/topics/t9/route")["code"], "TOPIC_NOT_EXIST");
    assert_eq!(json("/api/v1/cluster")["clusterAddrTable"]["c"][0], "b");
    let broker = &json("/api/v1/brokers")["brokers"][0];
    assert_eq!(
        (&broker["brokerName"], &broker["timeoutMs"]),
        (&"b".into(), &LONG_MS.into())
    );
    let metrics = running.page("/metrics").1;
    for line in [
        "rocketmq_namesrv_topics 2",
        "rocketmq_namesrv_requests_total{code=\"103\"} 1",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{metrics}");
    }
    running.nameserver.shutdown().await;
}
