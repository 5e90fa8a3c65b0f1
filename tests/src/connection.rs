use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// Longer than any answer takes, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that can misbehave: blocking, and independent of every codec of ours.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    opaque: i32,
}

/// The answer to a request.
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
        Ok(Self { stream, opaque: 0 })
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

    /// Reads the next answer; what the server asks in between is left unanswered.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn read(&mut self) -> Result<Answer> {
        loop {
            if let Some(answer) = self.read_frame()? {
                return Ok(answer);
            }
        }
    }

    /// `None` for a request.
    fn read_frame(&mut self) -> Result<Option<Answer>> {
        let mut length = [0; 4];
        self.stream
            .read_exact(&mut length)
            .context("read the length of an answer")?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
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
        if header["flag"].as_i64().unwrap_or_default() & 1 == 0 {
            return Ok(None);
        }
        Ok(Some(Answer {
            code: header["code"].as_i64().context("no code")?,
            opaque: header["opaque"].as_i64().context("no opaque")?,
            remark: header["remark"].as_str().unwrap_or_default().to_owned(),
            fields: header["extFields"].as_object().cloned().unwrap_or_default(),
            body: frame.split_off(4 + header_length),
        }))
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
            match self.stream.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error).context("the connection was not closed"),
            }
        }
    }

    /// Creates a topic with `queues` queues.
    ///
    /// # Errors
    /// When that is refused.
    pub fn create_topic(&mut self, topic: &str, queues: u32) -> Result<()> {
        let queues = queues.to_string();
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", &queues),
            ("writeQueueNums", &queues),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
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
        let queue = queue.to_string();
        let fields = [
            ("a", "e2e-producer"),
            ("b", topic),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", &queue),
            ("f", "0"),
            ("g", "1700000000000"),
            ("h", "0"),
            ("i", properties),
            ("j", "0"),
            ("k", "false"),
            ("m", "false"),
        ];
        self.frame(310, &fields, body)
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

    /// One pull that does not wait.
    ///
    /// # Errors
    /// When the connection ends or nothing comes in time.
    pub fn pull(&mut self, topic: &str, queue: u32, offset: i64) -> Result<Answer> {
        let (queue, offset) = (queue.to_string(), offset.to_string());
        let fields = [
            ("consumerGroup", "e2e-consumer"),
            ("topic", topic),
            ("queueId", &queue),
            ("queueOffset", &offset),
            ("maxMsgNums", "32"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
        ];
        self.call(11, &fields, &[])
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
                    split_records(&answer.body, &mut bodies)?;
                    offset = answer.number("nextBeginOffset")?;
                }
                19 => return Ok(bodies),
                code => bail!("pull at {offset}: code {code}: {}", answer.remark),
            }
        }
    }
}

/// The body of each record of a pull's answer; IPv4 hosts only.
fn split_records(mut records: &[u8], bodies: &mut Vec<Vec<u8>>) -> Result<()> {
    /// Everything in front of the body's length has a fixed size.
    const BODY_LENGTH_AT: usize = 84;
    while !records.is_empty() {
        let size = number_at(records, 0)?;
        let length = number_at(records, BODY_LENGTH_AT)?;
        let from = BODY_LENGTH_AT + 4;
        bodies.push(
            records
                .get(from..from + length)
                .context("body cut off")?
                .to_vec(),
        );
        records = records.get(size..).context("record cut off")?;
    }
    Ok(())
}

fn number_at(bytes: &[u8], at: usize) -> Result<usize> {
    let bytes = bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .context("number cut off")?;
    Ok(usize::try_from(u32::from_be_bytes(*bytes))?)
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
