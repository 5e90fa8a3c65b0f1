//! A server with the broker's codec and transport and nothing behind them: sends are parsed and answered, not stored.
//! What it reaches is the most a broker with this front can reach on the machine.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use common::transport::{Connection, IoThreads, Listener, Replies, Requests, Service};
use common::wire::head::HeadWriter;
use common::wire::header::{
    GetMaxOffsetRequestHeader, OffsetResponseHeader, PullMessageRequestHeader,
    PullMessageResponseHeader, SendForm, SendMessageRequestHeader,
};
use common::wire::{Command, FieldError, Reply, request_code, response_code};

use crate::args::StubArgs;

/// As the broker closes silent connections.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// Queues with an offset of their own. Topics share them: a run uses one topic.
const QUEUES: usize = 1024;

/// The route the stub answers for every topic.
const ROUTE: &str = concat!(
    r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"stub","cluster":"stub"}],"#,
    r#""filterServerTable":{},"queueDatas":[{"brokerName":"stub","perm":6,"readQueueNums":1024,"#,
    r#""topicSysFlag":0,"writeQueueNums":1024}]}"#
);

struct Stub {
    offsets: Vec<AtomicI64>,
}

impl Stub {
    fn next_offset(&self, queue_id: i32) -> &AtomicI64 {
        &self.offsets[usize::try_from(queue_id).unwrap_or(0) % QUEUES]
    }

    fn send(&self, command: &Command, replies: &mut Replies<'_>) -> Result<(), FieldError> {
        let form = if command.code == request_code::SEND_MESSAGE {
            SendForm::Long
        } else {
            SendForm::Short
        };
        let header = SendMessageRequestHeader::parse(&command.fields, form)?;
        let to = command.reply_to();
        let offset = self
            .next_offset(header.queue_id)
            .fetch_add(1, Ordering::Relaxed);
        if to.oneway {
            return Ok(());
        }
        let mut reply = HeadWriter::reply(replies.buffer(), to, response_code::SUCCESS);
        reply.plain("msgId", b"7F00000100002A9F0000000000000000");
        reply.int("queueId", header.queue_id);
        reply.int("queueOffset", offset);
        if let Some(key) = unique_key(header.properties) {
            reply.text("transactionId", key);
        }
        reply.plain("MSG_REGION", b"DefaultRegion");
        reply.plain("TRACE_ON", b"true");
        reply.finish(0);
        Ok(())
    }

    fn answer(&self, command: &Command) -> Result<Reply, FieldError> {
        Ok(match command.code {
            request_code::PULL_MESSAGE => {
                let header: PullMessageRequestHeader = command.header()?;
                let reply = Reply {
                    code: response_code::PULL_NOT_FOUND,
                    ..Reply::ok()
                };
                reply.with_header(&PullMessageResponseHeader {
                    suggest_which_broker_id: 0,
                    next_begin_offset: header.queue_offset,
                    min_offset: 0,
                    max_offset: header.queue_offset,
                    topic_sys_flag: Some(0),
                    group_sys_flag: Some(0),
                    forbidden_type: None,
                })
            }
            request_code::GET_MAX_OFFSET => {
                let header: GetMaxOffsetRequestHeader = command.header()?;
                let offset = self.next_offset(header.queue_id).load(Ordering::Relaxed);
                Reply::ok().with_header(&OffsetResponseHeader { offset })
            }
            request_code::GET_MIN_OFFSET => {
                Reply::ok().with_header(&OffsetResponseHeader { offset: 0 })
            }
            request_code::UPDATE_AND_CREATE_TOPIC => Reply::ok(),
            request_code::GET_ROUTEINFO_BY_TOPIC => Reply::ok().with_body(ROUTE),
            code => Reply::not_supported(code),
        })
    }
}

/// `UNIQ_KEY` of encoded properties.
fn unique_key(properties: &str) -> Option<&str> {
    properties
        .split('\u{2}')
        .find_map(|property| property.strip_prefix("UNIQ_KEY\u{1}"))
}

impl Service for Stub {
    type Session = ();

    fn connected(&self, _connection: &Arc<Connection>) {}

    fn turn(
        &self,
        (): &mut (),
        _connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        while let Some((command, _body)) = requests.next() {
            let outcome = if SendMessageRequestHeader::is_code(command.code) {
                self.send(command, replies).map(|()| None)
            } else {
                self.answer(command).map(Some)
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(reply)) => replies.push(command.reply_to(), reply),
                Err(error) => replies.push(command.reply_to(), error.into()),
            }
        }
    }

    fn closed(&self, (): (), _connection: &Arc<Connection>) {}
}

/// `mqbench stub`: serves until it is told to end.
pub fn serve(args: &StubArgs) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let threads = match args.io_threads {
            Some(threads) => usize::from(threads),
            None => std::thread::available_parallelism()?.get(),
        };
        let threads = IoThreads::start("stub-io", threads)?;
        let stub = Stub {
            offsets: (0..QUEUES).map(|_| AtomicI64::new(0)).collect(),
        };
        let listener = Listener::bind(args.listen).context("listen")?;
        let server = listener.serve(&threads, Arc::new(stub), IDLE_TIMEOUT);
        println!(
            "The stub boot success. address {}, pid {}",
            server.local_addr(),
            std::process::id()
        );
        std::io::stdout().flush()?;
        let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = end.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        server.shutdown(Duration::from_secs(1)).await;
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unique_key_is_found_anywhere() {
        assert_eq!(unique_key("A\u{1}B\u{2}UNIQ_KEY\u{1}K\u{2}"), Some("K"));
        assert_eq!(unique_key("UNIQ_KEY\u{1}K"), Some("K"));
        assert_eq!(unique_key("XUNIQ_KEY\u{1}K\u{2}"), None);
    }
}
