//! Batches that are one record, and messages in light queues: written by both makers in turns.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::message::batch::{self, BatchMessage};
use common::message::record::RecordView;
use common::message::tags_code;
use rand::Rng;
use rand::rngs::StdRng;
use tests::{Answer, Connection, patiently};

use super::site::{End, Maker, Site};
use super::wire;

/// Dispatch of what was just acknowledged, on a busy machine.
const VISIBLE: Duration = Duration::from_secs(30);
const WHOLES: &str = "wholes";
const PLAIN: &str = "plain";
const LIGHT: [&str; 2] = ["%LMQ%one", "%LMQ%two"];
const GROUP: &str = "%LMQ%group";
const UNIT_BYTES: usize = 46;

/// What the store holds, by queue, record by record as they were first read.
#[derive(Default)]
pub struct Wholes {
    batches: Vec<Vec<u8>>,
    light: [Vec<Vec<u8>>; 2],
    sends: usize,
    committed: i64,
}

fn view(record: &[u8]) -> Result<RecordView<'_>> {
    Ok(RecordView::parse(record)?)
}

/// Messages a record stands for, and the offset of the first.
fn span(record: &[u8]) -> Result<(u64, u64)> {
    let view = view(record)?;
    let count = view.property("INNER_NUM").map_or(Ok(1), str::parse)?;
    Ok((u64::try_from(view.queue_offset)?, count))
}

