//! What was promised and what arrived, and the comparison of the two.
//!
//! Both sides are kept per queue and offset. Producers note "message m was acknowledged at offset o", consumers
//! note "message m was read at offset o". Nothing here knows sockets or time.

use std::collections::{BTreeMap, HashMap};

/// One message of a run: who sent it and its number among those of this source for the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber {
    /// Source (a producer of some run), see [`Sources`].
    pub source: u16,
    /// From 0, per source and queue.
    pub sequence: u64,
}

const SEQUENCE_BITS: u32 = 48;

impl MessageNumber {
    /// Never zero, so that zero can mean "nothing here".
    fn pack(self) -> u64 {
        u64::from(self.source) << SEQUENCE_BITS | (self.sequence + 1)
    }

    fn unpack(packed: u64) -> Option<Self> {
        let source = u16::try_from(packed >> SEQUENCE_BITS).ok()?;
        let sequence = (packed & ((1 << SEQUENCE_BITS) - 1)).checked_sub(1)?;
        Some(Self { source, sequence })
    }
}

/// Small numbers for the producers whose messages are met.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    known: Vec<Source>,
    index: HashMap<(u32, u16), u16>,
}

/// A producer of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    ordered: bool,
}

impl Sources {
    /// The number of a producer; it gets one at the first call. `None`: more than 65,535 producers.
    pub fn number(&mut self, run: u32, producer: u16, ordered: bool) -> Option<u16> {
        if let Some(&number) = self.index.get(&(run, producer)) {
            return Some(number);
        }
        let number = u16::try_from(self.known.len()).ok()?;
        self.known.push(Source { ordered });
        self.index.insert((run, producer), number);
        Some(number)
    }

    /// The producer sends one message at a time.
    pub fn is_ordered(&self, source: u16) -> bool {
        self.known
            .get(usize::from(source))
            .is_some_and(|source| source.ordered)
    }
}

/// Why an entry was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The same message stands there already.
    Same,
    /// Another message stands there.
    Taken,
    /// The offset lies before the start of the run or absurdly far behind it, or the queue is unknown.
    Absurd,
}

/// Messages by queue and offset.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    queues: Vec<Page>,
}

#[derive(Clone, Debug, Default)]
struct Page {
    base: u64,
    numbers: Vec<u64>,
}

/// No run of this tool puts more messages into one queue; bounds what a wrong answer can make it allocate.
const QUEUE_LIMIT: usize = 1 << 26;

impl Ledger {
    /// An empty ledger for queues that begin at `bases`.
    pub fn new(bases: &[u64]) -> Self {
        Self {
            queues: bases
                .iter()
                .map(|&base| Page {
                    base,
                    numbers: Vec::new(),
                })
                .collect(),
        }
    }

    /// Notes `message` at `offset` of `queue`.
    pub fn put(&mut self, queue: u16, offset: u64, message: MessageNumber) -> Result<(), Rejected> {
        self.put_packed(usize::from(queue), offset, message.pack())
    }

    fn put_packed(&mut self, queue: usize, offset: u64, packed: u64) -> Result<(), Rejected> {
        let page = self.queues.get_mut(queue).ok_or(Rejected::Absurd)?;
        let at = offset
            .checked_sub(page.base)
            .and_then(|at| usize::try_from(at).ok())
            .ok_or(Rejected::Absurd)?;
        if at >= QUEUE_LIMIT {
            return Err(Rejected::Absurd);
        }
        if at >= page.numbers.len() {
            page.numbers.resize(at + 1, 0);
        }
        match page.numbers[at] {
            0 => page.numbers[at] = packed,
            there if there == packed => return Err(Rejected::Same),
            _ => return Err(Rejected::Taken),
        }
        Ok(())
    }

    /// Takes over everything of `other`; the number of entries that were rejected.
    pub fn merge(&mut self, other: &Self) -> u64 {
        if self.queues.is_empty() {
            self.queues.clone_from(&other.queues);
            return 0;
        }
        let mut rejected = 0;
        for (queue, page) in other.queues.iter().enumerate() {
            for (offset, &packed) in (page.base..).zip(&page.numbers) {
                if packed != 0 && self.put_packed(queue, offset, packed).is_err() {
                    rejected += 1;
                }
            }
        }
        rejected
    }

    /// Number of messages noted.
    pub fn len(&self) -> u64 {
        self.queues
            .iter()
            .map(|page| page.numbers.iter().filter(|&&packed| packed != 0).count() as u64)
            .sum()
    }

    /// Per queue the offset after the last one noted.
    pub fn ends(&self) -> Vec<u64> {
        self.queues
            .iter()
            .map(|page| page.base + page.numbers.len() as u64)
            .collect()
    }

