use std::sync::Arc;

use anyhow::{Result, bail};
use client::{
    ClientConfig, ConsumeFromWhere, ConsumeStatus, MessageExt, OrderlyStatus, Producer,
    PushConsumer,
};
use common::clock::{Clock, SystemClock};

use crate::options::Options;
use crate::{NOTE, bodies, one_line, told_to_stop};

/// Reports everything a push consumer is given, until it is told to stop.
pub async fn run(options: &Options) -> Result<()> {
    let config = ClientConfig {
        instance_name: Some(options.or("name", "receiver").to_owned()),
        poll_name_server_interval: std::time::Duration::from_secs(1),
        ..ClientConfig::new(options.text("namesrv")?)
    };
    let group = options.text("group")?;
    let replier = match options.or("reply", "false") {
        "true" => {
            let replier = Producer::builder(format!("{group}-replies"), config.clone());
            Some(replier.start().await?)
        }
        _ => None,
    };
    let builder = PushConsumer::builder(group, config)
        .subscribe(options.text("topic")?, options.or("expression", "*"))
        .consume_from_where(ConsumeFromWhere::FirstOffset);
    let builder = match options.or("listener", "concurrent") {
        "concurrent" => builder.on_messages(move |messages| {
            let replier = replier.clone();
            async move {
                report(&messages, replier.as_ref()).await;
                ConsumeStatus::Success
            }
        }),
        "orderly" => builder.on_messages_in_order(|messages| async move {
            for message in &messages {
                let property = |name| message.property(name).unwrap_or_default();
                let now = SystemClock::new().now();
                println!("turn {} {} {now}", property("sender"), property("index"));
            }
            report(&messages, None).await;
            OrderlyStatus::Success
        }),
        other => bail!("there is no {other} listener"),
    };
    let consumer = builder.start().await?;
    println!("ready");
    told_to_stop().await;
    consumer.shutdown().await;
    Ok(())
}

async fn report(messages: &[Arc<MessageExt>], replier: Option<&Producer>) {
    for message in messages {
        if let Some(replier) = replier
            && message.property("CORRELATION_ID").is_some()
            && let Err(refused) = replier.reply(message, bodies::sum(&message.body)).await
        {
            println!("bad reply {}", one_line(refused));
        }
        report_one(message);
    }
}

fn report_one(message: &MessageExt) {
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