/// One pull of `WHOLES`, for so many messages.
fn pull(connection: &mut Connection, offset: u64, count: u32) -> Result<Answer> {
    let (offset, count) = (offset.to_string(), count.to_string());
    let fields = [
        ("consumerGroup", "cross-consumer"),
        ("topic", WHOLES),
        ("queueId", "0"),
        ("queueOffset", &offset),
        ("maxMsgNums", &count),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    connection.call(11, &fields, &[])
}

impl Wholes {
    /// A broker serves what is known, takes more, and ends.
    pub fn turn(
        &mut self,
        site: &mut Site,
        (maker, end): (Maker, End),
        rng: &mut StdRng,
    ) -> Result<()> {
        let mut connection = site.start(maker)?;
        if self.sends == 0 {
            connection.create_topic_with(WHOLES, 1, "+queue.type=BatchCQ")?;
            connection.create_topic(PLAIN, 1)?;
        } else {
            self.verify(&mut connection, rng)
                .with_context(|| format!("at {maker:?}"))?;
        }
        for _ in 0..rng.random_range(20..40) {
            self.send_whole(&mut connection, rng)?;
            Self::send_light(&mut connection, rng)?;
        }
        self.read_on(&mut connection)?;
        self.committed = i64::try_from(self.light[0].len())? - 1;
        wire::commit(&mut connection, GROUP, LIGHT[0], 0, self.committed)?;
        if end == End::Kill {
            // Both write offsets to the file every now and then.
            let file = site.store().join("config/lmqConsumerOffset.json");
            let wanted = format!("\"{}@{GROUP}\":{}", LIGHT[0], self.committed);
            patiently("the offset is in its file", VISIBLE, || {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                let text: String = text.split_whitespace().collect();
                Ok(text.contains(&wanted).then_some(()))
            })?;
        }
        site.end(end)?;
        if end == End::Clean {
            self.check_units(&site.store())
                .with_context(|| format!("files of {maker:?}"))?;
        }
        Ok(())
    }

    fn end(&self) -> Result<u64> {
        let last = self.batches.last().map(|last| span(last)).transpose()?;
        Ok(last.map_or(0, |(offset, count)| offset + count))
    }

    /// Everything known is there, wherever a reader begins and however much it asks for.
    fn verify(&self, connection: &mut Connection, rng: &mut StdRng) -> Result<()> {
        let end = self.end()?;
        let ends = wire::ends(connection, WHOLES, 0)?;
        ensure!(ends == (0, end), "{WHOLES} is {ends:?}, not 0..{end}");
        let records = wire::records(connection, WHOLES, 0, 0, end)?;
        ensure!(records == self.batches, "other batches");
        for (topic, known) in LIGHT.iter().zip(&self.light) {
            let ends = wire::ends(connection, topic, 0)?;
            ensure!(
                ends == (0, known.len() as u64),
                "{topic} is {ends:?}, {} are known",
                known.len()
            );
            let records = wire::records(connection, topic, 0, 0, ends.1)?;
            ensure!(records == *known, "other messages in {topic}");
        }
        let committed = wire::committed(connection, GROUP, LIGHT[0], 0)?;
        ensure!(
            committed == self.committed,
            "{GROUP} is at {committed}, not {}",
            self.committed
        );
        for _ in 0..20 {
            self.probe(connection, rng)?;
        }
        Ok(())
    }

    /// One pull, and a search by time.
    fn probe(&self, connection: &mut Connection, rng: &mut StdRng) -> Result<()> {
        let (offset, most) = (
            rng.random_range(0..self.end()?),
            u64::from(rng.random_range(1..33_u32)),
        );
        let mut expected = Vec::new();
        let mut sum = 0;
        for record in &self.batches {
            let (base, count) = span(record)?;
            if base + count <= offset {
                continue;
            }
            if sum > 0 && sum + count > most {
                break;
            }
            sum += count;
            expected.push(record.clone());
        }
        let answer = pull(connection, offset, u32::try_from(most)?)?.ok()?;
        let mut found = Vec::new();
        wire::split(&answer.body, &mut found)?;
        // The last record of what one file holds may end a pull of the reference.
        ensure!(
            !found.is_empty() && expected.starts_with(&found),
            "{} of {} records from {offset} on, at most {most} messages",
            found.len(),
            expected.len()
        );
        let (base, count) = span(found.last().context("a record")?)?;
        let next = u64::try_from(answer.number("nextBeginOffset")?)?;
        ensure!(
            next == base + count,
            "goes on at {next}, not {}",
            base + count
        );

        let time = view(&self.batches[rng.random_range(0..self.batches.len())])?.store_timestamp;
        let mut bases = Vec::new();
        for record in &self.batches {
            if view(record)?.store_timestamp == time {
                bases.push(span(record)?.0);
            }
        }
        // Of several batches of one millisecond the reference takes any.
        let found = wire::by_time(connection, WHOLES, 0, time, "LOWER")?;
        ensure!(
            bases.contains(&found),
            "at {time} is {found}, not {bases:?}"
        );
        Ok(())
    }

    fn send_whole(&mut self, connection: &mut Connection, rng: &mut StdRng) -> Result<()> {
        self.sends += 1;
        let count = rng.random_range(0..9);
        let mut body = Vec::new();
        for n in 0..count {
            let text = format!("{} {n}", self.sends);
            let properties = format!("UNIQ_KEY\u{1}u{}-{n}\u{2}", self.sends);
            let message = BatchMessage {
                flag: n,
                body: text.as_bytes(),
                properties: &properties,
            };
            batch::encode(&message, &mut body)?;
        }
        let (code, batch) = if count == 0 {
            body = b"a single one".to_vec();
            (310, "false")
        } else {
            (320, "true")
        };
        let properties = format!("UNIQ_KEY\u{1}whole-{}\u{2}TAGS\u{1}t\u{2}", self.sends);
        let answer = send(connection, (code, WHOLES, batch), &properties, &body)?;
        let unique = format!("whole-{}", self.sends);
        ensure!(count == 0 || answer.field("batchUniqId") == unique);
        ensure!(!answer.field("msgId").contains(','), "several ids");
        Ok(())
    }

    fn send_light(connection: &mut Connection, rng: &mut StdRng) -> Result<()> {
        let names = match rng.random_range(0..3) {
            0 => LIGHT[0].to_owned(),
            1 => LIGHT[1].to_owned(),
            _ => LIGHT.join(","),
        };
        let properties = format!("TAGS\u{1}l\u{2}INNER_MULTI_DISPATCH\u{1}{names}\u{2}");
        send(connection, (310, PLAIN, "false"), &properties, b"light").map(drop)
    }

    /// Waits until everything sent can be read, and remembers it.
    fn read_on(&mut self, connection: &mut Connection) -> Result<()> {
        let (_, end) = wire::ends(connection, PLAIN, 0)?;
        patiently("light messages can be read", VISIBLE, || {
            let (_, max) = wire::ends(connection, PLAIN, 0)?;
            let records = wire::records(connection, PLAIN, 0, 0, max)?;
            let mut expected = [0, 0];
            for record in &records {
                let names = view(record)?.property("INNER_MULTI_DISPATCH");
                let names: Vec<_> = names.unwrap_or_default().split(',').collect();
                for (light, count) in LIGHT.iter().zip(&mut expected) {
                    *count += u64::from(names.contains(light));
                }
            }
            let mut all = max >= end;
            for (light, count) in LIGHT.iter().zip(expected) {
                all &= wire::ends(connection, light, 0)?.1 == count;
            }
            // Each kind is sent as often as the other.
            let (_, end) = wire::ends(connection, WHOLES, 0)?;
            let whole = wire::records(connection, WHOLES, 0, 0, end)?;
            Ok((all && whole.len() == self.sends && records.len() == self.sends).then_some(()))
        })?;
        let (_, max) = wire::ends(connection, WHOLES, 0)?;
        let now = wire::records(connection, WHOLES, 0, 0, max)?;
        ensure!(now.starts_with(&self.batches), "batches have changed");
        self.batches = now;
        let mut next = 0;
        for record in &self.batches {
            let (offset, count) = span(record)?;
            ensure!(offset == next, "a batch at {offset}, not {next}");
            let base = view(record)?.property("INNER_BASE").map(str::to_owned);
            ensure!(base.is_none_or(|base| base == offset.to_string()));
            next += count;
        }
        for (topic, known) in LIGHT.iter().zip(&mut self.light) {
            let (_, max) = wire::ends(connection, topic, 0)?;
            let now = wire::records(connection, topic, 0, 0, max)?;
            ensure!(now.starts_with(known), "{topic} has changed");
            *known = now;
        }
        Ok(())
    }

    /// Every unit is what its record makes of it.
    fn check_units(&self, store: &Path) -> Result<()> {
        let folder = store.join("batchconsumequeue").join(WHOLES).join("0");
        let mut files: Vec<_> = folder
            .read_dir()?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let mut bytes = Vec::new();
        for file in files {
            bytes.extend(std::fs::read(file)?);
        }
        let (units, _) = bytes.as_chunks::<UNIT_BYTES>();
        for (record, unit) in self.batches.iter().zip(units) {
            let ((offset, count), view) = (span(record)?, view(record)?);
            let mut expected = view.physical_offset.to_be_bytes().to_vec();
            expected.extend_from_slice(&view.total_size.to_be_bytes());
            let code = view.property("TAGS").map_or(0, tags_code);
            expected.extend_from_slice(&code.to_be_bytes());
            expected.extend_from_slice(&view.store_timestamp.to_be_bytes());
            expected.extend_from_slice(&offset.to_be_bytes());
            expected.extend_from_slice(&u16::try_from(count)?.to_be_bytes());
            expected.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
            ensure!(
                expected == *unit,
                "unit {unit:?} of {offset}, not {expected:?}"
            );
        }
        let rest = units.get(self.batches.len()..).unwrap_or_default();
        ensure!(
            rest.iter().flatten().all(|byte| *byte == 0),
            "units nobody sent"
        );
        Ok(())
    }
}

fn send(
    connection: &mut Connection,
    (code, topic, batch): (i32, &str, &str),
    properties: &str,
    body: &[u8],
) -> Result<Answer> {
    let fields = [
        ("a", "cross-producer"),
        ("b", topic),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties),
        ("j", "0"),
        ("k", "false"),
        ("m", batch),
    ];
    connection.call(code, &fields, body)?.ok()
}
