use super::*;
use crate::client::ClientInfo;
use crate::client::testing::{Client, Loopback, Served};
use crate::config::BrokerConfig;
use crate::testing::Stored;
use bytes::Bytes;
use common::clock::{ManualClock, Millis};
use common::message::{properties, record};
use common::wire::body::{
    ConsumerData, MessageModel, SubscriptionData, SubscriptionGroupConfig, TopicConfig,
};
use common::wire::header::PullMessageResponseHeader;
use common::wire::{LanguageCode, request_code};
use std::net::{Ipv4Addr, SocketAddr};
use store::{RecordBatch, RecordParts};

const TOPIC: &str = "t";
const GROUP: &str = "g";

struct World {
    handler: Arc<PullHandler>,
    hold: HeldPulls,
    clock: Arc<ManualClock>,
    stored: Stored,
}

impl World {
    /// A broker's pull side with one topic of two queues, on a clock that stands still.
    fn new(change: impl FnOnce(&mut BrokerConfig)) -> Arc<Self> {
        let mut config = BrokerConfig {
            broker_ip1: "10.0.0.1".to_owned(),
            ..BrokerConfig::default()
        };
        change(&mut config);
        let clock = Arc::new(ManualClock::new(Millis(0)));
        let hold: HeldPulls = Arc::new(PullHoldService::new(clock.clone()));
        let stored = Stored::on(config, clock.clone(), hold.clone());
        stored.create(TOPIC, 2);
        Arc::new(Self {
            handler: PullHandler::new(stored.state.clone(), hold.clone()),
            hold,
            clock,
            stored,
        })
    }

    fn send(&self, queue_id: u32, body: &str, tags: &str) {
        let mut text = String::new();
        if !tags.is_empty() {
            properties::write(&mut text, properties::TAGS, tags);
        }
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let parts = RecordParts {
            topic: TOPIC,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: &text,
        };
        let (mut batch, mut appended) = (RecordBatch::default(), Vec::new());
        batch
            .push(&self.stored.writer.queue(TOPIC, queue_id), &parts)
            .unwrap();
        self.stored
            .writer
            .append_batch(&mut batch, &mut appended)
            .unwrap();
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.hold.expire();
    }

    /// Registers the caller's connection in the group with a subscription to `TOPIC`.
    fn subscription(text: &str, version: i64) -> SubscriptionData {
        SubscriptionData {
            topic: TOPIC.to_owned(),
            sub_string: text.to_owned(),
            sub_version: version,
            ..SubscriptionData::default()
        }
    }
}

impl Served for World {
    fn answer(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        body: &[u8],
    ) -> Option<Reply> {
        if command.code != request_code::HEART_BEAT {
            let lite = command.code == request_code::LITE_PULL_MESSAGE;
            return match command.header() {
                Ok(header) => self.handler.handle(connection, command, header, lite),
                Err(error) => Some(error.into()),
            };
        }
        let client = ClientInfo {
            client_id: "c".to_owned(),
            language: LanguageCode::JAVA,
            version: command.version,
        };
        let beat = crate::client::Beat {
            connection: connection.id(),
            handle: connection,
            client: &client,
            without_sub: false,
            fingerprint: 0,
            notified: false,
        };
        self.stored
            .clients
            .consumers
            .register(&beat, ConsumerData::decode(body).unwrap());
        Some(Reply::ok())
    }

    fn closed(&self, connection: &Connection) {
        self.stored.clients.closed(connection);
        self.hold.closed(connection.id());
    }
}

fn header() -> PullMessageRequestHeader {
    PullMessageRequestHeader {
        consumer_group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        max_msg_nums: 32,
        sys_flag: 4,
        ..PullMessageRequestHeader::default()
    }
}

struct Pulled {
    code: i32,
    remark: String,
    bodies: Vec<String>,
    answer: Command,
}

impl Pulled {
    fn header(&self) -> PullMessageResponseHeader {
        self.answer.header().unwrap()
    }

