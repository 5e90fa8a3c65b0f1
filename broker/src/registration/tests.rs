use super::*;
use common::clock::SystemClock;
use common::message::record::body_crc;
use common::transport::{IoThreads, Listener, Replies, Requests, Server, Service};
use common::wire::body::{KvTable, RegisterBrokerBody, TopicConfig};
use common::wire::header::{QueryDataVersionResponseHeader, RegisterBrokerRequestHeader};
use common::wire::{request_code, response_code};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a name server was told.
#[derive(Debug)]
enum Heard {
    Register(Box<RegisterBrokerRequestHeader>, RegisterBrokerBody),
    Query,
    Unregister,
}

type Answer = Box<dyn FnMut(&Heard) -> Option<Reply> + Send>;

/// A name server that answers as a test wants.
struct Mock {
    heard: mpsc::Sender<Heard>,
    answer: Mutex<Answer>,
}

impl Service for Mock {
    type Session = ();

    fn connected(&self, _: &Arc<Connection>) {}

    fn turn(
        &self,
        (): &mut (),
        _: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        while let Some((command, body)) = requests.next() {
            let heard = match command.code {
                request_code::REGISTER_BROKER => {
                    let header: RegisterBrokerRequestHeader = command.header().unwrap();
                    assert_eq!(
                        header.expected_crc().unwrap_or(0).unsigned_abs(),
                        body_crc(body)
                    );
                    Heard::Register(Box::new(header), RegisterBrokerBody::decode(body).unwrap())
                }
                request_code::QUERY_DATA_VERSION => Heard::Query,
                request_code::UNREGISTER_BROKER => Heard::Unregister,
                code => panic!("request code {code}"),
            };
            if let Some(reply) = (self.answer.lock())(&heard) {
                replies.push(command.reply_to(), reply);
            }
            // A test that is over listens no more.
            let _ = self.heard.try_send(heard);
        }
    }

    fn closed(&self, (): (), _: &Arc<Connection>) {}
}

struct MockServer {
    server: Server,
    heard: mpsc::Receiver<Heard>,
    _threads: IoThreads,
}

impl MockServer {
    fn start(
        address: SocketAddr,
        answer: impl FnMut(&Heard) -> Option<Reply> + Send + 'static,
    ) -> Self {
        Self::serve(Listener::bind(address).unwrap(), answer)
    }

    fn serve(
        listener: Listener,
        answer: impl FnMut(&Heard) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let (heard, receiver) = mpsc::channel(1000);
        let threads = IoThreads::start("mock", 1).unwrap();
        let mock = Arc::new(Mock {
            heard,
            answer: Mutex::new(Box::new(answer)),
        });
        Self {
            server: listener.serve(&threads, mock, Duration::from_mins(2)),
            heard: receiver,
            _threads: threads,
        }
    }

    fn agreeing() -> Self {
        Self::start(any_port(), |_| Some(Reply::ok()))
    }

    fn address(&self) -> String {
        self.server.local_addr().to_string()
    }

    async fn next(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.heard.recv())
            .await
            .expect("nothing heard in time")
            .unwrap()
    }

    async fn next_topics(&mut self) -> Vec<String> {
        match self.next().await {
            Heard::Register(_, body) => topics_of(&body),
            other => panic!("{other:?}"),
        }
    }
}

