//! Input nobody well-meaning sends. Every case ends in an answer that says what is wrong or in a closed
//! connection; other connections do not notice, and nothing is kept.

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tests::{Answer, Cluster, Connection};

/// What a server may keep of all this: freed memory an allocator holds on to, not input.
const GROWTH_KIB: u64 = 12 << 10;
/// How often each way of misbehaving is repeated where growth is looked for.
const REPEATED: usize = 200;

/// A connection that was there before and must not notice anything.
struct Bystander {
    connection: Connection,
    sent: u32,
}

impl Bystander {
    fn new(cluster: &Cluster) -> Result<Self> {
        let mut connection = Connection::open(&cluster.broker.address)?;
        connection.create_topic("bystander", 1)?;
        Ok(Self {
            connection,
            sent: 0,
        })
    }

    fn is_served(&mut self, cluster: &mut Cluster, after: &str) -> Result<()> {
        let placed = self
            .connection
            .send("bystander", 0, b"still here")
            .context(after.to_owned())?
            .ok()?;
        ensure!(
            placed.field("queueOffset") == self.sent.to_string(),
            "{after}: {placed:?}"
        );
        self.sent += 1;
        let pulled = self.connection.pull("bystander", 0, 0)?;
        ensure!(pulled.code == 0, "{after}: {pulled:?}");
        for process in [&mut cluster.broker.process, &mut cluster.namesrv.process] {
            ensure!(
                process.is_running(),
                "{after}: it ended: {}",
                process.errors()
            );
            ensure!(
                !process.errors().contains("panicked"),
                "{after}: {}",
                process.errors()
            );
        }
        Ok(())
    }
}

fn both(cluster: &Cluster) -> [String; 2] {
    [
        cluster.broker.address.clone(),
        cluster.namesrv.address.clone(),
    ]
}

fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// Frames that cannot be read: the connection ends, without an answer.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let with_header = |header: &[u8]| {
        let length = u32::try_from(header.len()).unwrap_or(0);
        [u32s(&[length + 4, length]), header.to_vec()].concat()
    };
    vec![
        ("2 GiB announced", u32s(&[0x7FFF_FFFF, 0])),
        ("4 GiB announced", u32s(&[0xFFFF_FFFF, 0])),
        ("just above the limit announced", u32s(&[16_777_217, 0])),
        ("a header longer than its frame", u32s(&[8, 100, 0])),
        (
            "a header of 16 MiB in a small frame",
            u32s(&[8, 0x00FF_FFFF, 0]),
        ),
        ("an unknown serialization", u32s(&[8, 0x0700_0004, 0])),
        ("broken JSON", with_header(b"{\"code\":10,")),
        ("JSON that is no object", with_header(b"[1,2,3]")),
        (
            "a header that is no UTF-8",
            with_header(&[b'{', 0xFF, 0xFE, b'}']),
        ),
    ]
}

#[test]
fn unreadable_frames_close_their_connection_and_no_other() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut bystander = Bystander::new(&cluster)?;
    for (what, bytes) in unreadable() {
        for address in both(&cluster) {
            let mut connection = Connection::open(&address)?;
            connection.write(&bytes)?;
            connection.closed().with_context(|| what.to_owned())?;
        }
        bystander.is_served(&mut cluster, what)?;
    }
    Ok(())
}

#[test]
fn random_bytes_are_survived() -> Result<()> {
    /// Printed by a failing run through the text of every error.
    const SEED: u64 = 20_240_611;
    let mut cluster = Cluster::start()?;
    let mut bystander = Bystander::new(&cluster)?;
    let mut random = StdRng::seed_from_u64(SEED);
    for round in 0..300 {
        for address in both(&cluster) {
            let mut connection = Connection::open(&address)?;
            let mut bytes = vec![0; random.random_range(1..4096)];
            random.fill_bytes(&mut bytes);
            if round % 2 == 0 {
                // A believable frame length, so that the header is looked at too.
                let rest = u32::try_from(bytes.len().saturating_sub(4))?;
                bytes.splice(..bytes.len().min(4), rest.to_be_bytes());
            }
            // The server may close before everything is written.
            let _ = connection.write(&bytes);
            let _ = connection.finish_writing();
            connection
                .closed()
                .with_context(|| format!("seed {SEED}, round {round}"))?;
        }
    }
    bystander.is_served(&mut cluster, "random bytes")
}

