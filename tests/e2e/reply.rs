//! Request and reply between two clients of one broker.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{Answer, Cluster, Connection};

use crate::kinds::{property, send};

const HEART_BEAT: i32 = 34;
const SEND_REPLY_MESSAGE_V2: i32 = 325;
const PUSH_REPLY_MESSAGE_TO_CLIENT: i64 = 326;

/// Makes the connection the producer of that client id.
fn be_producer(connection: &mut Connection, client_id: &str) -> Result<()> {
    let heartbeat = json!({
        "clientID": client_id, "consumerDataSet": [], "producerDataSet": [{"groupName": "askers"}],
    });
    connection
        .call(HEART_BEAT, &[], heartbeat.to_string().as_bytes())?
        .ok()?;
    Ok(())
}

fn reply_frame(connection: &mut Connection, client_id: &str, body: &str) -> Vec<u8> {
    let properties = property("REPLY_TO_CLIENT", client_id);
    let fields = [
        ("a", "repliers"),
        ("b", "DefaultCluster_REPLY_TOPIC"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", &properties),
        ("j", "0"),
        ("k", "false"),
    ];
    connection.frame(SEND_REPLY_MESSAGE_V2, &fields, body.as_bytes())
}

/// Answers what the broker has asked.
fn answer(connection: &mut Connection, request: &Answer, code: i32) -> Result<()> {
    let header = json!({
        "code": code, "language": "RUST", "version": 453, "opaque": request.opaque, "flag": 1,
    });
    let header = header.to_string();
    let length = u32::try_from(header.len())?;
    let mut frame = (length + 4).to_be_bytes().to_vec();
    frame.extend(length.to_be_bytes());
    frame.extend(header.as_bytes());
    connection.write(&frame)
}

#[test]
fn a_client_that_takes_its_time_with_a_reply_holds_up_nobody() -> Result<()> {
    let cluster = Cluster::with(&[("serverSelectorThreads", "1")])?;
    let address = &cluster.broker.address;
    let (mut asker, mut replier) = (Connection::open(address)?, Connection::open(address)?);
    be_producer(&mut asker, "asker")?;
    replier.create_topic("busy", 1)?;
    for (body, code) in [("first", 0), ("second", 1)] {
        let frame = reply_frame(&mut replier, "asker", body);
        let opaque = replier.last_opaque();
        replier.write(&frame)?;
        let pushed = asker.next_request()?;
        ensure!(
            pushed.code == PUSH_REPLY_MESSAGE_TO_CLIENT && pushed.body == body.as_bytes(),
            "{pushed:?}"
        );
        // One thread serves everybody: what comes meanwhile is answered meanwhile.
        let sent = send(&mut replier, "busy", "", "x")?.ok()?;
        ensure!(sent.opaque != opaque, "{sent:?}");
        answer(&mut asker, &pushed, code)?;
        let outcome = replier.read()?;
        let expected = i64::from(code);
        ensure!(
            outcome.opaque == opaque && outcome.code == expected,
            "{outcome:?}"
        );
        ensure!(outcome.field("msgId").len() == 32, "{outcome:?}");
    }
    // Whoever asked may also have gone.
    let frame = reply_frame(&mut replier, "asker", "third");
    replier.write(&frame)?;
    asker.next_request()?;
    drop(asker);
    let outcome = replier.read()?;
    ensure!(
        outcome.code == 1 && outcome.remark.contains("asker"),
        "{outcome:?}"
    );
    let stored = replier.bodies("DefaultCluster_REPLY_TOPIC", 0, 0)?;
    ensure!(stored == [&b"first"[..], b"second", b"third"], "{stored:?}");
    Ok(())
}