    /// Offsets between the first and the last of each queue at which nothing was noted.
    pub fn holes(&self) -> u64 {
        self.queues
            .iter()
            .map(|page| {
                page.numbers
                    .iter()
                    .skip_while(|&&packed| packed == 0)
                    .filter(|&&packed| packed == 0)
                    .count()
            })
            .sum::<usize>() as u64
    }

    fn get(&self, queue: usize, offset: u64) -> Option<MessageNumber> {
        let page = self.queues.get(queue)?;
        let at = usize::try_from(offset.checked_sub(page.base)?).ok()?;
        page.numbers
            .get(at)
            .copied()
            .and_then(MessageNumber::unpack)
    }

    fn entries(&self, queue: usize) -> impl Iterator<Item = (u64, MessageNumber)> + '_ {
        let page = self.queues.get(queue);
        let (base, numbers) = page.map_or((0, &[][..]), |page| (page.base, &page.numbers));
        (base..)
            .zip(numbers)
            .filter_map(|(offset, &packed)| Some((offset, MessageNumber::unpack(packed)?)))
    }
}

/// What the comparison of promises and arrivals found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Audit {
    /// Acknowledged, or sent before another one of its source that arrived, but not read.
    pub lost: u64,
    /// Read at more than one offset.
    pub doubled: u64,
    /// Read in another order, or at another offset, than was promised.
    pub reordered: u64,
}

/// Compares what was read with what was acknowledged, or, without that, with itself: the sequence of each source must
/// be whole, and rise where the source sent one message at a time.
pub fn audit(read: &Ledger, acknowledged: Option<&Ledger>, sources: &Sources) -> Audit {
    let mut found = Audit::default();
    let queues = read
        .queues
        .len()
        .max(acknowledged.map_or(0, |ledger| ledger.queues.len()));
    for queue in 0..queues {
        audit_queue(queue, read, acknowledged, sources, &mut found);
    }
    found
}

