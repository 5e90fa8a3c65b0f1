//! Which running brokers a command is about, and how it asks them.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use client::Admin;
use common::wire::Command;
use serde::Serialize;
use serde_json::json;

use crate::terminal::{Code, Out, Usage, table};

/// Which brokers, and which of what they have.
#[derive(clap::Args)]
pub struct Brokers {
    /// The broker's address, host:port.
    #[arg(short = 'b', long = "brokerAddr", value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Name servers, host:port;host:port: all masters they know.
    #[arg(short = 'n', long = "namesrvAddr", value_name = "LIST")]
    name_servers: Option<String>,
    /// Only of this topic.
    #[arg(short, long)]
    topic: Option<String>,
}

/// Asks brokers.
pub struct Asking {
    admin: Admin,
    brokers: Vec<String>,
    topic: Option<String>,
}

impl Brokers {
    /// Runs `work`, which may ask them.
    pub fn ask<R>(&self, work: impl AsyncFnOnce(Asking) -> Result<R>) -> Result<R> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            // No name server is asked when there is a broker.
            let Some(start) = self.broker.as_ref().or(self.name_servers.as_ref()) else {
                let text = "give a broker with -b, or name servers with -n";
                return Err(Usage(text.to_owned()).into());
            };
            let admin = Admin::start(start.as_str()).await?;
            let brokers = match &self.broker {
                Some(broker) => vec![broker.clone()],
                None => admin.masters().await?,
            };
            let topic = self.topic.clone();
            work(Asking {
                admin,
                brokers,
                topic,
            })
            .await
        })
    }

    /// To which topic a search was limited, if to any.
    pub fn of_topic(&self) -> String {
        of("topic", self.topic.as_ref())
    }
}

impl Asking {
    /// Sends a request to one of them; gives the body of the answer.
    pub async fn ask(&self, broker: &str, command: Command) -> Result<Bytes> {
        let code = command.code;
        let answer = self.admin.ask(broker, command, Bytes::new()).await;
        answer.with_context(|| format!("request {code} to {broker}"))
    }

    /// The message with this offset id.
    pub async fn view(&self, offset_msg_id: &str) -> Result<client::MessageExt> {
        Ok(self.admin.view_message(offset_msg_id).await?)
    }
}

/// What a search says it was limited to.
pub fn of(what: &str, name: Option<&String>) -> String {
    name.map_or_else(String::new, |name| format!(" of {what} {name}"))
}

/// What brokers list page by page.
pub trait Listed: Serialize + Sized {
    /// What several of them are.
    const NAME: &str;
    /// Heads of the table's columns behind the broker's.
    const HEAD: &[&str];
    /// Which columns of the table have numbers.
    const NUMBERS: &[usize];
    /// Where a page begins.
    type Place: Clone + PartialEq;

    /// Its topic.
    fn topic(&self) -> &str;

    /// What the table says of it.
    fn cells(&self) -> Vec<String>;

    /// Asks for the page that begins at `from`, or for the first. `topic`: others may be left out.
    fn request(topic: Option<&str>, from: Option<Self::Place>) -> Command;

    /// A page, and where the next one begins.
    fn page(answer: &[u8]) -> Result<(Vec<Self>, Option<Self::Place>)>;
}

impl Asking {
    /// Looks at what a broker lists of the topic until `look` has seen enough, which it says by `false`.
    async fn each<T: Listed>(&self, broker: &str, mut look: impl FnMut(T) -> bool) -> Result<()> {
        let topic = self.topic.as_deref();
        let mut from = None;
        loop {
            let answer = self.ask(broker, T::request(topic, from.clone())).await?;
            let (page, next) = T::page(&answer)?;
            let mut page = page.into_iter();
            let mut look = |one: T| topic.is_some_and(|topic| topic != one.topic()) || look(one);
            if !page.all(&mut look) || next.is_none() || next == from {
                return Ok(());
            }
            from = next;
        }
    }

    /// The first that `is` says yes to, and its broker.
    pub async fn find<T: Listed>(&self, is: impl Fn(&T) -> bool) -> Result<Option<(String, T)>> {
        for broker in &self.brokers {
            let mut found = None;
            let look = |one| {
                found = Some(one).filter(&is);
                found.is_none()
            };
            self.each(broker, look).await?;
            if let Some(found) = found {
                return Ok(Some((broker.clone(), found)));
            }
        }
        Ok(None)
    }
}

/// What to list, and how.
#[derive(clap::Args)]
pub struct Listing {
    #[command(flatten)]
    brokers: Brokers,
    /// At most so many of each broker.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Listing {
    /// Lists all `wanted`.
    pub fn run<T: Listed>(&self, wanted: impl Fn(&T) -> bool, out: &mut Out) -> Result<Code> {
        let found = self.brokers.ask(async |asking| {
            let mut found = Vec::new();
            for broker in &asking.brokers {
                let limit = found.len() + self.limit;
                let look = |one| {
                    if found.len() < limit && wanted(&one) {
                        found.push((broker.clone(), one));
                    }
                    found.len() < limit
                };
                asking.each(broker, look).await?;
            }
            Ok(found)
        })?;
        if self.json {
            for (broker, one) in &found {
                let mut line = serde_json::to_value(one)?;
                line["broker"] = json!(broker);
                writeln!(out, "{line}")?;
            }
            return Ok(Code::Good);
        }
        let mut shown = table(&[&["broker"], T::HEAD].concat(), T::NUMBERS);
        for (broker, one) in &found {
            shown.add_row([vec![broker.clone()], one.cells()].concat());
        }
        writeln!(out, "{shown}\n{} {}", found.len(), T::NAME)?;
        Ok(Code::Good)
    }
}
