//! Request frames. A whole frame is built once per queue and copied; only what differs between two messages is
//! written into the copy: the request number, the unique key, the time of birth and the stamp of the body.

use crate::stamp::{Fill, STAMP_BYTES, Stamp};

/// `SEND_MESSAGE_V2`.
const SEND_MESSAGE_V2: i32 = 310;
/// `PULL_MESSAGE`.
const PULL_MESSAGE: i32 = 11;
/// `UPDATE_CONSUMER_OFFSET`.
const UPDATE_CONSUMER_OFFSET: i32 = 15;
/// `GET_ROUTEINFO_BY_TOPIC`.
const GET_ROUTEINFO_BY_TOPIC: i32 = 105;

/// `END_TRANSACTION`, and the `commitOrRollback` that commits.
const END_TRANSACTION: i32 = 37;
const COMMIT: &str = "8";

/// The protocol version the requests claim: 5.5.0.
const VERSION: u16 = 513;

/// Long polling and "the subscription stands in this request".
const PULL_SYS_FLAG: &str = "6";

/// Request numbers have ten digits, so that a template keeps its length.
pub const OPAQUE_FIRST: u32 = 1_000_000_000;
/// The largest request number: the largest signed 32-bit number.
pub const OPAQUE_LAST: u32 = i32::MAX.unsigned_abs();

/// How headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Serialization {
    /// JSON, as stock clients do by default.
    Json,
    /// RocketMQ's own binary form.
    Rocketmq,
}

/// A frame and where its request number stands.
#[derive(Clone, Debug)]
struct Template {
    frame: Vec<u8>,
    serialization: Serialization,
    opaque_at: usize,
}

impl Template {
    fn new(
        serialization: Serialization,
        code: i32,
        fields: &[(&str, String)],
        body: &[u8],
    ) -> Self {
        let (header, opaque_at) = match serialization {
            Serialization::Json => json_header(code, fields),
            Serialization::Rocketmq => binary_header(code, fields),
        };
        let kind = match serialization {
            Serialization::Json => 0,
            Serialization::Rocketmq => 1,
        };
        let mut frame = length(4 + header.len() + body.len()).to_vec();
        let [_, high, middle, low] = length(header.len());
        frame.extend([kind, high, middle, low]);
        frame.extend(&header);
        frame.extend(body);
        Self {
            frame,
            serialization,
            opaque_at: 8 + opaque_at,
        }
    }