fn topics_of(body: &RegisterBrokerBody) -> Vec<String> {
    body.topic_config_serialize_wrapper
        .topic_config_table
        .keys()
        .cloned()
        .collect()
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn table(directory: &tempfile::TempDir) -> TopicTable {
    let config = crate::config::BrokerConfig {
        broker_name: "b".to_owned(),
        ..Default::default()
    };
    let path = directory.path().join("topics.json");
    TopicTable::open(
        &mut crate::kv::testing::Memory::default().start(),
        &path,
        Arc::new(config.into()),
        Arc::new(SystemClock::new()),
    )
    .unwrap()
}

fn settings(name_servers: Vec<String>) -> RegistrationSettings {
    RegistrationSettings {
        cluster_name: "c".to_owned(),
        broker_name: "b".to_owned(),
        broker_id: 0,
        broker_addr: "127.0.0.1:10911".to_owned(),
        ha_server_addr: "127.0.0.1:10912".to_owned(),
        name_servers,
        period: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        force: true,
        portion: None,
        permission: 6,
    }
}

async fn start(settings: RegistrationSettings, topics: TopicTable) -> Registration {
    Registration::start(watch::channel(settings).1, topics).await
}

fn named(topic: &str) -> TopicConfig {
    TopicConfig::new(topic, 4, 6)
}

#[tokio::test]
async fn every_name_server_hears_everything_then_what_changes_then_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    let mut servers = [MockServer::agreeing(), MockServer::agreeing()];
    let addresses = servers.iter().map(MockServer::address).collect();
    let registration = start(settings(addresses), topics.clone()).await;
    for server in &mut servers {
        let Heard::Register(header, body) = server.next().await else {
            panic!("not a registration")
        };
        assert_eq!(
            (header.broker_name.as_str(), header.broker_addr.as_str()),
            ("b", "127.0.0.1:10911")
        );
        assert!(topics_of(&body).len() > 10 && topics_of(&body).contains(&"TBW102".to_owned()));
    }
    topics.update(named("t")).unwrap();
    for server in &mut servers {
        assert_eq!(server.next_topics().await, ["t"]);
    }
    topics.delete("t").unwrap();
    for server in &mut servers {
        let all = server.next_topics().await;
        assert!(all.len() > 10 && !all.contains(&"t".to_owned()));
    }
    topics.update(named("u")).unwrap();
    for server in &mut servers {
        assert_eq!(server.next_topics().await, ["u"]);
    }
    registration.shutdown().await;
    for server in &mut servers {
        assert!(matches!(server.next().await, Heard::Unregister));
    }
}

#[tokio::test]
async fn a_refused_change_is_followed_by_everything() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    let mut server = MockServer::start(any_port(), |heard| match heard {
        Heard::Register(_, body) if topics_of(body).len() == 1 => Some(Reply::error(
            response_code::SYSTEM_ERROR,
            "register broker failed",
        )),
        _ => Some(Reply::ok()),
    });
    let registration = start(settings(vec![server.address()]), topics.clone()).await;
    assert!(server.next_topics().await.len() > 1);
    topics.update(named("t")).unwrap();
    assert_eq!(server.next_topics().await, ["t"]);
    let all = server.next_topics().await;
    assert!(all.len() > 10 && all.contains(&"t".to_owned()));
    registration.shutdown().await;
}

#[tokio::test]
async fn a_name_server_that_comes_later_is_found_and_one_that_comes_back_hears_everything() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    // An address of its own, so that nobody else takes the port while nothing listens there.
    let address = std::net::TcpListener::bind("127.61.7.9:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let registration = start(settings(vec![address.to_string()]), topics.clone()).await;
    for _ in 0..2 {
        let listener = tokio::time::timeout(PATIENCE, listen_again(address));
        let mut server = MockServer::serve(listener.await.unwrap(), |_| Some(Reply::ok()));
        assert!(server.next_topics().await.len() > 10);
        server.server.shutdown(PATIENCE).await;
    }
    registration.shutdown().await;
}

