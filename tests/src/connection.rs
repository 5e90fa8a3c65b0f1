use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use common::clock::{Clock, SystemClock};
use serde_json::{Map, Value, json};

/// Longer than any answer takes, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// The group that pulls are for.
pub const CONSUMER_GROUP: &str = "e2e-consumer";

/// Holds the answers to a window of sends.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// A connection that can misbehave: blocking, and independent of every codec of ours.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    opaque: i32,
}

/// The answer to a request, or a request the server makes.
#[derive(Debug)]
pub struct Answer {
    /// Response code.
    pub code: i64,
    /// Which request it answers.
    pub opaque: i64,
    /// Remark, empty where there is none.
    pub remark: String,
    /// Header fields.
    pub fields: Map<String, Value>,
    /// Body.
    pub body: Vec<u8>,
}

/// What a frame that arrives is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server asks.
    Request,
    /// The server answers.
    Answer,
}

impl Answer {
    /// A header field as text.
    pub fn field(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A header field as a number.
    ///
    /// # Errors
    /// When it is absent or no number.
    pub fn number(&self, name: &str) -> Result<i64> {
        self.field(name)
            .parse()
            .with_context(|| format!("{name} in {self:?}"))
    }

    /// The answer, when its code is 0.
    ///
    /// # Errors
    /// Any other code.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.code == 0, "code {}: {}", self.code, self.remark);
        Ok(self)
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let reader = BufReader::with_capacity(READ_AHEAD_BYTES, stream.try_clone()?);
        Ok(Self {
            stream,
            reader,
            opaque: 0,
        })
    }

    /// The bytes of a request.
    pub fn frame(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        self.opaque += 1;
        let fields: Map<String, Value> = fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let header = json!({
            "code": code, "language": "RUST", "version": 453, "opaque": self.opaque, "flag": 0,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        });
        framed(header.to_string().as_bytes(), body)
    }

    /// The number of the request that was encoded last.
    pub fn last_opaque(&self) -> i64 {
        i64::from(self.opaque)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the other side has closed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads what the server asks next; answers on the way are dropped.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn next_request(&mut self) -> Result<Answer> {
        loop {
            if let (Kind::Request, request) = self.read_any()? {
                return Ok(request);
            }
        }
    }

    /// Reads the next answer; what the server asks in between is left unanswered.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn read(&mut self) -> Result<Answer> {
        loop {
            if let (Kind::Answer, answer) = self.read_any()? {
                return Ok(answer);
            }
        }
    }

    /// Whether the next answer has arrived already, at least its beginning.
    pub fn has_answer(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    /// Whether anything arrives `within` a time; nothing of it is taken.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn arrives(&mut self, within: Duration) -> Result<bool> {
        self.stream.set_read_timeout(Some(within))?;
        let arrived = match self.reader.fill_buf() {
            Ok([]) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        };
        self.stream.set_read_timeout(Some(PATIENCE))?;
        arrived.context("wait for what the server says")
    }