    /// Appends the frame and returns the copy.
    fn push<'a>(&self, opaque: u32, out: &'a mut Vec<u8>) -> &'a mut [u8] {
        let from = out.len();
        out.extend_from_slice(&self.frame);
        let copy = &mut out[from..];
        match self.serialization {
            Serialization::Json => write_digits(
                &mut copy[self.opaque_at..self.opaque_at + 10],
                opaque.into(),
            ),
            Serialization::Rocketmq => {
                copy[self.opaque_at..self.opaque_at + 4].copy_from_slice(&opaque.to_be_bytes());
            }
        }
        copy
    }

    /// The same request as one that nobody answers.
    fn oneway(mut self) -> Self {
        let (at, flag) = match self.serialization {
            Serialization::Json => (self.find(br#""flag":0"#) + 7, b'2'),
            Serialization::Rocketmq => (self.opaque_at + 7, 2),
        };
        self.frame[at] = flag;
        self
    }

    /// Where `mark`, which occurs once, stands in the frame.
    fn find(&self, mark: &[u8]) -> usize {
        let at = self
            .frame
            .windows(mark.len())
            .position(|window| window == mark);
        at.unwrap_or_else(|| unreachable!("the template was built with this mark"))
    }
}

/// Four bytes, big-endian. Frames of a load generator are far below 4 GiB: body sizes are limited at the command line.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn json_header(code: i32, fields: &[(&str, String)]) -> (Vec<u8>, usize) {
    let fields: serde_json::Map<_, _> = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_str().into()))
        .collect();
    let fields = serde_json::Value::Object(fields);
    let before =
        format!(r#"{{"code":{code},"extFields":{fields},"flag":0,"language":"JAVA","opaque":"#);
    let opaque_at = before.len();
    let after = format!(r#"{OPAQUE_FIRST},"serializeTypeCurrentRPC":"JSON","version":{VERSION}}}"#);
    ((before + &after).into_bytes(), opaque_at)
}

fn binary_header(code: i32, fields: &[(&str, String)]) -> (Vec<u8>, usize) {
    let mut map = Vec::new();
    for (key, value) in fields {
        map.extend(&length(key.len())[2..]);
        map.extend(key.bytes());
        map.extend(length(value.len()));
        map.extend(value.bytes());
    }
    let mut header = i16::try_from(code)
        .unwrap_or(i16::MAX)
        .to_be_bytes()
        .to_vec();
    header.push(0);
    header.extend(VERSION.to_be_bytes());
    let opaque_at = header.len();
    header.extend(OPAQUE_FIRST.to_be_bytes());
    header.extend([0; 8]);
    header.extend(length(map.len()));
    header.extend(map);
    (header, opaque_at)
}

/// Decimal, right-aligned, with leading zeros.
fn write_digits(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Hexadecimal, upper case, 16 digits.
fn write_hex(to: &mut [u8], number: u64) {
    for (pair, byte) in to.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = b"0123456789ABCDEF"[usize::from(byte >> 4)];
        pair[1] = b"0123456789ABCDEF"[usize::from(byte & 15)];
    }
}

/// What the sends of one producer to one queue have in common.
pub struct SendSpec<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue: u16,
    /// Run and producer, which make keys and bodies unique.
    pub run: u32,
    /// See [`Stamp::producer`].
    pub producer: u16,
    /// See [`Stamp::ordered`].
    pub ordered: bool,
    /// The body without its stamp.
    pub fill: &'a Fill,
    /// How the header is written.
    pub serialization: Serialization,
    /// What is sent.
    pub kind: Kind,
}

/// What becomes of a message that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes to its queue.
    Plain,
    /// It waits for the end of its transaction.
    Half,
    /// It waits for its time.
    Timer,
}

/// The group of all producers.
const PRODUCER_GROUP: &str = "mqbench-producer";

/// Thirteen digits, as every time since 2001 and before 2286 has; not those of [`BORN_MARK`].
const DUE_MARK: &str = "2000000000000";
const BORN_MARK: &str = "1000000000000";

/// The sends of one producer to one queue.
pub struct SendTemplate {
    template: Template,
    key_at: usize,
    born_at: usize,
    due_at: Option<usize>,
    stamp: Stamp,
}

impl SendTemplate {
    /// Builds the frame.
    pub fn new(spec: &SendSpec<'_>) -> Self {
        let SendSpec {
            run,
            producer,
            queue,
            ..
        } = *spec;
        let key_head = format!("{run:08X}{producer:04X}{queue:04X}");
        let key_mark = "FEDCBA9876543210";
        let more = match spec.kind {
            Kind::Plain => String::new(),
            Kind::Half => format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{PRODUCER_GROUP}\u{2}"),
            Kind::Timer => format!("TIMER_DELIVER_MS\u{1}{DUE_MARK}\u{2}"),
        };
        let fields = [
            ("a", PRODUCER_GROUP.to_owned()),
            ("b", spec.topic.to_owned()),
            ("c", "TBW102".to_owned()),
            ("d", "4".to_owned()),
            ("e", queue.to_string()),
            ("f", "0".to_owned()),
            ("g", BORN_MARK.to_owned()),
            ("h", "0".to_owned()),
            (
                "i",
                format!("UNIQ_KEY\u{1}{key_head}{key_mark}\u{2}WAIT\u{1}true\u{2}{more}"),
            ),
            ("j", "0".to_owned()),
            ("k", "false".to_owned()),
            ("m", "false".to_owned()),
        ];
        let mut body = spec.fill.bytes.clone();
        body.resize(body.len() + STAMP_BYTES, 0);
        let template = Template::new(spec.serialization, SEND_MESSAGE_V2, &fields, &body);
        let key_at = template.find(key_mark.as_bytes());
        let born_at = template.find(BORN_MARK.as_bytes());
        let due_at = (spec.kind == Kind::Timer).then(|| template.find(DUE_MARK.as_bytes()));
        let stamp = Stamp {
            run,
            producer,
            ordered: spec.ordered,
            queue,
            sequence: 0,
            sent_ns: 0,
        };
        Self {
            template,
            key_at,
            born_at,
            due_at,
            stamp,
        }
    }