    fn next(&self) -> i64 {
        self.header().next_begin_offset
    }

    /// Code, `forbiddenType` and remark of a refusal.
    fn refusal(&self) -> (i32, Option<&str>, &str) {
        (
            self.code,
            self.answer.fields.get("forbiddenType"),
            &self.remark,
        )
    }
}

async fn pull(client: &Client, change: impl FnOnce(&mut PullMessageRequestHeader)) -> Pulled {
    let mut header = header();
    change(&mut header);
    let command = Command::request(request_code::PULL_MESSAGE).with(&header);
    pulled(client.call(command, Bytes::new()).await)
}

fn pulled((answer, body): (Command, Bytes)) -> Pulled {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    Pulled {
        code: answer.code,
        remark: answer.remark.clone().unwrap_or_default(),
        bodies: record::iter(&body)
            .map(|message| text(message.unwrap().body))
            .collect(),
        answer,
    }
}

/// Parks a pull in the background; returns once it is parked.
async fn park(
    world: &World,
    client: &Arc<Client>,
    change: impl FnOnce(&mut PullMessageRequestHeader) + Send + 'static,
) -> tokio::task::JoinHandle<Pulled> {
    let before = world.hold.len();
    let client = Arc::clone(client);
    let waiting = tokio::spawn(async move {
        pull(&client, |header| {
            header.sys_flag |= PULL_SUSPEND;
            header.suspend_timeout_millis = Some(15_000);
            change(header);
        })
        .await
    });
    while world.hold.len() == before {
        tokio::task::yield_now().await;
    }
    waiting
}

async fn heartbeat(client: &Client, model: MessageModel, subscription: SubscriptionData) {
    let data = ConsumerData {
        group_name: GROUP.to_owned(),
        message_model: model,
        subscription_data_set: vec![subscription],
        ..ConsumerData::default()
    };
    client
        .call(Command::request(request_code::HEART_BEAT), data.encode())
        .await;
}

#[tokio::test]
async fn a_pull_returns_records_and_where_to_go_on() {
    let world = World::new(|_| {});
    let (loopback, group) = (
        Loopback::serve(Arc::clone(&world)),
        SubscriptionGroupConfig {
            group_sys_flag: 5,
            ..SubscriptionGroupConfig::new(GROUP)
        },
    );
    world.stored.groups.update(group).unwrap();
    for body in ["a", "b", "c"] {
        world.send(0, body, "");
    }
    let client = loopback.client();
    let found = pull(&client, |header| header.queue_offset = 1).await;
    assert_eq!(
        (found.code, found.remark.as_str()),
        (response_code::SUCCESS, "FOUND")
    );
    assert_eq!(found.bodies, ["b", "c"]);
    let expected = PullMessageResponseHeader {
        suggest_which_broker_id: 0,
        next_begin_offset: 3,
        min_offset: 0,
        max_offset: 3,
        topic_sys_flag: Some(0),
        group_sys_flag: Some(5),
        forbidden_type: None,
    };
    assert_eq!(found.header(), expected);
    assert_eq!(
        pull(&client, |header| header.max_msg_nums = 0).await.bodies,
        ["a"]
    );
    assert_eq!(world.stored.offsets.pull_offset(GROUP, TOPIC, 0), Some(1));
    assert_eq!(world.stored.metrics.totals().delivered, 3);
}

#[tokio::test]
async fn offsets_outside_the_queue_are_moved() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    world.send(0, "a", "");
    let client = loopback.client();
    for (queue_id, offset, code, remark, next) in [
        (0, 1, 19, "OFFSET_OVERFLOW_ONE", 1),
        (0, 9, 21, "OFFSET_OVERFLOW_BADLY", 1),
        (0, -1, 21, "OFFSET_TOO_SMALL", 0),
        (1, 0, 19, "NO_MESSAGE_IN_QUEUE", 0),
        (1, 5, 21, "NO_MESSAGE_IN_QUEUE", 0),
        (1, -1, 21, "NO_MESSAGE_IN_QUEUE", 0),
    ] {
        let moved = pull(&client, |header| {
            (header.queue_id, header.queue_offset) = (queue_id, offset);
        });
        let moved = moved.await;
        assert_eq!(
            (moved.code, moved.remark.as_str(), moved.next()),
            (code, remark, next)
        );
    }
}