    /// Reads the next frame, whatever it is.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn read_any(&mut self) -> Result<(Kind, Answer)> {
        let mut length = [0; 4];
        self.reader
            .read_exact(&mut length)
            .context("read the length of an answer")?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.reader.read_exact(&mut frame)?;
        let header_length = match frame.first_chunk::<4>() {
            Some([0, rest @ ..]) => {
                usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2])
            }
            other => bail!("an answer that starts with {other:?}"),
        };
        let header = frame
            .get(4..4 + header_length)
            .context("header longer than its frame")?;
        let header: Value = serde_json::from_slice(header)?;
        let kind = match header["flag"].as_i64().unwrap_or_default() & 1 {
            0 => Kind::Request,
            _ => Kind::Answer,
        };
        let answer = Answer {
            code: header["code"].as_i64().context("no code")?,
            opaque: header["opaque"].as_i64().context("no opaque")?,
            remark: header["remark"].as_str().unwrap_or_default().to_owned(),
            fields: header["extFields"].as_object().cloned().unwrap_or_default(),
            body: frame.split_off(4 + header_length),
        };
        Ok((kind, answer))
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn call(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let frame = self.frame(code, fields, body);
        self.write(&frame)?;
        self.read().with_context(|| format!("request code {code}"))
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn finish_writing(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Waits for the other side to close, whatever it answers before.
    ///
    /// # Errors
    /// When it leaves the connection open.
    pub fn closed(&mut self) -> Result<()> {
        let mut rest = [0; 4096];
        loop {
            match self.reader.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error).context("the connection was not closed"),
            }
        }
    }

    /// Creates a topic with `queues` queues.
    ///
    /// # Errors
    /// When that is refused.
    pub fn create_topic(&mut self, topic: &str, queues: u32) -> Result<()> {
        self.create_topic_with(topic, queues, "")
    }

    /// Creates a topic with `queues` queues and `attributes`, such as `+queue.type=BatchCQ`.
    ///
    /// # Errors
    /// When that is refused.
    pub fn create_topic_with(&mut self, topic: &str, queues: u32, attributes: &str) -> Result<()> {
        let queues = queues.to_string();
        let mut fields = vec![
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", &queues),
            ("writeQueueNums", &queues),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        if !attributes.is_empty() {
            fields.push(("attributes", attributes));
        }
        self.call(17, &fields, &[])?.ok()?;
        Ok(())
    }

    /// The bytes of a send.
    pub fn send_frame(
        &mut self,
        topic: &str,
        queue: u32,
        properties: &str,
        body: &[u8],
    ) -> Vec<u8> {
        self.sending(310, topic, queue, properties, body)
    }

    /// The bytes of a send of several messages, which `body` holds.
    pub fn batch_frame(&mut self, topic: &str, queue: u32, body: &[u8]) -> Vec<u8> {
        self.batch_frame_with(topic, queue, "", body)
    }

    /// The same with properties of the whole batch.
    pub fn batch_frame_with(
        &mut self,
        topic: &str,
        queue: u32,
        properties: &str,
        body: &[u8],
    ) -> Vec<u8> {
        self.sending(320, topic, queue, properties, body)
    }

    fn sending(
        &mut self,
        code: i32,
        topic: &str,
        queue: u32,
        properties: &str,
        body: &[u8],
    ) -> Vec<u8> {
        let batch = if code == 320 { "true" } else { "false" };
        let queue = queue.to_string();
        // A half message that seems to be old is given up when it is asked about.
        let born = SystemClock::new().now().to_string();
        let fields = [
            ("a", "e2e-producer"),
            ("b", topic),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", &queue),
            ("f", "0"),
            ("g", &born),
            ("h", "0"),
            ("i", properties),
            ("j", "0"),
            ("k", "false"),
            ("m", batch),
        ];
        self.frame(code, &fields, body)
    }

    /// Makes this connection a consumer of `topics`, in the group that all pulls are for.
    ///
    /// # Errors
    /// When that is refused.
    pub fn join(&mut self, topics: &[&str]) -> Result<()> {
        let subscriptions: Vec<Value> = topics
            .iter()
            .map(|topic| {
                json!({
                    "classFilterMode": false, "topic": topic, "subString": "*", "tagsSet": [],
                    "codeSet": [], "subVersion": 1, "expressionType": "TAG",
                })
            })
            .collect();
        let heartbeat = json!({
            "clientID": "e2e",
            "producerDataSet": [],
            "consumerDataSet": [{
                "groupName": CONSUMER_GROUP, "consumeType": "CONSUME_PASSIVELY",
                "messageModel": "CLUSTERING", "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
                "unitMode": false, "subscriptionDataSet": subscriptions,
            }],
        });
        self.call(34, &[], heartbeat.to_string().as_bytes())?.ok()?;
        Ok(())
    }

    /// Makes this connection the producer `client` of `group`, which can be asked about transactions.
    ///
    /// # Errors
    /// When that is refused.
    pub fn join_producers(&mut self, client: &str, group: &str) -> Result<()> {
        let heartbeat = json!({
            "clientID": client, "producerDataSet": [{"groupName": group}], "consumerDataSet": [],
        });
        self.call(34, &[], heartbeat.to_string().as_bytes())?.ok()?;
        Ok(())
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn send(&mut self, topic: &str, queue: u32, body: &[u8]) -> Result<Answer> {
        let frame = self.send_frame(topic, queue, "", body);
        self.write(&frame)?;
        self.read()
    }

    /// The bytes of a pull that waits at the broker for messages, up to `wait`.
    pub fn pull_frame(&mut self, topic: &str, queue: u32, offset: i64, wait: Duration) -> Vec<u8> {
        /// The subscription is in the header.
        const SUBSCRIPTION: u32 = 4;
        /// The broker may let the pull wait.
        const SUSPEND: u32 = 2;
        let flags = if wait.is_zero() {
            SUBSCRIPTION
        } else {
            SUBSCRIPTION | SUSPEND
        };
        let (queue, offset, flags) = (queue.to_string(), offset.to_string(), flags.to_string());
        let wait = wait.as_millis().to_string();
        let fields = [
            ("consumerGroup", CONSUMER_GROUP),
            ("topic", topic),
            ("queueId", &queue),
            ("queueOffset", &offset),
            ("maxMsgNums", "32"),
            ("sysFlag", &flags),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", &wait),
            ("subscription", "*"),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
        ];
        self.frame(11, &fields, &[])
    }

    /// One pull that does not wait.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn pull(&mut self, topic: &str, queue: u32, offset: i64) -> Result<Answer> {
        let frame = self.pull_frame(topic, queue, offset, Duration::ZERO);
        self.write(&frame)?;
        self.read()
    }

    /// The bodies of a queue from `offset` to its end, in order.
    ///
    /// # Errors
    /// When a pull is answered with anything but messages or the end of the queue.
    pub fn bodies(&mut self, topic: &str, queue: u32, mut offset: i64) -> Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        loop {
            let answer = self.pull(topic, queue, offset)?;
            match answer.code {
                0 => {
                    for record in records(&answer.body)? {
                        let found = record.offset;
                        ensure!(found == offset, "deleted from {offset} up to {found}");
                        bodies.push(record.body);
                        offset += 1;
                    }
                    offset = answer.number("nextBeginOffset")?;
                }
                19 => return Ok(bodies),
                code => bail!("pull at {offset}: code {code}: {}", answer.remark),
            }
        }
    }
}