    /// As [`Self::push`]; a timer is to be delivered at `due_ms` since 1970.
    pub fn push_timer(
        &self,
        (opaque, due_ms): (u32, u64),
        sequence: u64,
        (sent_ns, born_ms): (u64, u64),
        fill: &Fill,
        out: &mut Vec<u8>,
    ) {
        let from = out.len();
        self.push(opaque, sequence, sent_ns, born_ms, fill, out);
        if let Some(at) = self.due_at {
            write_digits(&mut out[from + at..from + at + DUE_MARK.len()], due_ms);
        }
    }

    /// Appends message `sequence`, due at `sent_ns` of this process's monotonic clock and born at `born_ms` since 1970.
    pub fn push(
        &self,
        opaque: u32,
        sequence: u64,
        sent_ns: u64,
        born_ms: u64,
        fill: &Fill,
        out: &mut Vec<u8>,
    ) {
        let frame = self.template.push(opaque, out);
        write_hex(&mut frame[self.key_at..self.key_at + 16], sequence);
        write_digits(&mut frame[self.born_at..self.born_at + 13], born_ms);
        Stamp {
            sequence,
            sent_ns,
            ..self.stamp
        }
        .seal(fill, frame);
    }
}

/// The pulls from one queue.
pub struct PullTemplate {
    template: Template,
    offset_at: usize,
}

/// Digits of an offset in a pull; the leading ones are zeros.
const OFFSET_DIGITS: usize = 19;

impl PullTemplate {
    /// Builds the frame. `suspend_ms` is how long the broker may hold the request when there is nothing to read.
    pub fn new(
        topic: &str,
        queue: u16,
        max_messages: u32,
        suspend_ms: u64,
        serialization: Serialization,
    ) -> Self {
        let offset_mark = "1".repeat(OFFSET_DIGITS);
        let fields = [
            ("consumerGroup", "mqbench-consumer".to_owned()),
            ("topic", topic.to_owned()),
            ("queueId", queue.to_string()),
            ("queueOffset", offset_mark.clone()),
            ("maxMsgNums", max_messages.to_string()),
            ("sysFlag", PULL_SYS_FLAG.to_owned()),
            ("commitOffset", "0".to_owned()),
            ("suspendTimeoutMillis", suspend_ms.to_string()),
            ("subscription", "*".to_owned()),
            ("subVersion", "0".to_owned()),
            ("expressionType", "TAG".to_owned()),
        ];
        let template = Template::new(serialization, PULL_MESSAGE, &fields, b"");
        let offset_at = template.find(offset_mark.as_bytes());
        Self {
            template,
            offset_at,
        }
    }

    /// Appends a pull from `offset` on.
    pub fn push(&self, opaque: u32, offset: u64, out: &mut Vec<u8>) {
        let frame = self.template.push(opaque, out);
        write_digits(
            &mut frame[self.offset_at..self.offset_at + OFFSET_DIGITS],
            offset,
        );
    }
}

/// Commits of transactions.
pub struct EndTemplate {
    template: Template,
    offset_at: usize,
    position_at: usize,
}

impl EndTemplate {
    /// Builds the frame. Stock clients send it `oneway`.
    pub fn new(serialization: Serialization, oneway: bool) -> Self {
        let (offset, position) = ("1".repeat(OFFSET_DIGITS), "2".repeat(OFFSET_DIGITS));
        let fields = [
            ("producerGroup", PRODUCER_GROUP.to_owned()),
            ("tranStateTableOffset", offset.clone()),
            ("commitLogOffset", position.clone()),
            ("commitOrRollback", COMMIT.to_owned()),
            ("fromTransactionCheck", "false".to_owned()),
        ];
        let template = Template::new(serialization, END_TRANSACTION, &fields, b"");
        let template = if oneway { template.oneway() } else { template };
        let offset_at = template.find(offset.as_bytes());
        let position_at = template.find(position.as_bytes());
        Self {
            template,
            offset_at,
            position_at,
        }
    }