fn audit_queue(
    queue: usize,
    read: &Ledger,
    acknowledged: Option<&Ledger>,
    sources: &Sources,
    found: &mut Audit,
) {
    let mut by_source: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for (_, message) in read.entries(queue) {
        by_source
            .entry(message.source)
            .or_default()
            .push(message.sequence);
    }
    let mut falls = 0;
    for (&source, sequences) in &mut by_source {
        if sources.is_ordered(source) {
            falls += sequences
                .windows(2)
                .filter(|pair| pair[1] < pair[0])
                .count() as u64;
        }
        sequences.sort_unstable();
        found.doubled += sequences
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .count() as u64;
        sequences.dedup();
        if acknowledged.is_none() {
            let whole = sequences.last().map_or(0, |last| last + 1);
            found.lost += whole - sequences.len() as u64;
        }
    }
    let mut misplaced = 0;
    for (offset, message) in acknowledged
        .into_iter()
        .flat_map(|ledger| ledger.entries(queue))
    {
        if read.get(queue, offset) == Some(message) {
            continue;
        }
        let arrived = by_source
            .get(&message.source)
            .is_some_and(|sequences| sequences.binary_search(&message.sequence).is_ok());
        if arrived {
            misplaced += 1;
        } else {
            found.lost += 1;
        }
    }
    // A swap shows as a fall and as misplaced messages; it is counted once.
    found.reordered += falls.max(misplaced);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(source: u16, sequence: u64) -> MessageNumber {
        MessageNumber { source, sequence }
    }

    /// A ledger of one queue from offset 10 on; `None` leaves the offset empty.
    fn ledger(messages: &[Option<MessageNumber>]) -> Ledger {
        let mut ledger = Ledger::new(&[10]);
        for (offset, message) in (10..).zip(messages) {
            if let Some(message) = message {
                ledger.put(0, offset, *message).unwrap();
            }
        }
        ledger
    }

    fn of_one_source(sequences: &[u64]) -> Ledger {
        ledger(
            &sequences
                .iter()
                .map(|&sequence| Some(message(0, sequence)))
                .collect::<Vec<_>>(),
        )
    }

    fn sources(ordered: bool) -> Sources {
        let mut sources = Sources::default();
        sources.number(1, 0, ordered).unwrap();
        sources
    }

    #[test]
    fn what_was_promised_and_read_in_order_is_clean() {
        let ledger = of_one_source(&[0, 1, 2, 3]);
        assert_eq!(
            audit(&ledger, Some(&ledger), &sources(true)),
            Audit::default()
        );
        assert_eq!(audit(&ledger, None, &sources(true)), Audit::default());
    }

    #[test]
    fn a_lost_message_is_found() {
        let acknowledged = of_one_source(&[0, 1, 2, 3]);
        let read = ledger(&[
            Some(message(0, 0)),
            Some(message(0, 1)),
            None,
            Some(message(0, 3)),
        ]);
        let expected = Audit {
            lost: 1,
            ..Audit::default()
        };
        assert_eq!(audit(&read, Some(&acknowledged), &sources(true)), expected);
        assert_eq!(audit(&read, None, &sources(true)), expected);
    }

    #[test]
    fn lost_last_messages_are_found_by_the_promises() {
        let expected = Audit {
            lost: 2,
            ..Audit::default()
        };
        assert_eq!(
            audit(
                &of_one_source(&[0, 1]),
                Some(&of_one_source(&[0, 1, 2, 3])),
                &sources(true)
            ),
            expected
        );
        let nothing = Ledger::new(&[10]);
        assert_eq!(
            audit(&nothing, Some(&of_one_source(&[0, 1])), &sources(true)),
            expected
        );
    }

    #[test]
    fn a_doubled_message_is_found() {
        let read = of_one_source(&[0, 1, 1, 2]);
        let expected = Audit {
            doubled: 1,
            ..Audit::default()
        };
        assert_eq!(audit(&read, None, &sources(true)), expected);
        let acknowledged = of_one_source(&[0, 1]);
        let read = of_one_source(&[0, 1, 1]);
        assert_eq!(audit(&read, Some(&acknowledged), &sources(true)), expected);
    }

    #[test]
    fn reordered_messages_are_found_where_order_was_promised() {
        let swapped = of_one_source(&[0, 2, 1, 3]);
        assert_eq!(
            audit(&swapped, None, &sources(true)),
            Audit {
                reordered: 1,
                ..Audit::default()
            }
        );
        let in_order = of_one_source(&[0, 1, 2, 3]);
        assert_eq!(
            audit(&swapped, Some(&in_order), &sources(true)),
            Audit {
                reordered: 2,
                ..Audit::default()
            }
        );
    }

    #[test]
    fn a_message_at_another_offset_than_promised_is_found() {
        let read = ledger(&[None, Some(message(0, 0))]);
        let expected = Audit {
            reordered: 1,
            ..Audit::default()
        };
        assert_eq!(
            audit(&read, Some(&of_one_source(&[0])), &sources(true)),
            expected
        );
    }

    #[test]
    fn parallel_sends_may_be_stored_in_any_order_but_must_stand_where_it_was_said() {
        let swapped = of_one_source(&[0, 2, 1, 3]);
        assert_eq!(
            audit(&swapped, Some(&swapped), &sources(false)),
            Audit::default()
        );
        let in_order = of_one_source(&[0, 1, 2, 3]);
        let expected = Audit {
            reordered: 2,
            ..Audit::default()
        };
        assert_eq!(audit(&swapped, Some(&in_order), &sources(false)), expected);
    }

    #[test]
    fn an_offset_is_given_once() {
        let mut ledger = Ledger::new(&[10]);
        assert_eq!(ledger.put(0, 10, message(0, 0)), Ok(()));
        assert_eq!(ledger.put(0, 10, message(0, 0)), Err(Rejected::Same));
        assert_eq!(ledger.put(0, 10, message(0, 1)), Err(Rejected::Taken));
        assert_eq!(ledger.put(0, 9, message(0, 1)), Err(Rejected::Absurd));
        assert_eq!(
            ledger.put(0, u64::MAX, message(0, 1)),
            Err(Rejected::Absurd)
        );
        assert_eq!(ledger.put(1, 10, message(0, 1)), Err(Rejected::Absurd));
    }

    #[test]
    fn holes_between_acknowledged_offsets_are_counted() {
        assert_eq!(of_one_source(&[0, 1]).holes(), 0);
        assert_eq!(
            ledger(&[None, Some(message(0, 0)), None, Some(message(0, 1))]).holes(),
            1
        );
    }

    #[test]
    fn ledgers_of_several_threads_become_one() {
        let mut one = ledger(&[Some(message(0, 0)), None]);
        let two = ledger(&[None, Some(message(1, 0)), Some(message(1, 1))]);
        assert_eq!(one.merge(&two), 0);
        assert_eq!((one.len(), one.holes(), one.ends()), (3, 0, vec![13]));
        assert_eq!(
            one.merge(&ledger(&[Some(message(5, 0))])),
            1,
            "two threads were given the same offset"
        );
    }

    #[test]
    fn sources_keep_their_numbers() {
        let mut sources = Sources::default();
        assert_eq!(sources.number(7, 0, true), Some(0));
        assert_eq!(sources.number(8, 0, false), Some(1));
        assert_eq!(sources.number(7, 0, true), Some(0));
        assert!(sources.is_ordered(0) && !sources.is_ordered(1));
    }
}
