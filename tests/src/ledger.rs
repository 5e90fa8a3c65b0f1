use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail, ensure};

/// A message as its sender or a receiver saw it: one `ack` or `got` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it, and as the how manieth.
    pub id: (String, u32),
    /// Bytes of the body.
    pub len: usize,
    /// CRC32 of the body.
    pub sum: String,
    /// Its tag.
    pub tag: String,
    /// Its queue; −1 where the sender was not told.
    pub queue: i32,
    /// Its place in the queue; −1 where the sender was not told.
    pub offset: i64,
    /// A receiver's line: milliseconds since it was sent. A sender's: when it was acknowledged.
    pub millis: i64,
}

impl Message {
    /// The message of a line that starts with `event`; `None` for other lines.
    ///
    /// # Errors
    /// When such a line has another form.
    pub fn parse(event: &str, line: &str) -> Result<Option<Self>> {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] != event {
            return Ok(None);
        }
        let [_, sender, index, len, sum, tag, queue, offset, millis] = words[..] else {
            bail!("{event} line of another form: {line}");
        };
        let parsed = || -> Result<Self> {
            Ok(Self {
                id: (sender.to_owned(), index.parse()?),
                len: len.parse()?,
                sum: sum.to_owned(),
                tag: tag.to_owned(),
                queue: queue.parse()?,
                offset: offset.parse()?,
                millis: millis.parse()?,
            })
        };
        parsed().with_context(|| line.to_owned()).map(Some)
    }

    /// The messages of all lines that start with `event`.
    ///
    /// # Errors
    /// When such a line has another form.
    pub fn all(event: &str, lines: &[String]) -> Result<Vec<Self>> {
        lines
            .iter()
            .filter_map(|line| Self::parse(event, line).transpose())
            .collect()
    }
}

/// Everything that was acknowledged; receivers' reports are checked against it.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: BTreeMap<(String, u32), Message>,
}

impl Ledger {
    /// Adds what a sender says was acknowledged.
    ///
    /// # Errors
    /// When the same message was acknowledged twice.
    pub fn add(&mut self, acknowledged: Vec<Message>) -> Result<()> {
        for message in acknowledged {
            let id = message.id.clone();
            ensure!(
                self.sent.insert(id.clone(), message).is_none(),
                "{id:?} acknowledged twice"
            );
        }
        Ok(())
    }

    /// How many messages carry one of `tags`, or are there at all when it is empty.
    pub fn count(&self, tags: &[&str]) -> usize {
        self.wanted(tags).count()
    }

    fn wanted<'a>(&'a self, tags: &'a [&str]) -> impl Iterator<Item = &'a Message> {
        self.sent
            .values()
            .filter(move |message| tags.is_empty() || tags.contains(&message.tag.as_str()))
    }

    /// Every wanted message arrived, unaltered, in the queue and at the place its sender was told.
    ///
    /// # Errors
    /// Names the first that did not.
    pub fn nothing_lost(&self, who: &str, received: &[Message], tags: &[&str]) -> Result<()> {
        let mut by_id: HashMap<&(String, u32), Vec<&Message>> = HashMap::new();
        for message in received {
            by_id.entry(&message.id).or_default().push(message);
        }
        for sent in self.wanted(tags) {
            let copies = by_id.get(&sent.id).map_or(&[][..], Vec::as_slice);
            ensure!(
                !copies.is_empty(),
                "{who}: {sent:?} was acknowledged and never arrived"
            );
            for got in copies {
                ensure!(
                    (got.len, &got.sum, &got.tag) == (sent.len, &sent.sum, &sent.tag),
                    "{who}: sent {sent:?}, received {got:?}"
                );
            }
            // A send that was repeated unnoticed lies at two places; one of them is the promised one.
            ensure!(
                sent.queue < 0
                    || copies
                        .iter()
                        .any(|got| (got.queue, got.offset) == (sent.queue, sent.offset)),
                "{who}: {sent:?} lies elsewhere: {copies:?}"
            );
        }
        Ok(())
    }

