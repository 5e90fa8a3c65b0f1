//! Start, stop, start again.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Cluster, Connection, Deadline, patiently};

use crate::SOON;

/// How long an orderly end may take, by contract.
const ORDERLY_END: Duration = Duration::from_secs(10);

#[test]
fn ready_lines_say_where_the_servers_listen() -> Result<()> {
    let cluster = Cluster::start()?;
    let (namesrv, broker) = (&cluster.namesrv, &cluster.broker);
    let line = namesrv.process.wait_line("boot success", SOON)?;
    ensure!(
        line == format!(
            "The Name Server boot success. serializeType=JSON, address {}, http {}",
            namesrv.address, namesrv.http
        ),
        "{line}"
    );
    let line = broker.process.wait_line("boot success", SOON)?;
    ensure!(
        line == format!(
            "The broker[broker-a, {}] boot success. serializeType=JSON and name server is {}, http {}",
            broker.address, namesrv.address, broker.http
        ),
        "{line}"
    );
    // Whoever reads the line can send: the broker is known to the name server by then.
    let route = Connection::open(&namesrv.address)?.call(105, &[("topic", "TBW102")], &[])?;
    ensure!(route.code == 0, "{route:?}");
    Ok(())
}

#[test]
fn a_clean_restart_keeps_messages_topics_and_offsets() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("kept", 3)?;
    let bodies: Vec<Vec<u8>> = (0..200).map(|i| format!("body {i}").into_bytes()).collect();
    for body in &bodies {
        connection.send("kept", 1, body)?.ok()?;
    }
    let offset = [
        ("consumerGroup", "e2e-consumer"),
        ("topic", "kept"),
        ("queueId", "1"),
        ("commitOffset", "150"),
    ];
    connection.join(&["kept"])?;
    connection.call(15, &offset, &[])?.ok()?;

    let abort = cluster.broker.store.join("abort");
    ensure!(abort.exists(), "no abort file while it runs");
    let deadline = Deadline::after(ORDERLY_END);
    cluster.broker.process.terminate()?;
    let status = cluster.broker.process.wait_exit(ORDERLY_END)?;
    ensure!(
        status.code() == Some(0),
        "ended with {status} after {:?}",
        deadline.elapsed()
    );
    ensure!(!abort.exists(), "the abort file is left");

    cluster.broker.start_again()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    ensure!(
        connection.bodies("kept", 1, 0)? == bodies,
        "messages differ after the restart"
    );
    let answer = connection.call(14, &offset[..3], &[])?.ok()?;
    ensure!(answer.field("offset") == "150", "{answer:?}");
    let placed = connection.send("kept", 1, b"next")?.ok()?;
    ensure!(placed.field("queueOffset") == "200", "{placed:?}");
    // The topic is in the route again, without anybody asking for it, once the ready line is there.
    let mut namesrv = Connection::open(&cluster.namesrv.address)?;
    let route = namesrv.call(105, &[("topic", "kept")], &[])?.ok()?;
    ensure!(
        String::from_utf8_lossy(&route.body).contains("\"readQueueNums\":3"),
        "{route:?}"
    );
    Ok(())
}

#[test]
fn a_stopped_broker_leaves_the_route_at_once() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.create_topic("leaves", 1)?;
    let mut namesrv = Connection::open(&cluster.namesrv.address)?;
    let mut route = || namesrv.call(105, &[("topic", "leaves")], &[]);
    ensure!(route()?.code == 0, "no route while the broker runs");
    cluster.broker.process.terminate()?;
    cluster.broker.process.wait_exit(ORDERLY_END)?;
    patiently("the route is gone", SOON, || {
        Ok((route()?.code == 17).then_some(()))
    })?;
    Ok(())
}

#[test]
fn both_servers_end_with_0_on_sigterm() -> Result<()> {
    let mut cluster = Cluster::start()?;
    for process in [&mut cluster.broker.process, &mut cluster.namesrv.process] {
        process.terminate()?;
        let status = process.wait_exit(ORDERLY_END)?;
        ensure!(status.code() == Some(0), "{status}: {}", process.errors());
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_at_once_with_130() -> Result<()> {
    let mut cluster = Cluster::start()?;
    for process in [&mut cluster.broker.process, &mut cluster.namesrv.process] {
        process.terminate_twice()?;
        let status = process.wait_exit(SOON)?;
        ensure!(status.code() == Some(130), "{status}: {}", process.errors());
    }
    Ok(())
}

#[test]
fn a_broker_waiting_with_a_held_pull_ends_in_time() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("held", 1)?;
    let fields = [
        ("consumerGroup", "e2e-consumer"),
        ("topic", "held"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "6"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "30000"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    let held = connection.frame(11, &fields, &[]);
    connection.write(&held)?;
    // Requests of one connection are handled in order: once this is answered the pull is held.
    let probe = connection.call(30, &[("topic", "held"), ("queueId", "0")], &[])?;
    ensure!(probe.field("offset") == "0", "{probe:?}");
    cluster.broker.process.terminate()?;
    let status = cluster.broker.process.wait_exit(ORDERLY_END)?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

#[test]
fn a_second_process_on_one_store_is_refused() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut second = cluster.broker.second_on_the_same_store()?;
    let status = second.wait_exit(SOON)?;
    ensure!(status.code() == Some(3), "{status}: {}", second.errors());
    let store = cluster.broker.store.display().to_string();
    ensure!(
        second.errors().contains(&store),
        "does not name the store: {}",
        second.errors()
    );
    // The first one goes on.
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("first-goes-on", 1)?;
    connection.send("first-goes-on", 0, b"x")?.ok()?;
    Ok(())
}

/// Both orders of starting work; a broker keeps trying to register.
#[test]
fn a_restarted_name_server_learns_of_the_broker_again() -> Result<()> {
    let mut cluster = Cluster::with(&[("registerNameServerPeriod", "10000")])?;
    cluster.create_topic("relearned", 2)?;
    cluster.namesrv.kill_and_restart()?;
    patiently("the broker registers anew", Duration::from_secs(90), || {
        let mut namesrv = Connection::open(&cluster.namesrv.address)?;
        let route = namesrv.call(105, &[("topic", "relearned")], &[])?;
        Ok((route.code == 0).then_some(()))
    })
}
