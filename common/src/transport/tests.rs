use super::*;
use crate::wire::{Command, Reply, ReplyTo, response_code};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const HELD: i32 = 2;
const RELEASE: i32 = 3;
const CALL_BACK: i32 = 4;
const PANIC: i32 = 5;
const PAUSE: i32 = 6;

/// Echoes bodies; holds requests of code 2 until one of code 3 comes, and pauses for those of code 6 while `gate` has a sender.
#[derive(Default)]
struct Echo {
    gate: Arc<Mutex<Option<std::sync::mpsc::Receiver<()>>>>,
    held: Mutex<Vec<(Arc<Connection>, ReplyTo)>>,
    turns: Mutex<Vec<usize>>,
}

impl Service for Echo {
    type Session = ();
    fn connected(&self, _: &Arc<Connection>) {}
    fn turn(
        &self,
        (): &mut (),
        connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        let (mut count, mut waited) = (0, requests.has_waited());
        while let Some((command, body)) = requests.next() {
            count += 1;
            match command.code {
                PAUSE if !std::mem::take(&mut waited) => {
                    let gate = Arc::clone(&self.gate);
                    requests.pause(move || {
                        let gate = gate.lock();
                        let _ = gate.as_ref().map(std::sync::mpsc::Receiver::recv);
                    });
                }
                HELD => self
                    .held
                    .lock()
                    .push((Arc::clone(connection), command.reply_to())),
                RELEASE => {
                    for (connection, to) in self.held.lock().drain(..) {
                        connection.reply(to, Reply::ok().with_remark("released"));
                    }
                    replies.push(command.reply_to(), Reply::ok());
                }
                CALL_BACK => {
                    connection.send_oneway(Command::request(77), Bytes::from_static(b"hello"));
                }
                PANIC => panic!("asked for"),
                _ => replies.push(
                    command.reply_to(),
                    Reply::ok().with_body(Bytes::copy_from_slice(body)),
                ),
            }
        }
        self.turns.lock().push(count);
    }
    fn closed(&self, (): (), _: &Arc<Connection>) {}
}

struct Peer(tokio::sync::mpsc::Sender<(i32, Bytes)>);
impl PeerRequests for Peer {
    fn request(&self, _: &Arc<Connection>, command: &Command, body: Bytes) -> Option<Reply> {
        self.0.try_send((command.code, body)).unwrap();
        None
    }
}

struct Running {
    server: Server,
    service: Arc<Echo>,
    address: String,
    client: RemotingClient,
    pushed: tokio::sync::mpsc::Receiver<(i32, Bytes)>,
}

fn start(idle: Duration) -> Running {
    let threads = IoThreads::start("test", 2).unwrap();
    let service = Arc::new(Echo::default());
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let server = listener.serve(&threads, Arc::clone(&service), idle);
    let (sender, pushed) = tokio::sync::mpsc::channel(8);
    let address = server.local_addr().to_string();
    Running {
        server,
        service,
        address,
        client: RemotingClient::new(ClientConfig::default(), Arc::new(Peer(sender))),
        pushed,
    }
}

async fn call(
    running: &Running,
    code: i32,
    body: impl Into<Bytes>,
) -> Result<Response, TransportError> {
    running
        .client
        .call(
            &running.address,
            Command::request(code),
            body.into(),
            PATIENCE,
        )
        .await
}

#[tokio::test]
async fn bodies_of_every_size_come_back() {
    let running = start(PATIENCE);
    for size in [0, 1, 2047, 2048, 70_000, 300_000, 5 << 20, (16 << 20) - 512] {
        let body: Vec<u8> = (0..size)
            .map(|i: usize| u8::try_from(i % 251).unwrap())
            .collect();
        let answer = call(&running, 1, body.clone()).await.unwrap();
        assert_eq!(answer.command.code, response_code::SUCCESS);
        assert!(answer.body == body, "{size} bytes");
    }
}