#[tokio::test]
async fn refusals_come_in_the_order_of_the_checks() {
    let world = World::new(|config| config.lite_pull_message_enable = false);
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = loopback.client();
    let mut asked = header();
    asked.consumer_group = "bad.group".to_owned();
    asked.topic = "absent".to_owned();
    asked.queue_id = 2;
    asked.sys_flag = 0;
    let command = Command::request(request_code::LITE_PULL_MESSAGE).with(&asked);
    let lite = pulled(client.call(command, Bytes::new()).await);
    let remark = "the broker[10.0.0.1] for lite pull consumer is forbidden";
    assert_eq!(lite.refusal(), (16, Some("1"), remark));
    let off = SubscriptionGroupConfig {
        consume_enable: false,
        ..SubscriptionGroupConfig::new("off")
    };
    world.stored.groups.update(off).unwrap();
    world
        .stored
        .topics
        .update(TopicConfig::new("w", 1, 2))
        .unwrap();
    let mut ask = async |change: &dyn Fn(&mut PullMessageRequestHeader)| {
        change(&mut asked);
        let command = Command::request(request_code::PULL_MESSAGE).with(&asked);
        let refused = pulled(client.call(command, Bytes::new()).await);
        let (code, forbidden, remark) = refused.refusal();
        let remark = remark.split('\n').next().unwrap().to_owned();
        (code, forbidden.map(str::to_owned), remark)
    };
    let refused = |code, forbidden: Option<&str>, remark: &str| {
        (code, forbidden.map(str::to_owned), remark.to_owned())
    };
    let got = ask(&|_| {}).await;
    assert_eq!(
        got,
        refused(26, None, "subscription group [bad.group] does not exist, ")
    );
    let got = ask(&|header| header.consumer_group = "off".to_owned()).await;
    assert_eq!(
        got,
        refused(16, Some("2"), "subscription group no permission, off")
    );
    let got = ask(&|header| header.consumer_group = GROUP.to_owned()).await;
    assert_eq!(
        got,
        refused(17, None, "topic[absent] not exist, apply first please! ")
    );
    let got = ask(&|header| header.topic = "w".to_owned()).await;
    assert_eq!(
        got,
        refused(16, Some("3"), "the topic[w] pulling message is forbidden")
    );
    let got = ask(&|header| header.topic = TOPIC.to_owned()).await;
    let remark = format!(
        "queueId[2] is illegal, topic:[t] topicConfig.readQueueNums:[2] consumer:[/{}]",
        client.local().await
    );
    assert_eq!(got, refused(29, None, &remark));
    let got = ask(&|header| header.queue_id = 0).await;
    assert_eq!(
        got,
        refused(24, None, "the consumer's group info not exist")
    );
}

#[tokio::test]
async fn a_broker_without_read_permission_refuses_everything() {
    let world = World::new(|config| config.broker_permission = 2);
    let loopback = Loopback::serve(world);
    let refused = pull(&loopback.client(), |_| {}).await;
    let remark = "the broker[10.0.0.1] pulling message is forbidden";
    assert_eq!(refused.refusal(), (16, Some("1"), remark));
}

