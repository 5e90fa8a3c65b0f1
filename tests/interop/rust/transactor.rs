use std::time::Duration;

use anyhow::Result;
use client::{ClientConfig, Producer, SendStatus, TransactionState};

use crate::options::Options;
use crate::sender::{message, report};
use crate::{one_line, told_to_stop};

/// Sends `count` transactional messages and answers checks until it is told to stop. Even ones commit, odd ones roll back; of
/// every four the last two do so when they are checked. With hang=check all wait for a check, and no check is ever answered; with
/// hang=local no local transaction ends either.
pub async fn run(options: &Options) -> Result<()> {
    let (topic, sender) = (options.text("topic")?, options.text("sender")?);
    let sizes = options.or("sizes", "small");
    let (in_local, in_check) = match options.or("hang", "never") {
        "local" => (true, true),
        "check" => (false, true),
        _ => (false, false),
    };
    let own_group = format!("interop-{sender}");
    let config = ClientConfig {
        instance_name: Some(sender.to_owned()),
        poll_name_server_interval: Duration::from_secs(1),
        heartbeat_interval: Duration::from_secs(1),
        ..ClientConfig::new(options.text("namesrv")?)
    };
    let timeout = Duration::from_millis(u64::from(options.number("timeout", 10_000)?));
    let producer = Producer::builder(options.or("group", &own_group), config)
        .send_timeout(timeout)
        .topics([topic])
        .start_transactional(move |half| async move {
            let property = |name| half.property(name).unwrap_or_default();
            println!("checked {} {}", property("sender"), property("index"));
            if in_check {
                std::future::pending::<()>().await;
            }
            property("index")
                .parse()
                .map_or(TransactionState::Unknown, end)
        })
        .await?;
    println!("ready");
    for index in 0..options.number("count", 1)? {
        let name = sender.to_owned();
        let sent = producer.send(
            message(topic, "A", sender, index, sizes),
            move |_| async move {
                println!("half {name} {index}");
                if in_local {
                    std::future::pending::<()>().await;
                }
                if in_check || index % 4 >= 2 {
                    TransactionState::Unknown
                } else {
                    end(index)
                }
            },
        );
        match sent.await {
            Ok(result) if result.half.status == SendStatus::SendOk => {
                report(sender, index, sizes, "A", -1, -1);
            }
            Ok(result) => println!("fail {sender} {index} {:?}", result.half.status),
            Err(refused) => println!("fail {sender} {index} {}", one_line(refused)),
        }
    }
    told_to_stop().await;
    producer.shutdown().await;
    Ok(())
}

fn end(index: u32) -> TransactionState {
    if index.is_multiple_of(2) {
        TransactionState::Commit
    } else {
        TransactionState::Rollback
    }
}