    /// Appends the commit of the half message at this offset of its queue and this position of the log.
    pub fn push(&self, opaque: u32, offset: u64, position: u64, out: &mut Vec<u8>) {
        let frame = self.template.push(opaque, out);
        for (at, number) in [(self.offset_at, offset), (self.position_at, position)] {
            write_digits(&mut frame[at..at + OFFSET_DIGITS], number);
        }
    }
}

/// Route queries for one topic.
pub struct RouteTemplate(Template);

impl RouteTemplate {
    /// Builds the frame.
    pub fn new(topic: &str, serialization: Serialization) -> Self {
        let fields = [
            ("topic", topic.to_owned()),
            ("acceptStandardJsonOnly", "true".to_owned()),
        ];
        Self(Template::new(
            serialization,
            GET_ROUTEINFO_BY_TOPIC,
            &fields,
            b"",
        ))
    }

    /// Appends a query.
    pub fn push(&self, opaque: u32, out: &mut Vec<u8>) {
        self.0.push(opaque, out);
    }
}

/// Commits of offsets in one queue.
pub struct CommitTemplate {
    template: Template,
    offset_at: usize,
}

impl CommitTemplate {
    /// Builds the frame.
    pub fn new(group: &str, topic: &str, queue: u16, serialization: Serialization) -> Self {
        let mark = format!("{:0OFFSET_DIGITS$}", u64::MAX / 2);
        let fields = [
            ("consumerGroup", group.to_owned()),
            ("topic", topic.to_owned()),
            ("queueId", queue.to_string()),
            ("commitOffset", mark.clone()),
        ];
        let template = Template::new(serialization, UPDATE_CONSUMER_OFFSET, &fields, b"");
        let offset_at = template.find(mark.as_bytes());
        Self {
            template,
            offset_at,
        }
    }

    /// Appends a commit of `offset`.
    pub fn push(&self, opaque: u32, offset: u64, out: &mut Vec<u8>) {
        let frame = self.template.push(opaque, out);
        write_digits(
            &mut frame[self.offset_at..self.offset_at + OFFSET_DIGITS],
            offset,
        );
    }
}