#[tokio::test]
async fn a_connection_that_pauses_goes_on_in_order_and_keeps_no_other() {
    let running = start(PATIENCE);
    let (sender, gate) = std::sync::mpsc::channel();
    *running.service.gate.lock() = Some(gate);
    let frame = |(code, body): (i32, &str)| {
        let mut frame = BytesMut::new();
        Command::request(code).encode_head(body.len(), &mut frame);
        frame.extend_from_slice(body.as_bytes());
        frame
    };
    let requests = [(PAUSE, "a"), (1, "b"), (PAUSE, "c"), (PAUSE, "d"), (1, "e")];
    let frames = requests.map(frame).concat();
    let (address, split) = (running.address.clone(), frames.len() - 1);
    let talk = move || {
        let connect = || {
            let socket = std::net::TcpStream::connect(&address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        let mut paused = connect();
        paused.write_all(&frames[..split]).unwrap();
        // One of each two connections is on the thread of the first.
        for mut other in [connect(), connect()] {
            other.write_all(&frame((1, "x"))).unwrap();
            assert_eq!(bodies(&mut other, 1), "x");
        }
        paused.write_all(&frames[split..]).unwrap();
        drop(sender);
        assert_eq!(bodies(&mut paused, 5), "abcde");
    };
    tokio::task::spawn_blocking(talk).await.unwrap();
}

/// The next bodies that arrive, `bytes` in all.
fn bodies(socket: &mut std::net::TcpStream, bytes: usize) -> String {
    let (mut arrived, mut bodies) = (Vec::new(), String::new());
    while bodies.len() < bytes {
        let mut part = [0; 4096];
        let read = socket.read(&mut part).unwrap();
        assert!(read > 0, "closed after {bodies:?}");
        arrived.extend_from_slice(&part[..read]);
        while let Ok(Some(frame)) = crate::wire::split_frame(&arrived) {
            bodies.push_str(std::str::from_utf8(frame.body).unwrap());
            let total = frame.total;
            arrived.drain(..total);
        }
    }
    bodies
}

#[tokio::test]
async fn a_held_request_does_not_hold_the_ones_behind_it() {
    let running = start(PATIENCE);
    let held = {
        let (client, address) = (running.client.clone(), running.address.clone());
        tokio::spawn(async move {
            client
                .call(&address, Command::request(HELD), Bytes::new(), PATIENCE)
                .await
        })
    };
    while running.service.held.lock().is_empty() {
        assert_eq!(call(&running, 1, "x").await.unwrap().body, "x");
    }
    call(&running, RELEASE, "").await.unwrap();
    assert_eq!(
        held.await.unwrap().unwrap().command.remark.as_deref(),
        Some("released")
    );
}

#[tokio::test]
async fn the_server_can_send_requests_too() {
    let mut running = start(PATIENCE);
    running
        .client
        .send_oneway(&running.address, Command::request(CALL_BACK), Bytes::new())
        .await
        .unwrap();
    assert_eq!(
        running.pushed.recv().await.unwrap(),
        (77, Bytes::from_static(b"hello"))
    );
}

#[tokio::test]
async fn frames_that_arrive_together_are_one_turn_and_split_ones_wait_for_their_rest() {
    let running = start(PATIENCE);
    let mut frames = BytesMut::new();
    for opaque in 0..10 {
        Command {
            opaque,
            ..Command::request(1)
        }
        .encode_head(3, &mut frames);
        frames.extend_from_slice(b"abc");
    }
    let one = frames.len() / 10;
    let address = running.address.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(&frames[..one * 3 + 5]).unwrap();
        let mut answer = vec![0; 1024];
        let mut got = 0;
        while answer[..got].windows(3).filter(|w| w == b"abc").count() < 3 {
            got += socket.read(&mut answer[got..]).unwrap();
        }
        socket.write_all(&frames[one * 3 + 5..]).unwrap();
        let mut rest = Vec::new();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        socket.read_to_end(&mut rest).unwrap();
        rest.windows(3).filter(|w| w == b"abc").count()
    });
    assert_eq!(read.await.unwrap(), 7);
    assert_eq!(running.service.turns.lock().iter().sum::<usize>(), 10);
}

#[tokio::test]
async fn malformed_frames_close_their_connection_and_no_other() {
    let running = start(PATIENCE);
    call(&running, 1, "x").await.unwrap();
    for bad in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 0, 0, 9, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o'],
    ] {
        let address = running.address.clone();
        let closed = tokio::task::spawn_blocking(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            socket.write_all(bad).unwrap();
            socket.read(&mut [0; 16]).map_or(0, |n| n)
        });
        assert_eq!(closed.await.unwrap(), 0);
    }
    assert_eq!(call(&running, 1, "y").await.unwrap().body, "y");
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_its_caller_is_told() {
    let running = start(PATIENCE);
    assert!(matches!(
        call(&running, PANIC, "").await,
        Err(TransportError::Closed { code: PANIC, .. })
    ));
    assert_eq!(call(&running, 1, "again").await.unwrap().body, "again");
}

#[tokio::test]
async fn callers_are_told_when_time_is_up_and_when_nobody_listens() {
    let running = start(PATIENCE);
    let brief = Duration::from_millis(30);
    let held = running
        .client
        .call(
            &running.address,
            Command::request(HELD),
            Bytes::new(),
            brief,
        )
        .await;
    assert!(matches!(
        held,
        Err(TransportError::Timeout { code: HELD, .. })
    ));
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let refused = running
        .client
        .call(&nobody, Command::request(1), Bytes::new(), PATIENCE)
        .await;
    assert!(matches!(refused, Err(TransportError::Connect { .. })));
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let running = start(Duration::from_millis(50));
    let connection = running.client.connection(&running.address).await.unwrap();
    call(&running, 1, "x").await.unwrap();
    while !connection.is_closed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn shutdown_writes_what_is_queued_and_ends_every_connection() {
    let running = start(PATIENCE);
    let body = vec![7u8; 3 << 20];
    let answer = call(&running, 1, body.clone()).await.unwrap();
    assert_eq!(answer.body.len(), body.len());
    running.server.shutdown(PATIENCE).await;
    assert_eq!(running.server.connection_count(), 0);
    assert!(matches!(
        call(&running, 1, "").await,
        Err(TransportError::Connect { .. } | TransportError::Closed { .. })
    ));
}