#[tokio::test]
async fn expressions_of_a_pull_select_or_are_refused() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    for (body, tags) in [("a", "A"), ("b", "B"), ("c", "")] {
        world.send(0, body, tags);
    }
    let client = loopback.client();
    let ask = async |kind: Option<&str>, text: Option<&str>| {
        pull(&client, |header| {
            header.expression_type = kind.map(str::to_owned);
            header.subscription = text.map(str::to_owned);
        })
        .await
    };
    assert_eq!(ask(None, None).await.bodies, ["a", "b", "c"]);
    assert_eq!(ask(Some("TAG"), Some("B || X")).await.bodies, ["b"]);
    let none = ask(Some("TAG"), Some("X")).await;
    assert_eq!(
        (none.code, none.next()),
        (response_code::PULL_RETRY_IMMEDIATELY, 3)
    );
    let failed = "parse the consumer's subscription failed";
    assert_eq!(
        ask(Some("TAG"), Some("||")).await.refusal(),
        (23, None, failed)
    );
    assert_eq!(ask(Some("SQL92"), None).await.refusal(), (23, None, failed));
    let unsupported = "The broker does not support consumer to filter message by SQL92";
    assert_eq!(
        ask(Some("SQL92"), Some("a = 5")).await.refusal(),
        (1, None, unsupported)
    );
}

#[tokio::test]
async fn a_pull_by_registration_needs_the_groups_newest_subscription() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let (client, model) = (loopback.client(), MessageModel::Clustering);
    let ask = async |version| {
        pull(&client, |header| {
            (header.sys_flag, header.sub_version) = (0, Some(version));
        })
        .await
    };
    let elsewhere = SubscriptionData {
        topic: "u".to_owned(),
        ..World::subscription("*", 1)
    };
    heartbeat(&client, model, elsewhere).await;
    assert_eq!(ask(0).await.code, response_code::SUBSCRIPTION_NOT_EXIST);
    heartbeat(&client, model, World::subscription("*", 100)).await;
    assert_eq!(ask(100).await.code, response_code::PULL_NOT_FOUND);
    let newer = ask(101).await;
    assert_eq!(
        newer.refusal(),
        (25, None, "the consumer's subscription not latest")
    );
    let sql = SubscriptionData {
        expression_type: "SQL92".to_owned(),
        ..World::subscription("a = 5", 101)
    };
    heartbeat(&client, model, sql).await;
    assert_eq!(ask(101).await.code, response_code::SYSTEM_ERROR);
    let private = SubscriptionGroupConfig {
        consume_broadcast_enable: false,
        ..SubscriptionGroupConfig::new(GROUP)
    };
    world.stored.groups.update(private).unwrap();
    heartbeat(
        &client,
        MessageModel::Broadcasting,
        World::subscription("*", 102),
    )
    .await;
    let refused = ask(102).await;
    let remark = "the consumer group[g] can not consume by broadcast way";
    assert_eq!(refused.refusal(), (16, Some("4"), remark));
}

#[tokio::test]
async fn pull_consumers_are_refused_where_they_are_rejected() {
    let world = World::new(|config| config.reject_pull_consumer_enable = true);
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = loopback.client();
    let refused = pull(&client, |_| {}).await;
    assert_eq!(refused.code, response_code::SUBSCRIPTION_NOT_EXIST);
    assert!(
        refused
            .remark
            .contains("the pull consumer is rejected by server")
    );
    let own = pull(&client, |header| {
        header.consumer_group = "CID_RMQ_SYS_TRANS".to_owned();
    })
    .await;
    assert_eq!(own.code, response_code::PULL_NOT_FOUND);
    heartbeat(
        &client,
        MessageModel::Clustering,
        World::subscription("*", 1),
    )
    .await;
    assert_eq!(
        pull(&client, |_| {}).await.code,
        response_code::PULL_NOT_FOUND
    );
}

#[tokio::test]
async fn an_arrival_answers_all_holders_of_its_queue() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let (a, b) = (Arc::new(loopback.client()), Arc::new(loopback.client()));
    let first = park(&world, &a, |_| {}).await;
    let second = park(&world, &b, |header| header.consumer_group = "h".to_owned()).await;
    let elsewhere = park(&world, &a, |header| header.queue_id = 1).await;
    world.send(0, "x", "");
    assert_eq!(first.await.unwrap().bodies, ["x"]);
    assert_eq!(second.await.unwrap().bodies, ["x"]);
    assert_eq!(world.hold.len(), 1);
    world.send(1, "y", "");
    assert_eq!(elsewhere.await.unwrap().bodies, ["y"]);
}