/// What a pull's answer says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its queue.
    pub queue: u32,
    /// Its place in the queue.
    pub offset: i64,
    /// Where it lies in the log.
    pub at: i64,
    /// When it was stored, in milliseconds since 1970.
    pub stored: i64,
    /// Its body.
    pub body: Vec<u8>,
    /// Its topic.
    pub topic: String,
    /// Its properties, as they are stored.
    pub properties: String,
}

/// The records of an answer's body; IPv4 hosts only.
///
/// # Errors
/// When one is cut off.
pub fn records(mut bytes: &[u8]) -> Result<Vec<Record>> {
    const QUEUE_AT: usize = 12;
    const OFFSET_AT: usize = 20;
    const PLACE_AT: usize = 28;
    const STORED_AT: usize = 56;
    /// Everything in front of the body's length has a fixed size.
    const BODY_LENGTH_AT: usize = 84;
    const BODY_AT: usize = BODY_LENGTH_AT + 4;
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let size = usize::try_from(u32::from_be_bytes(at(bytes, 0)?))?;
        let length = usize::try_from(u32::from_be_bytes(at(bytes, BODY_LENGTH_AT)?))?;
        let body = bytes.get(BODY_AT..BODY_AT + length);
        let topic_at = BODY_AT + length + 1;
        let [topic_length] = at(bytes, topic_at - 1)?;
        let properties_at = topic_at + usize::from(topic_length) + 2;
        let properties_length = u16::from_be_bytes(at(bytes, properties_at - 2)?);
        let text = |from: usize, length: usize| -> Result<String> {
            let text = bytes.get(from..from + length).context("record cut off")?;
            Ok(String::from_utf8_lossy(text).into_owned())
        };
        records.push(Record {
            queue: u32::from_be_bytes(at(bytes, QUEUE_AT)?),
            offset: i64::from_be_bytes(at(bytes, OFFSET_AT)?),
            at: i64::from_be_bytes(at(bytes, PLACE_AT)?),
            stored: i64::from_be_bytes(at(bytes, STORED_AT)?),
            body: body.context("body cut off")?.to_vec(),
            topic: text(topic_at, topic_length.into())?,
            properties: text(properties_at, properties_length.into())?,
        });
        bytes = bytes.get(size..).context("record cut off")?;
    }
    Ok(records)
}

fn at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.copied().context("record cut off")
}

/// Length, header length with the mark of JSON, header, body.
fn framed(header: &[u8], body: &[u8]) -> Vec<u8> {
    let total = u32::try_from(4 + header.len() + body.len()).unwrap_or(u32::MAX);
    let header_length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    let mut frame = total.to_be_bytes().to_vec();
    frame.extend(header_length.to_be_bytes());
    frame.extend(header);
    frame.extend(body);
    frame
}