    /// As `nothing_lost`, and nothing arrived twice or without having been sent.
    ///
    /// # Errors
    /// Names the first message for which that is not so.
    pub fn each_once(&self, who: &str, received: &[Message], tags: &[&str]) -> Result<()> {
        let mut seen: HashMap<&(String, u32), &Message> = HashMap::new();
        for got in received {
            ensure!(
                self.sent.contains_key(&got.id),
                "{who}: {got:?} was never acknowledged to a sender"
            );
            ensure!(
                tags.is_empty() || tags.contains(&got.tag.as_str()),
                "{who}: {got:?} has a tag nobody subscribed to"
            );
            if let Some(first) = seen.insert(&got.id, got) {
                bail!("{who}: {got:?} arrived twice, first as {first:?}");
            }
        }
        self.nothing_lost(who, received, tags)
    }
}

/// Within each queue messages arrived in the order of their offsets, none twice.
///
/// # Errors
/// Names the first that did not.
pub fn in_order(who: &str, received: &[Message]) -> Result<()> {
    let mut last: HashMap<i32, i64> = HashMap::new();
    for got in received {
        if let Some(before) = last.insert(got.queue, got.offset) {
            ensure!(
                before < got.offset,
                "{who}: {got:?} arrived after offset {before}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32, tag: &str, queue: i32, offset: i64) -> Message {
        Message {
            id: ("S".to_owned(), index),
            len: 3,
            sum: "0a0b0c0d".to_owned(),
            tag: tag.to_owned(),
            queue,
            offset,
            millis: 0,
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger
            .add(vec![message(0, "A", 0, 0), message(1, "B", 1, 0)])
            .unwrap();
        ledger
    }

    #[test]
    fn lines_are_read_and_others_passed_over() {
        let lines = ["ready", "got S 7 3 0a0b0c0d A 2 9 15"].map(str::to_owned);
        let mut expected = message(7, "A", 2, 9);
        expected.millis = 15;
        assert_eq!(Message::all("got", &lines).unwrap(), [expected]);
        assert!(Message::parse("got", "got S 7 3").is_err());
    }

    #[test]
    fn what_arrived_once_and_unaltered_is_fine() {
        let received = [message(1, "B", 1, 0), message(0, "A", 0, 0)];
        ledger().each_once("test", &received, &[]).unwrap();
        ledger().each_once("test", &received[..1], &["B"]).unwrap();
    }

    #[test]
    fn lost_doubled_altered_misplaced_and_unknown_messages_are_found() {
        let (a, b) = (message(0, "A", 0, 0), message(1, "B", 1, 0));
        let altered = Message {
            sum: "00000000".to_owned(),
            ..b.clone()
        };
        for received in [
            vec![a.clone()],
            vec![a.clone(), b.clone(), b.clone()],
            vec![a.clone(), altered],
            vec![a.clone(), message(1, "B", 1, 5)],
            vec![a.clone(), b.clone(), message(2, "A", 0, 1)],
        ] {
            let checked = ledger().each_once("test", &received, &[]);
            assert!(checked.is_err(), "{received:?}");
        }
        // A copy is no loss.
        ledger()
            .nothing_lost("test", &[a, b.clone(), message(1, "B", 1, 5)], &[])
            .unwrap();
        assert!(ledger().each_once("test", &[b], &["A"]).is_err());
    }

    #[test]
    fn order_is_checked_within_each_queue() {
        let fine = [
            message(0, "A", 0, 1),
            message(1, "A", 1, 0),
            message(2, "A", 0, 2),
        ];
        in_order("test", &fine).unwrap();
        let wrong = [message(0, "A", 0, 2), message(1, "A", 0, 1)];
        assert!(in_order("test", &wrong).is_err());
    }
}
