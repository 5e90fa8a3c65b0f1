//! `mqadmin transaction`: half messages nobody has decided about, on running brokers.

use std::io::Write as _;

use anyhow::Result;
use clap::Subcommand;
use common::message::sys_flag;
use common::wire::body::{OpenTransaction, OpenTransactions};
use common::wire::header::{EndTransactionRequestHeader, ListTransactionsRequestHeader};
use common::wire::{Command as Request, request_code};

use crate::broker::{Asking, Brokers, Listed, Listing, of};
use crate::terminal::{Code, Out};

/// `mqadmin transaction`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List open transactions.
    List(List),
    /// Show an open transaction and its message.
    Show(One),
    /// Deliver the message of an open transaction.
    Commit(One),
    /// Drop the message of an open transaction.
    Rollback(One),
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    of: Group,
}

#[derive(clap::Args)]
struct Group {
    /// Only of this producer group.
    #[arg(short, long, alias = "producerGroup")]
    group: Option<String>,
}

impl Group {
    fn has(&self, open: &OpenTransaction) -> bool {
        (self.group.as_ref()).is_none_or(|group| *group == open.producer_group)
    }
}

#[derive(clap::Args)]
struct One {
    #[command(flatten)]
    brokers: Brokers,
    #[command(flatten)]
    of: Group,
    /// The transaction's id (the message's unique key), or the offset message id of its half.
    id: String,
}

/// Runs a command of this family.
pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let (one, outcome) = match &args.command {
        Command::List(List { listing, of }) => return listing.run(|open| of.has(open), out),
        Command::Show(one) => (one, None),
        Command::Commit(one) => (one, Some(sys_flag::TRANSACTION_COMMIT)),
        Command::Rollback(one) => (one, Some(sys_flag::TRANSACTION_ROLLBACK)),
    };
    one.brokers.ask(async |asking| {
        let is = |open: &OpenTransaction| {
            one.of.has(open) && [&open.transaction_id, &open.offset_msg_id].contains(&&one.id)
        };
        let Some((broker, open)) = asking.find(is).await? else {
            let of_topic = one.brokers.of_topic();
            let of_group = of("group", one.of.group.as_ref());
            eprintln!(
                "mqadmin: no open transaction {}{of_topic}{of_group}",
                one.id
            );
            return Ok(Code::Bad);
        };
        match outcome {
            None => show(&asking, &broker, &open, out).await,
            Some(outcome) => end(&asking, &broker, open, outcome, out).await,
        }
    })
}

impl Listed for OpenTransaction {
    const NAME: &str = "open transactions";
    const HEAD: &[&str] = &["transaction", "topic", "group", "age s", "checks", "half"];
    const NUMBERS: &[usize] = &[4, 5, 6];
    type Place = i64;

    fn topic(&self) -> &str {
        &self.topic
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.transaction_id.clone(),
            self.topic.clone(),
            self.producer_group.clone(),
            (self.age_ms / 1000).to_string(),
            self.checks.to_string(),
            self.half_offset.to_string(),
        ]
    }

    fn request(_: Option<&str>, from: Option<i64>) -> Request {
        let header = ListTransactionsRequestHeader {
            offset: Some(from.unwrap_or(0)),
            max_num: Some(500),
        };
        Request::request(request_code::LIST_TRANSACTIONS).with(&header)
    }

    fn page(answer: &[u8]) -> Result<(Vec<Self>, Option<i64>)> {
        let page = OpenTransactions::decode(answer)?;
        Ok((page.transactions, page.next_offset))
    }
}

async fn show(
    asking: &Asking,
    broker: &str,
    open: &OpenTransaction,
    out: &mut Out,
) -> Result<Code> {
    let message = asking.view(&open.offset_msg_id).await?;
    let properties: Vec<String> = message
        .properties()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let properties = properties.join(" ");
    for (name, value) in [
        ("broker", broker),
        ("transaction", &open.transaction_id),
        ("offset message id", &open.offset_msg_id),
        ("topic", &open.topic),
        ("queue", &open.queue_id.to_string()),
        ("producer group", &open.producer_group),
        ("age in ms", &open.age_ms.to_string()),
        ("checks", &open.checks.to_string()),
        ("half queue offset", &open.half_offset.to_string()),
        ("commit log offset", &open.commit_log_offset.to_string()),
        ("properties", &properties),
        ("body", &String::from_utf8_lossy(&message.body)),
    ] {
        writeln!(out, "{name:18} {value}")?;
    }
    Ok(Code::Good)
}

/// As the answer to a check, which is taken however old the half message is.
async fn end(
    asking: &Asking,
    broker: &str,
    open: OpenTransaction,
    outcome: i32,
    out: &mut Out,
) -> Result<Code> {
    let header = EndTransactionRequestHeader {
        topic: Some(open.topic.clone()),
        producer_group: Some(open.producer_group),
        tran_state_table_offset: open.half_offset,
        commit_log_offset: open.commit_log_offset,
        commit_or_rollback: outcome,
        from_transaction_check: Some(true),
        msg_id: Some(open.transaction_id.clone()),
        transaction_id: Some(open.transaction_id.clone()),
        broker_name: None,
    };
    let request = Request::request(request_code::END_TRANSACTION).with(&header);
    asking.ask(broker, request).await?;
    let done = match outcome {
        sys_flag::TRANSACTION_COMMIT => "committed",
        _ => "rolled back",
    };
    let (id, topic) = (&open.transaction_id, &open.topic);
    writeln!(out, "{done}: {id} of topic {topic}")?;
    Ok(Code::Good)
}
