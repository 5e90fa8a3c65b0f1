use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use super::*;
use crate::frame::{RouteTemplate, Serialization};

/// How long a silent server is waited for in these tests.
const SILENCE: Duration = Duration::from_millis(50);

/// No test waits for this to pass.
const LONG: Duration = Duration::from_secs(30);

/// Asks a number of times and counts the answers.
struct Ask {
    left: u64,
    template: RouteTemplate,
}

impl Work for Ask {
    fn fill(&mut self, opaque: u32, _due_ns: u64, out: &mut Vec<u8>) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        self.left -= 1;
        self.template.push(opaque, out);
        Next::Sent(self.left)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        assert_eq!(answer.reply.code, 7);
        tally.count(1, answer.body.len());
    }
}

/// Serves one connection after the other, as many as there are lanes.
fn serve(
    connections: usize,
    each: impl Fn(TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = thread::spawn(move || {
        for _ in 0..connections {
            each(listener.accept().unwrap().0);
        }
    });
    (address, handle)
}

/// The opaques of the next `count` requests.
fn requests(stream: &mut TcpStream, bytes: &mut Vec<u8>, count: usize) -> Vec<i32> {
    let mut opaques = Vec::new();
    while opaques.len() < count {
        if let Some(frame) = reply::first_frame(bytes).unwrap() {
            opaques.push(frame.reply.opaque);
            bytes.drain(..frame.total);
            continue;
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).unwrap() {
            0 => return opaques,
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
    opaques
}

fn response(opaque: i32) -> Vec<u8> {
    let header = format!(r#"{{"code":7,"flag":1,"opaque":{opaque}}}"#);
    let mut frame = u32::try_from(4 + header.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    frame.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    frame.extend(header.bytes());
    frame.extend(b"body");
    frame
}

fn lanes(
    address: SocketAddr,
    count: usize,
    window: usize,
    asks: u64,
    pace: Option<Pace>,
) -> Vec<Lane> {
    (0..count)
        .map(|_| Lane {
            stream: crate::load::connect(&address.to_string()).unwrap(),
            work: Box::new(Ask {
                left: asks,
                template: RouteTemplate::new("T", Serialization::Json),
            }),
            window,
            pace,
        })
        .collect()
}

fn ran(lanes: Vec<Lane>, timeout: Duration) -> Tally {
    let shared = Shared::new(1, timeout);
    run(lanes, 0, &shared, Tally::new(&[])).unwrap()
}

fn fault_counts(tally: &Tally) -> Vec<(Fault, u64)> {
    tally
        .faults
        .counts()
        .iter()
        .map(|(&fault, &count)| (fault, count))
        .collect()
}

/// Answers requests four at a time, last one first.
fn backwards(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    loop {
        let opaques = requests(&mut stream, &mut bytes, 4);
        let answers: Vec<u8> = opaques
            .iter()
            .rev()
            .flat_map(|&opaque| response(opaque))
            .collect();
        stream.write_all(&answers).unwrap();
        if opaques.len() < 4 {
            return;
        }
    }
}

#[test]
fn replies_are_matched_in_any_order() {
    let (address, server) = serve(1, backwards);
    let tally = ran(lanes(address, 1, 4, 40, None), LONG);
    assert!(tally.faults.is_empty(), "{:?}", tally.faults);
    assert_eq!((tally.messages, tally.bytes), (40, 160));
    server.join().unwrap();
}

#[test]
fn many_connections_share_a_thread() {
    let (address, server) = serve(1, backwards);
    let (other_address, other) = serve(1, backwards);
    let mut both = lanes(address, 1, 4, 20, None);
    both.extend(lanes(other_address, 1, 4, 60, None));
    let tally = ran(both, LONG);
    assert!(tally.faults.is_empty(), "{:?}", tally.faults);
    assert_eq!(tally.messages, 80);
    server.join().unwrap();
    other.join().unwrap();
}

#[test]
fn replies_may_arrive_in_pieces() {
    let (address, server) = serve(1, |mut stream| {
        let mut bytes = Vec::new();
        while let [opaque] = requests(&mut stream, &mut bytes, 1)[..] {
            for piece in response(opaque).chunks(7) {
                stream.set_nodelay(true).unwrap();
                stream.write_all(piece).unwrap();
            }
        }
    });
    let tally = ran(lanes(address, 1, 3, 30, None), LONG);
    assert!(tally.faults.is_empty(), "{:?}", tally.faults);
    assert_eq!(tally.messages, 30);
    server.join().unwrap();
}

#[test]
fn paced_requests_are_all_sent_and_none_before_its_time() {
    let (address, server) = serve(1, |mut stream| {
        let mut bytes = Vec::new();
        while let [opaque] = requests(&mut stream, &mut bytes, 1)[..] {
            stream.write_all(&response(opaque)).unwrap();
        }
    });
    let shared = Shared::new(1, LONG);
    let pace = Pace {
        first_ns: shared.now_ns(),
        every_ns: 2_000_000,
    };
    let tally = run(
        lanes(address, 1, 3, 10, Some(pace)),
        0,
        &shared,
        Tally::new(&[]),
    )
    .unwrap();
    assert!(tally.faults.is_empty(), "{:?}", tally.faults);
    assert_eq!(tally.messages, 10);
    assert!(tally.last_reply_ns >= pace.first_ns + 9 * pace.every_ns);
    server.join().unwrap();
}

#[test]
fn a_connection_that_ends_leaves_its_requests_unanswered() {
    for connections in [1, 2] {
        let (address, server) = serve(connections, |mut stream| {
            let opaques = requests(&mut stream, &mut Vec::new(), 4);
            stream.write_all(&response(opaques[0])).unwrap();
        });
        let tally = ran(lanes(address, connections, 4, 4, None), LONG);
        let lost = 3 * u64::try_from(connections).unwrap();
        assert_eq!(fault_counts(&tally), [(Fault::Unanswered, lost)]);
        server.join().unwrap();
    }
}

#[test]
fn a_silent_server_is_given_up() {
    for connections in [1, 2] {
        let (address, server) = serve(connections, |mut stream| {
            thread::spawn(move || requests(&mut stream, &mut Vec::new(), 100));
        });
        let tally = ran(lanes(address, connections, 4, 4, None), SILENCE);
        let lost = 4 * u64::try_from(connections).unwrap();
        assert_eq!(fault_counts(&tally), [(Fault::Unanswered, lost)]);
        server.join().unwrap();
    }
}

#[test]
fn replies_nobody_waits_for_and_repeated_ones_are_faults() {
    let (address, server) = serve(1, |mut stream| {
        let opaque = requests(&mut stream, &mut Vec::new(), 1)[0];
        let answers = [
            response(opaque + 1),
            response(opaque),
            response(opaque),
            response(3),
        ]
        .concat();
        stream.write_all(&answers).unwrap();
    });
    let tally = ran(lanes(address, 1, 2, 1, None), LONG);
    assert_eq!(tally.faults.counts().get(&Fault::Unexpected), Some(&3));
    assert_eq!(tally.messages, 1);
    server.join().unwrap();
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    let (address, server) = serve(1, |mut stream| {
        requests(&mut stream, &mut Vec::new(), 2);
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let tally = ran(lanes(address, 1, 2, 2, None), LONG);
    assert_eq!(
        fault_counts(&tally),
        [(Fault::Unanswered, 2), (Fault::Unexpected, 1)]
    );
    server.join().unwrap();
}