/// A sound request with bytes changed at random: an answer or a closed connection.
#[test]
fn altered_requests_are_survived() -> Result<()> {
    const SEED: u64 = 7_919;
    let mut cluster = Cluster::start()?;
    let mut bystander = Bystander::new(&cluster)?;
    let mut random = StdRng::seed_from_u64(SEED);
    for round in 0..300 {
        let mut connection = Connection::open(&cluster.broker.address)?;
        let mut frame = match round % 3 {
            0 => connection.send_frame("altered", 0, "KEYS\u{1}k\u{2}", b"body"),
            1 => connection.frame(34, &[], br#"{"clientID":"c","consumerDataSet":[]}"#),
            _ => connection.frame(17, &[("topic", "altered"), ("perm", "6")], &[]),
        };
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(4..frame.len());
            frame[at] = random.random();
        }
        let _ = connection.write(&frame);
        let _ = connection.finish_writing();
        connection
            .closed()
            .with_context(|| format!("seed {SEED}, round {round}"))?;
    }
    bystander.is_served(&mut cluster, "altered requests")
}

#[test]
fn half_frames_wait_and_whole_ones_may_come_byte_by_byte() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut bystander = Bystander::new(&cluster)?;
    for address in both(&cluster) {
        let mut slow = Connection::open(&address)?;
        let frame = slow.frame(105, &[("topic", "nowhere")], &[]);
        let (first, rest) = frame.split_at(frame.len() / 2);
        slow.write(first)?;
        bystander.is_served(&mut cluster, "half a frame")?;
        for byte in rest {
            slow.write(&[*byte])?;
        }
        // The broker does not serve routes (3), the name server does not know the topic (17).
        let answer = slow.read()?;
        ensure!([3, 17].contains(&answer.code), "{answer:?}");

        let mut gone = Connection::open(&address)?;
        gone.write(first)?;
        gone.finish_writing()?;
        gone.closed()?;
    }
    bystander.is_served(&mut cluster, "half frames")
}

#[test]
fn unknown_codes_are_answered_with_3() -> Result<()> {
    let cluster = Cluster::start()?;
    for address in both(&cluster) {
        let mut connection = Connection::open(&address)?;
        for code in [0, 9, 99, 999, 77_777, -1, i32::MAX, i32::MIN] {
            let answer = connection.call(code, &[], &[])?;
            ensure!(answer.code == 3, "{code}: {answer:?}");
            ensure!(
                answer.remark.contains(&code.to_string()),
                "{code}: {answer:?}"
            );
        }
    }
    Ok(())
}

fn says(answer: &Answer, code: i64, text: &str) -> Result<()> {
    ensure!(answer.code == code, "wanted {code}: {answer:?}");
    ensure!(
        answer.remark.contains(text),
        "{text} is not named: {answer:?}"
    );
    Ok(())
}

#[test]
fn missing_and_non_numeric_fields_are_named() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut broker = Connection::open(&cluster.broker.address)?;
    broker.create_topic("fields", 1)?;
    for (code, fields, named) in [
        (30, &[("queueId", "0")][..], "topic"),
        (30, &[("topic", "fields")], "queueId"),
        (30, &[("topic", "fields"), ("queueId", "many")], "queueId"),
        (
            31,
            &[("topic", "fields"), ("queueId", "99999999999")],
            "queueId",
        ),
        (
            11,
            &[("topic", "fields"), ("queueId", "0")],
            "consumerGroup",
        ),
        (
            14,
            &[("topic", "fields"), ("queueId", "0")],
            "consumerGroup",
        ),
        (17, &[("perm", "6")], "topic"),
        (310, &[("b", "fields")], "required field"),
    ] {
        says(&broker.call(code, fields, &[])?, 1, named).with_context(|| code.to_string())?;
    }
    let mut namesrv = Connection::open(&cluster.namesrv.address)?;
    for (code, fields, named) in [
        (105, &[][..], "topic"),
        (100, &[("namespace", "n")], "key"),
        (103, &[("brokerName", "b")], "brokerAddr"),
        (
            103,
            &[
                ("brokerName", "b"),
                ("brokerAddr", "a"),
                ("clusterName", "c"),
                ("haServerAddr", "h"),
                ("brokerId", "first"),
            ],
            "brokerId",
        ),
    ] {
        says(&namesrv.call(code, fields, &[])?, 1, named).with_context(|| code.to_string())?;
    }
    Ok(())
}