#[tokio::test]
async fn a_hold_ends_with_its_time() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = Arc::new(loopback.client());
    let waiting = park(&world, &client, |_| {}).await;
    world.pass(14);
    assert_eq!(world.hold.len(), 1);
    world.pass(1);
    let ended = waiting.await.unwrap();
    assert_eq!(
        (ended.code, ended.next()),
        (response_code::PULL_NOT_FOUND, 0)
    );
    assert!(world.hold.is_empty());
}

#[tokio::test]
async fn without_long_polling_a_hold_is_short() {
    let world = World::new(|config| config.long_polling_enable = false);
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = Arc::new(loopback.client());
    let waiting = park(&world, &client, |_| {}).await;
    world.pass(1);
    assert_eq!(waiting.await.unwrap().code, response_code::PULL_NOT_FOUND);
}

#[tokio::test]
async fn messages_of_other_tags_end_a_hold_soon_and_move_the_offset() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = Arc::new(loopback.client());
    let tagged = |header: &mut PullMessageRequestHeader| header.subscription = Some("A".to_owned());
    let waiting = park(&world, &client, tagged).await;
    world.send(0, "b", "B");
    assert_eq!(world.hold.len(), 1);
    world.pass(5);
    let ended = waiting.await.unwrap();
    assert_eq!(
        (ended.code, ended.next()),
        (response_code::PULL_RETRY_IMMEDIATELY, 1)
    );
    let waiting = park(&world, &client, move |header| {
        tagged(header);
        header.queue_offset = 1;
    });
    let waiting = waiting.await;
    world.send(0, "a", "A");
    assert_eq!(waiting.await.unwrap().bodies, ["a"]);
}

#[tokio::test]
async fn only_the_end_of_a_queue_is_worth_waiting_at() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = loopback.client();
    world.send(0, "a", "A");
    let ask = async |offset, tags: &str| {
        let answer = pull(&client, |header| {
            (header.sys_flag, header.queue_offset) = (4 | PULL_SUSPEND, offset);
            header.suspend_timeout_millis = Some(15_000);
            header.subscription = Some(tags.to_owned());
        });
        answer.await.code
    };
    assert_eq!(ask(7, "*").await, response_code::PULL_OFFSET_MOVED);
    assert_eq!(ask(0, "B").await, response_code::PULL_RETRY_IMMEDIATELY);
    assert_eq!(ask(0, "*").await, response_code::SUCCESS);
}

#[tokio::test]
async fn the_pulls_of_a_closed_connection_are_dropped() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = Arc::new(loopback.client());
    let waiting = park(&world, &client, |_| {}).await;
    waiting.abort();
    assert!(waiting.await.is_err());
    drop(client);
    while !world.hold.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_commit_flag_counts_once_and_before_the_hold() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = Arc::new(loopback.client());
    let offsets = &world.stored.offsets;
    pull(&client, |header| header.commit_offset = Some(3)).await;
    assert_eq!(offsets.committed(GROUP, TOPIC, 0), None);
    let waiting = park(&world, &client, |header| {
        header.sys_flag |= PULL_COMMIT_OFFSET;
        header.commit_offset = Some(2);
    });
    let waiting = waiting.await;
    assert_eq!(offsets.committed(GROUP, TOPIC, 0), Some(2));
    offsets.commit(GROUP, TOPIC, 0, 1);
    world.send(0, "x", "");
    assert_eq!(waiting.await.unwrap().bodies, ["x"]);
    assert_eq!(offsets.committed(GROUP, TOPIC, 0), Some(1));
}

