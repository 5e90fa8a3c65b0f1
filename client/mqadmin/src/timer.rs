//! `mqadmin timer`: messages that wait for their time, on running brokers.

use std::io::Write as _;

use anyhow::Result;
use clap::Subcommand;
use common::wire::body::{TimerList, WaitingTimer};
use common::wire::header::{ListTimersRequestHeader, RecallMessageRequestHeader};
use common::wire::{Command as Request, request_code};

use crate::broker::{Asking, Brokers, Listed, Listing};
use crate::terminal::{Code, Out};
use crate::text::time;

/// `mqadmin timer`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List messages that wait, those that are due first before the others.
    List(Listing),
    /// Call a message back: it will not be delivered.
    Cancel(Cancel),
}

#[derive(clap::Args)]
struct Cancel {
    #[command(flatten)]
    brokers: Brokers,
    /// The message's unique key.
    key: String,
}

/// Runs a command of this family.
pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    match &args.command {
        Command::List(list) => list.run(|_: &WaitingTimer| true, out),
        Command::Cancel(args) => {
            (args.brokers).ask(async |asking| cancel(&asking, args, out).await)
        }
    }
}

impl Listed for WaitingTimer {
    const NAME: &str = "messages";
    const HEAD: &[&str] = &["due", "topic", "queue", "key", "body", "rolled"];
    const NUMBERS: &[usize] = &[3, 5, 6];
    type Place = String;

    fn topic(&self) -> &str {
        &self.topic
    }

    fn cells(&self) -> Vec<String> {
        vec![
            time(self.deliver_time),
            self.topic.clone(),
            self.queue_id.to_string(),
            self.unique_key.clone(),
            self.body_bytes.to_string(),
            self.rolled.to_string(),
        ]
    }

    fn request(topic: Option<&str>, from: Option<String>) -> Request {
        let topic = topic.map(str::to_owned);
        let limit = Some(500);
        Request::request(request_code::LIST_TIMERS).with(&ListTimersRequestHeader {
            topic,
            from,
            limit,
        })
    }

    fn page(answer: &[u8]) -> Result<(Vec<Self>, Option<String>)> {
        let page = TimerList::decode(answer)?;
        Ok((page.timers, page.next))
    }
}

async fn cancel(asking: &Asking, args: &Cancel, out: &mut Out) -> Result<Code> {
    let is = |timer: &WaitingTimer| timer.unique_key == args.key;
    let Some((broker, timer)) = asking.find(is).await? else {
        let of_topic = args.brokers.of_topic();
        eprintln!("mqadmin: no message {}{of_topic} waits", args.key);
        return Ok(Code::Bad);
    };
    let header = RecallMessageRequestHeader {
        producer_group: None,
        topic: timer.topic.clone(),
        recall_handle: Some(timer.recall_handle),
        broker_name: None,
    };
    let request = Request::request(request_code::RECALL_MESSAGE).with(&header);
    asking.ask(&broker, request).await?;
    let (key, due) = (&timer.unique_key, time(timer.deliver_time));
    writeln!(out, "cancelled: {key} of topic {}, due {due}", timer.topic)?;
    Ok(Code::Good)
}