#[test]
fn what_a_message_may_not_be_is_refused_by_name() -> Result<()> {
    let mut cluster = Cluster::with(&[("maxMessageSize", "100000")])?;
    let mut bystander = Bystander::new(&cluster)?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("limits", 1)?;

    for topic in ["a b", "a/b", "../../etc", "a\u{0}b", "täg", "x;y"] {
        let answer = connection.send(topic, 0, b"x")?;
        says(&answer, 29, "illegal characters").with_context(|| topic.to_owned())?;
        let refused = connection
            .create_topic(topic, 1)
            .map_err(|error| error.to_string());
        ensure!(
            refused.is_err_and(|text| text.contains("illegal characters")),
            "{topic} was created"
        );
    }
    let long = "t".repeat(200);
    ensure!(
        connection.send(&long, 0, b"x")?.code != 0,
        "a topic of 200 characters was created"
    );

    let properties = format!("k\u{1}{}\u{2}", "v".repeat(33_000));
    let frame = connection.send_frame("limits", 0, &properties, b"x");
    connection.write(&frame)?;
    says(&connection.read()?, 13, "properties length")?;

    says(
        &connection.send("limits", 0, &vec![b'x'; 100_001])?,
        13,
        "100000",
    )?;
    says(
        &connection.send("limits", 0, &vec![b'x'; 15 << 20])?,
        13,
        "100000",
    )?;
    ensure!(
        connection.send("limits", 7, b"x")?.code != 0,
        "queue 7 of 1 was written"
    );
    ensure!(
        [1, 13].contains(&connection.send("limits", 0, b"")?.code),
        "an empty body was stored"
    );

    // The same connection goes on, and nothing of it was stored.
    let placed = connection.send("limits", 0, &vec![b'x'; 100_000])?.ok()?;
    ensure!(placed.field("queueOffset") == "0", "{placed:?}");
    bystander.is_served(&mut cluster, "refused messages")
}

#[test]
fn misbehaving_clients_leave_no_memory_behind() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut bystander = Bystander::new(&cluster)?;
    let misbehave = |cluster: &Cluster| -> Result<()> {
        for (_, bytes) in unreadable() {
            for address in both(cluster) {
                let mut connection = Connection::open(&address)?;
                connection.write(&bytes)?;
                connection.closed()?;
            }
        }
        // Sixteen megabytes announced, a little sent, then gone.
        for address in both(cluster) {
            let mut connection = Connection::open(&address)?;
            connection.write(&u32s(&[16_000_000, 200]))?;
            connection.write(&[b' '; 4096])?;
            connection.finish_writing()?;
            connection.closed()?;
            // Requests with names nobody has used before and that are refused.
            let mut connection = Connection::open(&address)?;
            for code in [10, 310, 11, 105, 17, 34, 103] {
                connection.call(code, &[("topic", "no such topic!")], b"{not json")?;
            }
        }
        Ok(())
    };
    // The first rounds fill what is kept on purpose: buffers of the threads, the allocator's pools.
    for _ in 0..20 {
        misbehave(&cluster)?;
    }
    let before = [
        cluster.broker.process.anonymous_kib()?,
        cluster.namesrv.process.anonymous_kib()?,
    ];
    for _ in 0..REPEATED {
        misbehave(&cluster)?;
    }
    let after = [
        cluster.broker.process.anonymous_kib()?,
        cluster.namesrv.process.anonymous_kib()?,
    ];
    for (name, before, after) in [
        ("broker", before[0], after[0]),
        ("name server", before[1], after[1]),
    ] {
        ensure!(
            after <= before + GROWTH_KIB,
            "{name} grew from {before} to {after} KiB"
        );
    }
    bystander.is_served(&mut cluster, "misbehaving clients")
}

/// Announced sizes must not be allocated: many open connections that promise much and send little.
#[test]
fn promised_frames_are_not_allocated() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut bystander = Bystander::new(&cluster)?;
    let before = cluster.broker.process.anonymous_kib()?;
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut connection = Connection::open(&cluster.broker.address)?;
        connection.write(&u32s(&[16_000_000, 200]))?;
        connection.write(&[b' '; 1000])?;
        open.push(connection);
    }
    bystander.is_served(&mut cluster, "promises")?;
    let after = cluster.broker.process.anonymous_kib()?;
    // 3 GB were announced. What may be there is a buffer for what did arrive, per connection.
    ensure!(
        after <= before + (64 << 10),
        "grew from {before} to {after} KiB"
    );
    drop(open);
    bystander.is_served(&mut cluster, "promises that were broken")
}
