//! The stock command line tools.

use anyhow::{Result, ensure};
use tests::{Cluster, Language, java};

use crate::available;

/// What `mqadmin COMMAND …` prints.
fn mqadmin(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = java()
        .arg("org.apache.rocketmq.tools.command.MQAdminStartup")
        .args(arguments)
        .args(["-n", &cluster.namesrv.address])
        .env("ROCKETMQ_HOME", cluster.dir())
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(
        output.status.success(),
        "{arguments:?}: {} {text}",
        output.status
    );
    Ok(text)
}

fn compact(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn mqadmin_creates_a_topic_and_lists_it_its_route_and_the_cluster() -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    let broker = cluster.broker.address.as_str();

    let text = mqadmin(
        &cluster,
        &[
            "updateTopic",
            "-c",
            "DefaultCluster",
            "-t",
            "by-tool",
            "-r",
            "6",
            "-w",
            "5",
        ],
    )?;
    ensure!(
        text.contains(&format!("create topic to {broker} success.")),
        "{text}"
    );
    ensure!(
        text.contains("topicName=by-tool, readQueueNums=6, writeQueueNums=5, perm=RW-"),
        "{text}"
    );

    let text = mqadmin(&cluster, &["topicList"])?;
    ensure!(text.lines().any(|line| line.trim() == "by-tool"), "{text}");
    ensure!(text.lines().any(|line| line.trim() == "TBW102"), "{text}");

    let text = mqadmin(&cluster, &["topicRoute", "-t", "by-tool"])?;
    let route = compact(&text);
    ensure!(
        route.contains(&format!(r#""brokerAddrs":{{0:"{broker}"}}"#)),
        "{text}"
    );
    ensure!(
        route.contains(r#""brokerName":"broker-a","perm":6,"readQueueNums":6,"topicSysFlag":0,"writeQueueNums":5"#),
        "{text}"
    );

    let text = mqadmin(&cluster, &["clusterList"])?;
    let row = text
        .lines()
        .find(|line| line.contains(broker))
        .unwrap_or_default();
    let columns: Vec<&str> = row.split_whitespace().collect();
    ensure!(
        columns.starts_with(&["DefaultCluster", "broker-a", "0", broker]),
        "{text}"
    );

    // A second update changes what is there.
    mqadmin(
        &cluster,
        &[
            "updateTopic",
            "-b",
            broker,
            "-t",
            "by-tool",
            "-r",
            "8",
            "-w",
            "8",
        ],
    )?;
    let route = compact(&mqadmin(&cluster, &["topicRoute", "-t", "by-tool"])?);
    ensure!(
        route.contains(r#""readQueueNums":8"#) && route.contains(r#""writeQueueNums":8"#),
        "{route}"
    );

    // What does not exist is said so.
    let text = mqadmin(&cluster, &["topicRoute", "-t", "no-such-topic"])?;
    ensure!(
        text.contains("No topic route info in name server for the topic: no-such-topic"),
        "{text}"
    );
    Ok(())
}
