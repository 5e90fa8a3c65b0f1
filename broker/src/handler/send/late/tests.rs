use super::super::reply::Answer;
use super::*;
use crate::client::testing::{Client, Loopback, Served};
use crate::testing::Stored;
use crate::topic::{MessageType, Topic};
use common::ids::{PhysicalOffset, QueueOffset};
use common::wire::Command;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Stores nothing: a request's `flag` bits do not matter, its code is the position its message ends at.
struct Disk {
    flushed: watch::Receiver<u64>,
    patience: Duration,
    topic: Arc<Topic>,
    stored: Stored,
}

impl Served for Disk {
    fn answer(&self, connection: &Arc<Connection>, command: &Command, _: &[u8]) -> Option<Reply> {
        let end = u32::try_from(command.code).unwrap();
        let host = (Ipv4Addr::LOCALHOST, 10911).into();
        let late = Late {
            connection: Arc::clone(connection),
            template: Arc::new(ReplyTemplate::new(host, "r", false)),
            sent: vec![Pending::new(
                (command.reply_to(), Answer::Sent),
                (MessageType::Normal, Some(Arc::clone(&self.topic))),
                3,
                0..1,
            )],
            end: u64::from(end),
            appended: vec![Appended {
                physical_offset: PhysicalOffset(0),
                queue_offset: QueueOffset(u64::from(end)),
                store_timestamp: 0,
                bytes: end,
            }],
            unique_keys: String::new(),
            deadline: Instant::now() + self.patience,
        };
        late.wait(self.flushed.clone(), &self.stored.writer);
        None
    }

    fn closed(&self, _: &Connection) {}
}

const LONG: Duration = Duration::from_mins(10);

fn serve(patience: Duration) -> (watch::Sender<u64>, Loopback, Client) {
    let (disk, flushed) = watch::channel(0);
    let stored = Stored::new();
    stored.create("t", 4);
    let served = Loopback::serve(Arc::new(Disk {
        flushed,
        patience,
        topic: stored.topics.get("t").unwrap(),
        stored,
    }));
    let client = served.client();
    (disk, served, client)
}

/// Code and queue offset of the answer to a message that ends at `end`.
async fn send(client: &Client, end: i32) -> (i32, Option<String>) {
    let (answer, _) = client.call(Command::request(end), "").await;
    let offset = answer.fields.get("queueOffset").map(ToOwned::to_owned);
    (answer.code, offset)
}

#[tokio::test]
async fn answers_wait_for_the_disk_and_no_longer() {
    let (disk, _served, client) = serve(LONG);
    let stored = |end: i32| (response_code::SUCCESS, Some(end.to_string()));
    for round in 0..3 {
        let base = round * 100;
        let (ten, twenty) = (base + 10, base + 20);
        let flush = |to: i32| disk.send(u64::try_from(to).unwrap()).unwrap();
        let mut first = std::pin::pin!(send(&client, ten));
        let mut second = std::pin::pin!(send(&client, twenty));
        tokio::select! {
            biased;
            _ = &mut first => panic!("answered before the sync"),
            _ = &mut second => panic!("answered before the sync"),
            () = tokio::task::yield_now() => {}
        }
        flush(ten + 5);
        tokio::select! {
            biased;
            answer = &mut second => panic!("answered before its sync: {answer:?}"),
            answer = &mut first => assert_eq!(answer, stored(ten)),
        }
        flush(twenty);
        assert_eq!(second.await, stored(twenty));
    }
}

#[tokio::test]
async fn who_waits_too_long_is_told_that_the_message_isstored_and_no_more() {
    let (disk, _served, client) = serve(Duration::from_millis(1));
    let slow = response_code::FLUSH_DISK_TIMEOUT;
    assert_eq!(send(&client, 7).await, (slow, Some("7".to_owned())));
    assert_eq!(send(&client, 8).await, (slow, Some("8".to_owned())));
    drop(disk);
}

#[tokio::test]
async fn disk_that_has_failed_acknowledges_nothing() {
    let (disk, _served, client) = serve(LONG);
    let mut waiting = std::pin::pin!(send(&client, 7));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("answered before the sync"),
        () = tokio::task::yield_now() => {}
    }
    drop(disk);
    let refused = (response_code::SERVICE_NOT_AVAILABLE, None);
    assert_eq!(waiting.await, refused);
    assert_eq!(send(&client, 8).await, refused);
}