/// Any other request, for preparing a run.
pub fn control(code: i32, opaque: u32, fields: &[(&str, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    Template::new(Serialization::Json, code, fields, b"").push(opaque, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp;

    fn send(serialization: Serialization) -> Vec<u8> {
        let fill = Fill::new(100, 1);
        let template = SendTemplate::new(&SendSpec {
            topic: "T",
            queue: 3,
            run: 0xAB,
            producer: 2,
            ordered: true,
            fill: &fill,
            serialization,
            kind: Kind::Plain,
        });
        let mut out = b"before".to_vec();
        template.push(1_234_567_890, 0x1F, 77, 1_700_000_000_123, &fill, &mut out);
        out.split_off(6)
    }

    fn parts(frame: &[u8]) -> (u8, &[u8], &[u8]) {
        let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), frame.len() - 4);
        let header = u32::from_be_bytes(frame[4..8].try_into().unwrap()) & 0xFF_FFFF;
        let (header, body) = frame[8..].split_at(usize::try_from(header).unwrap());
        (frame[4], header, body)
    }

    #[test]
    fn a_timer_carries_its_time_and_an_end_names_its_half() {
        let fill = Fill::new(64, 1);
        let spec = SendSpec {
            topic: "T",
            queue: 0,
            run: 1,
            producer: 0,
            ordered: false,
            fill: &fill,
            serialization: Serialization::Json,
            kind: Kind::Timer,
        };
        let mut out = b"before".to_vec();
        let due_ms = 1_700_000_000_456;
        SendTemplate::new(&spec).push_timer(
            (OPAQUE_FIRST, due_ms),
            3,
            (77, 1_700_000_000_123),
            &fill,
            &mut out,
        );
        let text = String::from_utf8_lossy(&out);
        assert!(
            text.contains("TIMER_DELIVER_MS\\u00011700000000456\\u0002"),
            "{text}"
        );
        assert!(text.contains("\"g\":\"1700000000123\""), "{text}");

        out.clear();
        EndTemplate::new(Serialization::Json, false).push(OPAQUE_FIRST, 42, 4711, &mut out);
        let text = String::from_utf8_lossy(&out);
        for (name, number) in [("tranStateTableOffset", 42), ("commitLogOffset", 4711)] {
            let field = format!("\"{name}\":\"{number:0OFFSET_DIGITS$}\"");
            assert!(text.contains(&field), "{text}");
        }
    }

    #[test]
    fn a_commit_carries_its_offset() {
        let template = CommitTemplate::new("g", "t", 3, Serialization::Json);
        let mut out = Vec::new();
        template.push(OPAQUE_FIRST + 7, 42, &mut out);
        let text = String::from_utf8_lossy(&out);
        let offset = format!("\"commitOffset\":\"{:0OFFSET_DIGITS$}\"", 42);
        assert!(
            text.contains(&offset) && text.contains("\"queueId\":\"3\""),
            "{text}"
        );
        assert!(text.contains("\"opaque\":1000000007"), "{text}");
    }

    #[test]
    fn a_json_send_carries_what_changes() {
        let frame = send(Serialization::Json);
        let (kind, header, body) = parts(&frame);
        let header: serde_json::Value = serde_json::from_slice(header).unwrap();
        assert_eq!(
            (kind, &header["code"], &header["opaque"]),
            (0, &310.into(), &1_234_567_890.into())
        );
        let fields = &header["extFields"];
        assert_eq!(fields["g"], "1700000000123");
        assert_eq!(fields["e"], "3");
        assert_eq!(
            fields["i"],
            "UNIQ_KEY\u{1}000000AB00020003000000000000001F\u{2}WAIT\u{1}true\u{2}"
        );
        let stamp = stamp::open(body, crc32fast::hash(body) & 0x7FFF_FFFF).unwrap();
        let expected = Stamp {
            run: 0xAB,
            producer: 2,
            ordered: true,
            queue: 3,
            sequence: 0x1F,
            sent_ns: 77,
        };
        assert_eq!((stamp, body.len()), (expected, 100));
    }

    #[test]
    fn a_binary_send_carries_the_same() {
        let frame = send(Serialization::Rocketmq);
        let (kind, header, body) = parts(&frame);
        assert_eq!((kind, &header[..2]), (1, &310i16.to_be_bytes()[..]));
        assert_eq!(header[5..9], 1_234_567_890i32.to_be_bytes());
        let key = b"UNIQ_KEY\x01000000AB00020003000000000000001F\x02";
        assert!(header.windows(key.len()).any(|window| window == key));
        assert!(stamp::open(body, crc32fast::hash(body) & 0x7FFF_FFFF).is_some());
    }

    #[test]
    fn a_pull_asks_for_its_offset() {
        let template = PullTemplate::new("T", 1, 32, 5_000, Serialization::Json);
        let mut out = Vec::new();
        template.push(OPAQUE_LAST, 1_234, &mut out);
        let (_, header, body) = parts(&out);
        let header: serde_json::Value = serde_json::from_slice(header).unwrap();
        assert_eq!(header["opaque"], 2_147_483_647);
        assert_eq!(header["extFields"]["queueOffset"], "0000000000000001234");
        assert!(body.is_empty());
    }

    #[test]
    fn control_requests_are_frames() {
        let frame = control(17, OPAQUE_FIRST, &[("topic", "T".to_owned())]);
        let (_, header, _) = parts(&frame);
        let header: serde_json::Value = serde_json::from_slice(header).unwrap();
        assert_eq!(
            (&header["code"], &header["extFields"]["topic"]),
            (&17.into(), &"T".into())
        );
    }
}
