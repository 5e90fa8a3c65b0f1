//! Through a file of the log, record by record, and past what is none.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::message::property_crc;
use common::message::record::{
    BLANK_MAGIC, MAGIC_V1, MAGIC_V2, MIN_RECORD_BYTES, RecordFormatError, RecordView, body_crc,
};

use super::Segment;
use super::window::{PIECE_BYTES, Window};
use crate::error::StoreError;

/// What a living broker is about to write may be there in part; it gets this many looks, so far
/// apart, before that counts as damage.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Why the bytes at a position of the log are not what has to stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not a record.
    #[error("{0}; a record or a blank has to stand here")]
    Format(RecordFormatError),
    /// A record longer than what is left of the file.
    #[error("a record of {bytes} bytes where the file has {left} left")]
    TooLong {
        /// Its length.
        bytes: u32,
        /// Bytes up to the end of the file.
        left: u64,
    },
    /// A record that belongs elsewhere.
    #[error("the record says it stands at {said}, expected {expected}")]
    Position {
        /// Its physicalOffset.
        said: i64,
        /// Where it stands.
        expected: u64,
    },
    /// The body has another checksum than its record says.
    #[error("the body's CRC is {computed:#010x}, the record says {stored:#010x}")]
    BodyCrc {
        /// As stored.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The record has another checksum than its last property says.
    #[error("the record's CRC is {computed:#010x}, its last property says {stored:#010x}")]
    RecordCrc {
        /// As stored.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The topic is empty, or topic or properties have zeros where a sector was lost.
    #[error("a part of the record is missing: zeros where its topic or properties should be")]
    Torn,
    /// A blank that does not reach to the end of the file.
    #[error("a blank of {bytes} bytes where the file has {left} left")]
    Blank {
        /// Its length.
        bytes: u32,
        /// Bytes up to the end of the file.
        left: u64,
    },
    /// The log stops and goes on later.
    #[error("zeros where a record has to stand, and more of the log behind them")]
    Hole,
}

/// What stands at a position of the log. Positions are those of the whole log.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record.
    Record(u64, RecordView<'a>),
    /// The rest of the file is blank.
    Blank(u64),
    /// Bytes that are nothing valid.
    Bad {
        /// Where.
        at: u64,
        /// Why.
        problem: Problem,
        /// The next valid record or blank in this file.
        next: Option<u64>,
    },
    /// Zeros from here to the end of the file.
    End(u64),
}

/// How far the work has come; shared by the threads that do it and whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Bytes of the log passed so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Ends the work early.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for that.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What is looked at while walking.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// Checksums of bodies and records.
    pub crc: bool,
    /// A broker may be writing: what is there in part is waited for.
    pub live: bool,
}

/// What the bytes at a position are.
#[derive(Debug)]
pub enum Judged<'a> {
    /// A record.
    Record(RecordView<'a>),
    /// The rest of the file is blank.
    Blank,
    /// Zeros where a record would begin.
    Zeros,
    /// Nothing valid.
    Bad(Problem),
    /// In no file.
    Outside,
}

/// Visits everything in `segment` from position `from` of the log on, until its end, a
/// [`ControlFlow::Break`] or [`Progress::stop`].
///
/// # Errors
/// [`StoreError::Io`] when the file cannot be read.
pub fn walk(
    segment: &Segment,
    from: u64,
    checks: Checks,
    progress: &Progress,
    mut visit: impl FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    let mut window = Window::open(&segment.path, segment.bytes, PIECE_BYTES)?;
    let (mut at, mut counted, mut looks) = (from, from, 0);
    while at < segment.end() {
        if at - counted >= PIECE_BYTES as u64 {
            progress.add(at - counted);
            counted = at;
            if progress.is_stopped() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let (item, next) = match judge(&mut window, segment, at, checks.crc)? {
            Judged::Record(record) => {
                let next = at + u64::from(record.total_size);
                (Item::Record(at, record), next)
            }
            Judged::Blank | Judged::Outside => (Item::Blank(at), segment.end()),
            Judged::Zeros => match window.first_data(at - segment.base)? {
                None => (Item::End(at), segment.end()),
                Some(_) if checks.live && looks < LOOKS => {
                    look_again(&mut window, &mut looks);
                    continue;
                }
                Some(data) => bad(&mut window, segment, at, data, Problem::Hole)?,
            },
            Judged::Bad(_) if checks.live && looks < LOOKS => {
                look_again(&mut window, &mut looks);
                continue;
            }
            Judged::Bad(problem) => {
                let search_from = at - segment.base + 1;
                bad(&mut window, segment, at, search_from, problem)?
            }
        };
        looks = 0;
        if visit(item).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = next;
    }
    progress.add(at - counted);
    Ok(ControlFlow::Continue(()))
}

fn look_again(window: &mut Window, looks: &mut u32) {
    *looks += 1;
    std::thread::sleep(BETWEEN_LOOKS);
    window.forget();
}

/// The bad item at `at`, and where to go on.
fn bad<'a>(
    window: &mut Window,
    segment: &Segment,
    at: u64,
    search_from: u64,
    problem: Problem,
) -> Result<(Item<'a>, u64), StoreError> {
    let next = next_valid(window, segment, search_from)?;
    let item = Item::Bad { at, problem, next };
    Ok((item, next.unwrap_or(segment.end())))
}