#[tokio::test]
async fn a_reset_is_told_once() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = loopback.client();
    for _ in 0..5 {
        world.send(0, "x", "");
    }
    world.stored.offsets.reset(GROUP, TOPIC, &[(0, 1)].into());
    let told = pull(&client, |header| header.queue_offset = 5).await;
    let (code, remark) = (told.code, told.remark.as_str());
    assert_eq!(
        (code, remark, told.next()),
        (response_code::PULL_OFFSET_MOVED, "OFFSET_RESET", 1)
    );
    assert_eq!((told.header().min_offset, told.header().max_offset), (0, 5));
    let after = pull(&client, |header| header.queue_offset = 5).await;
    assert_eq!(after.code, response_code::PULL_NOT_FOUND);
}

#[tokio::test]
async fn broadcast_offsets_are_handed_over_from_proxies_and_back() {
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let client = loopback.client();
    for body in ["0", "1", "2", "3"] {
        world.send(0, body, "");
    }
    let proxied = async |offset| {
        let answer = pull(&client, |header| {
            (header.queue_offset, header.request_source) = (offset, Some(1));
            header.proxy_forward_client_id = Some("c".to_owned());
        });
        answer.await
    };
    let start = proxied(-1).await;
    assert_eq!((start.remark.as_str(), start.next()), ("OFFSET_RESET", 0));
    assert_eq!(proxied(2).await.bodies, ["2", "3"]);
    heartbeat(
        &client,
        MessageModel::Broadcasting,
        World::subscription("*", 1),
    )
    .await;
    let direct = async |offset| {
        pull(&client, |header| {
            (header.queue_offset, header.sys_flag) = (offset, 0);
        })
        .await
    };
    let handed = direct(0).await;
    assert_eq!((handed.remark.as_str(), handed.next()), ("OFFSET_RESET", 2));
    assert_eq!(direct(2).await.bodies, ["2", "3"]);
    assert_eq!(direct(0).await.bodies.len(), 4);
    world.handler.commit_broadcast_offsets();
    assert_eq!(
        world.stored.offsets.committed("g@broadcast", TOPIC, 0),
        Some(2)
    );
}

#[tokio::test]
async fn messages_out_of_memory_are_answered_later_and_point_to_another_broker() {
    let world = World::new(|config| {
        (
            config.access_message_in_memory_max_ratio,
            config.slave_read_enable,
        ) = (0, true);
    });
    let loopback = Loopback::serve(Arc::clone(&world));
    let group = SubscriptionGroupConfig {
        broker_id: 3,
        which_broker_when_consume_slowly: 2,
        ..SubscriptionGroupConfig::new(GROUP)
    };
    world.stored.groups.update(group).unwrap();
    for _ in 0..20 {
        world.send(0, "x", "");
    }
    let client = loopback.client();
    let found = pull(&client, |_| {}).await;
    assert_eq!(
        (found.bodies.len(), found.header().suggest_which_broker_id),
        (8, 2)
    );
    for offset in [20, 99] {
        let end = pull(&client, |header| header.queue_offset = offset).await;
        assert_eq!(end.header().suggest_which_broker_id, 3);
    }
    assert_eq!(world.handler.cold_reads.load(Ordering::Relaxed), 0);
}

/// The clock stands still, so a pull that misses its message is never answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_between_reading_and_parking() {
    const MESSAGES: i64 = 2_000;
    let world = World::new(|_| {});
    let loopback = Loopback::serve(Arc::clone(&world));
    let sender = {
        let world = Arc::clone(&world);
        tokio::task::spawn_blocking(move || {
            for n in 0..MESSAGES {
                world.send(0, &n.to_string(), "");
                if n % 3 == 0 {
                    std::thread::yield_now();
                }
            }
        })
    };
    let client = loopback.client();
    let mut next = 0;
    while next < MESSAGES {
        let found = pull(&client, |header| {
            (header.sys_flag, header.queue_offset, header.max_msg_nums) =
                (4 | PULL_SUSPEND, next, 1);
            header.suspend_timeout_millis = Some(15_000);
        });
        let found = found.await;
        assert_eq!(found.bodies, [next.to_string()]);
        next += 1;
    }
    sender.await.unwrap();
    assert!(world.hold.is_empty());
}
