//! `timerwheel` and `timerlog`, written for a Java broker.

use super::row::{Row, RowKey};
use super::window::{PAGE_ROWS, slot_ms};
use super::worker::{range, rows};
use super::{Shared, Standing};
use common::message::{RecordView, java_hash};
use common::names::TIMER_TOPIC;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const UNIT_BYTES: u64 = 52;
const BLANK_BYTES: u64 = 16;
const BLANK_MAGIC: i32 = -875_286_124;
const ROLL: i32 = 2;
const CANCEL: i32 = 4;
const WHEEL_SLOTS: i64 = 7 * 86_400;
/// Slots that the reference keeps free.
const FREE_SLOTS: i64 = 60;
/// Slots of the wheel that are written at once.
const BLOCK_SLOTS: usize = 128;
const BUFFER_BYTES: usize = 256 * 1024;
/// Time between two lines about work that takes long.
const PROGRESS: Duration = Duration::from_secs(5);

/// What wheel and log of a store hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// Where the first file of the log begins. What is before is of no use any more.
    pub(super) begin: u64,
    /// Where the log ends.
    pub(super) end: u64,
    /// They have all messages of the timer topic that wait, up to this offset.
    pub(super) filed: u64,
    /// The log says so itself.
    pub(super) is_told: bool,
    /// The first slot in which messages stand that are due later than that.
    pub(super) rolls_ms: i64,
}

impl Shared {
    /// Writes log and wheel anew, behind the log that is there: until the new wheel is in its place, whoever starts on the old
    /// one finds it as it was, and the new log besides. What was `filed` later is left out.
    pub(super) fn write_log(&self, standing: Standing) -> io::Result<Written> {
        let (directory, next) = (self.root.join("timerlog"), self.root.join("timerlog.new"));
        missing_is_fine(fs::remove_dir_all(&next))?;
        fs::create_dir_all(&directory)?;
        fs::create_dir(&next)?;
        let newest = standing.filed.checked_sub(1);
        let newest = newest.and_then(|offset| self.reader.record_of(TIMER_TOPIC, 0, offset));
        let newest = newest.and_then(|bytes| {
            let view = RecordView::parse(&bytes).ok()?;
            let at = u64::try_from(view.physical_offset).ok()?;
            Some((at, view.total_size))
        });
        let mut wheel = self.wheel(next.clone(), standing, newest)?;
        let begin = wheel.log.end;
        let (mut from, mut count) = (RowKey::first_of(0), 0);
        let mut told = self.clock.monotonic();
        loop {
            let page = self.kv.read(range(from, None)).map_err(io::Error::other)?;
            let page = rows(page);
            for (key, row) in &page {
                if newest.is_none_or(|(at, _)| key.at <= at) {
                    wheel.put(key, row)?;
                }
            }
            count += page.len();
            if self.clock.monotonic() >= told + PROGRESS {
                told = self.clock.monotonic();
                tracing::info!(count, "timed messages are written down for a Java broker");
            }
            match page.last() {
                Some((last, _)) if page.len() >= PAGE_ROWS => from = last.next(),
                _ => break,
            }
        }
        let rolls_ms = wheel.half_ms;
        let end = wheel.finish()?;
        for name in names(&next)? {
            fs::rename(next.join(&name), directory.join(&name))?;
        }
        sync(&directory)?;
        fs::rename(
            self.root.join("timerwheel.new"),
            self.root.join("timerwheel"),
        )?;
        fs::remove_dir(&next)?;
        sync(&self.root)?;
        Ok(Written {
            begin,
            end,
            filed: standing.filed,
            is_told: newest.is_some(),
            rolls_ms,
        })
    }

    /// Removes what is of no use any more: the log before `begin`, and wheels of other kinds.
    pub(super) fn remove_old_log(&self, begin: u64) -> io::Result<()> {
        let directory = self.root.join("timerlog");
        for name in names(&directory)? {
            if name.parse().is_ok_and(|position: u64| position < begin) {
                missing_is_fine(fs::remove_file(directory.join(name)))?;
            }
        }
        for name in names(&self.root)? {
            if name.starts_with("timerwheel.") {
                missing_is_fine(fs::remove_file(self.root.join(name)))?;
            }
        }
        Ok(())
    }

    fn wheel(
        &self,
        directory: PathBuf,
        standing: Standing,
        newest: Option<(u64, u32)>,
    ) -> io::Result<Wheel> {
        let precision = self.rules.precision_ms;
        let file = File::create(self.root.join("timerwheel.new"))?;
        file.set_len(WHEEL_SLOTS.unsigned_abs() * 2 * size_of::<Slot>() as u64)?;
        let file_bytes = self.rules.log_file_bytes;
        let there = names(&self.root.join("timerlog"))?;
        let last = there.iter().filter_map(|name| name.parse::<u64>().ok());
        let end = |last: u64| (last + 1).next_multiple_of(file_bytes);
        let slots = self.rules.window_slots.clamp(2, WHEEL_SLOTS - FREE_SLOTS);
        let now = self.now().0 / precision * precision;
        Ok(Wheel {
            slots: vec![[0; 4]; 2 * usize::try_from(WHEEL_SLOTS).unwrap_or(0)],
            file,
            log: TimerLog {
                directory,
                file_bytes,
                file: None,
                end: last.max().map_or(0, end),
                trailer: Unit {
                    before: NOWHERE,
                    magic: 1,
                    written: standing.read_ms - precision,
                    slot_ms: standing.read_ms - precision,
                    record: newest.unwrap_or_default(),
                    topic: 0,
                },
            },
            precision,
            now,
            window_ms: slots * precision,
            half_ms: now + slots / 2 * precision,
        })
    }
}