/// The next position of the log, from position `from` of the file on, where something valid
/// starts. Only what names its own position counts, or a blank that fits.
pub(super) fn next_valid(
    window: &mut Window,
    segment: &Segment,
    mut from: u64,
) -> Result<Option<u64>, StoreError> {
    const MAGICS: [u32; 3] = [MAGIC_V1, MAGIC_V2, BLANK_MAGIC];
    loop {
        // Zeros may go on for long, and in holes.
        let Some(data) = window.first_data(from)? else {
            return Ok(None);
        };
        // The length before the magic may begin with zeros.
        from = data.saturating_sub(4).max(from);
        let len = window.len;
        let piece = window.rest(from)?;
        if piece.len() < 8 && from + (piece.len() as u64) < len {
            window.forget();
            continue;
        }
        let found = piece.windows(8).position(|bytes| {
            let magic = bytes[4..]
                .first_chunk()
                .map(|magic| u32::from_be_bytes(*magic));
            magic.is_some_and(|magic| MAGICS.contains(&magic))
        });
        let Some(found) = found else {
            if from + piece.len() as u64 >= len {
                return Ok(None);
            }
            from += piece.len() as u64 - 7;
            window.forget();
            continue;
        };
        from += found as u64;
        match judge(window, segment, segment.base + from, true)? {
            Judged::Record(_) | Judged::Blank => return Ok(Some(segment.base + from)),
            _ => from += 1,
        }
    }
}

pub(super) fn judge<'a>(
    window: &'a mut Window,
    segment: &Segment,
    at: u64,
    check_crc: bool,
) -> Result<Judged<'a>, StoreError> {
    let in_file = at - segment.base;
    let left = segment.end() - at;
    let head = window.at(in_file, 8)?;
    let Some((size, magic)) = head.split_first_chunk().and_then(|(size, magic)| {
        Some((
            u32::from_be_bytes(*size),
            u32::from_be_bytes(*magic.first_chunk()?),
        ))
    }) else {
        let zeros = head.iter().all(|byte| *byte == 0);
        let short = RecordFormatError::Truncated {
            needed: MIN_RECORD_BYTES,
            got: head.len(),
        };
        return Ok(if zeros {
            Judged::Zeros
        } else {
            Judged::Bad(Problem::Format(short))
        });
    };
    match magic {
        0 if size == 0 => return Ok(Judged::Zeros),
        BLANK_MAGIC if u64::from(size) == left => return Ok(Judged::Blank),
        BLANK_MAGIC => return Ok(Judged::Bad(Problem::Blank { bytes: size, left })),
        MAGIC_V1 | MAGIC_V2 if u64::from(size) > left => {
            return Ok(Judged::Bad(Problem::TooLong { bytes: size, left }));
        }
        MAGIC_V1 | MAGIC_V2 => {}
        magic => {
            return Ok(Judged::Bad(Problem::Format(RecordFormatError::Magic {
                magic,
            })));
        }
    }
    let bytes = window.at(in_file, usize::try_from(size).unwrap_or(usize::MAX))?;
    Ok(match RecordView::parse(bytes) {
        Err(error) => Judged::Bad(Problem::Format(error)),
        Ok(record) => match check(&record, bytes, at, in_file, check_crc) {
            Some(problem) => Judged::Bad(problem),
            None => Judged::Record(record),
        },
    })
}

/// What is wrong with a record that could be taken apart.
pub(super) fn check(
    record: &RecordView<'_>,
    bytes: &[u8],
    at: u64,
    in_file: u64,
    check_crc: bool,
) -> Option<Problem> {
    if u64::try_from(record.physical_offset) != Ok(at) {
        return Some(Problem::Position {
            said: record.physical_offset,
            expected: at,
        });
    }
    if !check_crc {
        return None;
    }
    if !record.body_is_intact() {
        return Some(Problem::BodyCrc {
            stored: record.body_crc,
            computed: body_crc(record.body),
        });
    }
    if record.topic.is_empty() || record.is_torn(bytes, usize::try_from(in_file).unwrap_or(0)) {
        return Some(Problem::Torn);
    }
    let (stored, computed) = property_crc::said_and_right(bytes)?;
    (stored != computed).then_some(Problem::RecordCrc { stored, computed })
}

#[cfg(test)]
mod tests {
    use common::message::RecordParts;
    use common::message::record::{PHYSICAL_OFFSET_AT, encode};

    use super::*;

    /// A record at `at` whose last property is its checksum.
    fn sealed(at: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let properties = &property_crc::with_room("a\u{1}b\u{2}");
        let parts = RecordParts {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            properties,
        };
        encode(&parts, &mut bytes).unwrap();
        bytes[PHYSICAL_OFFSET_AT..PHYSICAL_OFFSET_AT + 8].copy_from_slice(&at.to_be_bytes());
        property_crc::seal(&mut bytes);
        bytes
    }

    #[test]
    fn the_checksum_of_the_whole_record_is_checked_where_there_is_one() {
        let mut bytes = sealed(100);
        let judge = |bytes: &[u8]| check(&RecordView::parse(bytes).unwrap(), bytes, 100, 100, true);
        assert_eq!(judge(&bytes), None);
        // The queue id, which no other checksum covers.
        bytes[15] ^= 1;
        assert!(matches!(judge(&bytes), Some(Problem::RecordCrc { .. })));
        bytes[15] ^= 1;
        // No checksum: a letter among the digits.
        let end = bytes.len() - 2;
        bytes[end] = b'x';
        assert_eq!(judge(&bytes), None);
    }
}