/// Listens where a server has just stopped to, as soon as its socket is gone.
async fn listen_again(address: SocketAddr) -> Listener {
    loop {
        match Listener::bind(address) {
            Ok(listener) => return listener,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_name_server_that_hangs_delays_the_start_a_second_and_others_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    let hanging = MockServer::start(any_port(), |_| None);
    let mut server = MockServer::agreeing();
    let addresses = vec![hanging.address(), server.address()];
    let started = tokio::time::timeout(PATIENCE, start(settings(addresses), topics.clone()))
        .await
        .unwrap();
    assert!(server.next_topics().await.len() > 10);
    topics.update(named("t")).unwrap();
    assert_eq!(server.next_topics().await, ["t"]);
    started.shutdown().await;
}

#[tokio::test]
async fn order_topics_of_the_answer_are_marked_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    topics.update(named("t")).unwrap();
    let listed = KvTable {
        table: [("t".to_owned(), "b:4".to_owned())].into(),
    };
    let mut server = MockServer::start(any_port(), move |_| {
        Some(Reply::ok().with_body(listed.encode()))
    });
    let registration = start(settings(vec![server.address()]), topics.clone()).await;
    server.next().await;
    let Heard::Register(_, body) = server.next().await else {
        panic!("not a registration")
    };
    assert!(body.topic_config_serialize_wrapper.topic_config_table["t"].order);
    assert!(topics.get("t").unwrap().order);
    registration.shutdown().await;
}

#[tokio::test]
async fn without_force_a_name_server_that_knows_is_only_asked() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    let same = QueryDataVersionResponseHeader { changed: false };
    let mut server = MockServer::start(any_port(), move |_| Some(Reply::ok().with_header(&same)));
    let unforced = RegistrationSettings {
        force: false,
        ..settings(vec![server.address()])
    };
    let registration = start(unforced, topics.clone()).await;
    assert!(matches!(server.next().await, Heard::Query));
    topics.update(named("t")).unwrap();
    assert_eq!(server.next_topics().await, ["t"]);
    registration.shutdown().await;
}

#[tokio::test]
async fn portions_have_versions_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let topics = table(&directory);
    let count = topics.len();
    let mut server = MockServer::agreeing();
    let split = RegistrationSettings {
        portion: Some(4),
        ..settings(vec![server.address()])
    };
    let registration = start(split, topics.clone()).await;
    let (mut told, mut last) = (0, -1);
    while told < count {
        let Heard::Register(_, body) = server.next().await else {
            panic!("not a registration")
        };
        let topics = body.topic_config_serialize_wrapper;
        assert!(topics.topic_config_table.len() <= 4 && topics.data_version.counter > last);
        last = topics.data_version.counter;
        told += topics.topic_config_table.len();
    }
    topics.update(named("t")).unwrap();
    assert_eq!(server.next_topics().await, ["t"]);
    registration.shutdown().await;
}

fn permissions(heard: Heard) -> Option<i32> {
    let Heard::Register(_, body) = heard else {
        panic!("not a registration")
    };
    let topics = body.topic_config_serialize_wrapper.topic_config_table;
    topics.into_values().map(|topic| topic.perm).max()
}

#[tokio::test]
async fn a_broker_that_may_not_be_written_says_so_for_every_topic_as_soon_as_it_is_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = MockServer::agreeing();
    let read_only = RegistrationSettings {
        permission: 4,
        ..settings(vec![server.address()])
    };
    let (sender, receiver) = watch::channel(read_only);
    let registration = Registration::start(receiver, table(&directory)).await;
    assert_eq!(permissions(server.next().await), Some(4));
    sender.send_modify(|settings| settings.permission = 6);
    assert_eq!(permissions(server.next().await), Some(7));
    registration.shutdown().await;
}

#[tokio::test]
async fn a_name_server_that_is_named_later_is_told_then() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = MockServer::agreeing();
    let (sender, receiver) = watch::channel(settings(Vec::new()));
    let registration = Registration::start(receiver, table(&directory)).await;
    sender.send_modify(|settings| settings.name_servers.push(server.address()));
    assert!(!server.next_topics().await.is_empty());
    registration.shutdown().await;
}

#[tokio::test]
async fn names_are_resolved_to_addresses_of_one_family() {
    let names = ["localhost:9876", "127.0.0.1:9876", "127.0.0.2:1"].map(str::to_owned);
    let (addresses, complete) = resolve(&names).await;
    assert!(complete && addresses.iter().all(SocketAddr::is_ipv4));
    assert_eq!(addresses.len(), 2);
    let (none, complete) = resolve(&["no-such-host.invalid:1".to_owned()]).await;
    assert!(none.is_empty() && !complete);
}