/// Whatever `result` was to remove need not be there.
fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// Names in a directory, if it is there.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries
        .filter_map(|entry| name(entry).transpose())
        .collect()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Position of no unit.
const NOWHERE: u64 = u64::MAX;

/// A slot: its number, the positions of its first and last unit, and how many they are, times two to the power of 32.
type Slot = [u64; 4];

/// Wheel and log on their way to the disk. Rows come in the order of their slots.
struct Wheel {
    file: File,
    /// All of them; those that nobody has filled take no memory.
    slots: Vec<Slot>,
    log: TimerLog,
    precision: i64,
    now: i64,
    window_ms: i64,
    /// The slot in the middle of the window, to which messages come that are due a little after the window.
    half_ms: i64,
}

impl Wheel {
    fn put(&mut self, key: &RowKey, row: &Row) -> io::Result<()> {
        let beyond = slot_ms(key.slot) - self.now - self.window_ms;
        let (slot_ms, roll) = if beyond < 0 {
            (slot_ms(key.slot), 0)
        } else if beyond < self.window_ms / 3 {
            (self.half_ms, ROLL)
        } else {
            (self.now + self.window_ms, ROLL)
        };
        let (cancel, topic, count) = if key.is_marker() {
            (CANCEL, 0, -1)
        } else {
            (0, java_hash(&row.name), 1)
        };
        let number = (slot_ms / self.precision).unsigned_abs();
        let place = usize::try_from(number).unwrap_or(0) % self.slots.len();
        let [_, first, last, units] = match self.slots[place] {
            slot if slot[0] == number => slot,
            _ => [number, self.log.next()?, NOWHERE, 0],
        };
        let unit = self.log.append(&Unit {
            before: last,
            magic: 1 | roll | cancel,
            written: self.now,
            slot_ms,
            record: (key.at, row.bytes),
            topic,
        })?;
        let units = units.wrapping_add_signed(count << 32);
        self.slots[place] = [number, first, unit, units];
        Ok(())
    }

    /// Brings both to the disk; where the log ends.
    fn finish(mut self) -> io::Result<u64> {
        let blocks = self.slots.chunks(BLOCK_SLOTS);
        for (slots, at) in blocks.zip((0..).step_by(size_of::<Slot>() * BLOCK_SLOTS)) {
            let words = slots.as_flattened();
            if words.iter().any(|word| *word != 0) {
                let bytes: Vec<_> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                self.file.write_all_at(&bytes, at)?;
            }
        }
        self.file.sync_all()?;
        self.log.close()
    }
}

/// A unit of the log.
struct Unit {
    before: u64,
    magic: i32,
    written: i64,
    slot_ms: i64,
    record: (u64, u32),
    topic: i32,
}

/// The log, file by file.
struct TimerLog {
    directory: PathBuf,
    file_bytes: u64,
    file: Option<BufWriter<File>>,
    end: u64,
    /// Ends each file: the record that was read last from the timer topic, in a slot that is delivered.
    trailer: Unit,
}

impl TimerLog {
    /// Where the next unit will stand.
    fn next(&mut self) -> io::Result<u64> {
        let room = self.file_bytes - self.end % self.file_bytes;
        if self.file.is_some() && room < 2 * UNIT_BYTES + BLANK_BYTES {
            self.close()?;
            self.end = self.end.next_multiple_of(self.file_bytes);
        }
        Ok(self.end)
    }

    /// Where the unit stands.
    fn append(&mut self, unit: &Unit) -> io::Result<u64> {
        let position = self.next()?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        file.write_all(&unit.encode())?;
        self.file = Some(file);
        self.end += UNIT_BYTES;
        Ok(position)
    }

    fn create(&self) -> io::Result<BufWriter<File>> {
        let file = File::create(self.directory.join(format!("{:020}", self.end)))?;
        file.set_len(self.file_bytes)?;
        Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
    }

    /// Ends the file, so that another one can follow; where its last unit ends.
    fn close(&mut self) -> io::Result<u64> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        file.write_all(&self.trailer.encode())?;
        self.end += UNIT_BYTES;
        let left = self.file_bytes - self.end % self.file_bytes;
        file.write_all(&i32::try_from(left).unwrap_or(i32::MAX).to_be_bytes())?;
        file.write_all(&0_i64.to_be_bytes())?;
        file.write_all(&BLANK_MAGIC.to_be_bytes())?;
        file.into_inner()?.sync_all()?;
        Ok(self.end)
    }
}

impl Unit {
    fn encode(&self) -> Vec<u8> {
        let after = i32::try_from(self.slot_ms - self.written).unwrap_or(i32::MAX);
        let fields: [&[u8]; 9] = [
            &52_i32.to_be_bytes(),
            &self.before.to_be_bytes(),
            &self.magic.to_be_bytes(),
            &self.written.to_be_bytes(),
            &after.to_be_bytes(),
            &self.record.0.to_be_bytes(),
            &self.record.1.to_be_bytes(),
            &self.topic.to_be_bytes(),
            &[0; 8],
        ];
        fields.concat()
    }
}
