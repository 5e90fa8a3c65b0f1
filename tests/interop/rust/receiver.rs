use anyhow::{Result, ensure};
use client::{ClientConfig, ConsumeFromWhere, ConsumeStatus, MessageExt, PushConsumer};
use common::clock::{Clock, SystemClock};

use crate::options::Options;
use crate::{NOTE, bodies, one_line, told_to_stop};

/// Reports everything a push consumer is given, until it is told to stop.
pub async fn run(options: &Options) -> Result<()> {
    let listener = options.or("listener", "concurrent");
    ensure!(listener == "concurrent", "there is no {listener} listener");
    let config = ClientConfig::new(options.text("namesrv")?)
        .with_instance_name(options.or("name", "receiver"))
        .with_poll_name_server_interval(std::time::Duration::from_secs(1));
    let consumer = PushConsumer::builder(options.text("group")?, config)
        .subscribe(options.text("topic")?, options.or("expression", "*"))
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .on_messages(|messages| async move {
            for message in &messages {
                report(message);
            }
            ConsumeStatus::Success
        })
        .start()
        .await?;
    println!("ready");
    told_to_stop().await;
    consumer.shutdown().await;
    Ok(())
}

fn report(message: &MessageExt) {
    let property = |name| message.property(name).unwrap_or_default();
    if property("note") != NOTE {
        println!(
            "bad note {} of {}",
            property("note"),
            one_line(format!("{message:?}"))
        );
    }
    let sent_at: i64 = property("sentAt").parse().unwrap_or_default();
    println!(
        "got {} {} {} {} {} {} {} {}",
        property("sender"),
        property("index"),
        message.body.len(),
        bodies::sum(&message.body),
        message.tag().unwrap_or_default(),
        message.queue.queue_id,
        message.queue_offset,
        SystemClock::new().now().0 - sent_at
    );
}
