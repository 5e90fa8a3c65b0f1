use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::StdRng;

use super::{
    Journal, Kind, Shift, Window, Wrong, follow, now, number_after, properties, property, read_on,
};
use crate::connection::Kind as Frame;
use crate::{Answer, Connection, Record};

const TOPIC: &str = "crash-transactions";
const QUEUES: u32 = 2;
const GROUP: &str = "crash-deciders";
/// Halves of one client that are in flight together.
const TOGETHER: usize = 6;
/// Clients that are asked.
const DECIDERS: usize = 2;

const END_TRANSACTION: i32 = 37;
const CHECK_TRANSACTION_STATE: i64 = 39;
const COMMIT: &str = "8";
const ROLLBACK: &str = "12";
const UNKNOWN: &str = "0";

/// A check that comes so long after an acknowledged end is one too many; before, it may have been on
/// its way.
const ON_ITS_WAY_MS: i64 = 1_500;

/// Transactions of every course: ended at once, at a check, after an undecided check, twice.
///
/// Whatever half was acknowledged is delivered once if its producers ever say commit, and never if
/// they say roll back; nothing is delivered before anybody said so, and nobody is asked about what is
/// ended.
#[derive(Debug)]
pub struct Transactions {
    seed: u64,
    next: AtomicU64,
    journal: Journal<BTreeMap<u64, Transaction>>,
}

/// What is known of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    promised: bool,
    /// Somebody has said how it ends, acknowledged or not.
    decided: bool,
    /// When that was acknowledged, in milliseconds since 1970.
    ended: Option<i64>,
    checks: u32,
    delivered: Option<(u32, i64)>,
}

/// How its producers treat a transaction: always the same, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Said at once.
    AtOnce,
    /// Said at once, and again, and then the contrary.
    AtOnceAndAgain,
    /// The producer never says anything; whoever is asked does.
    Asked,
    /// The first who is asked does not know either.
    AskedTwice,
}

/// What names a half message.
struct Half {
    number: u64,
    offset: String,
    position: String,
}

impl Transactions {
    fn commits(&self, number: u64) -> bool {
        !(number ^ self.seed).is_multiple_of(3)
    }

    fn verdict(&self, number: u64) -> &'static str {
        if self.commits(number) {
            COMMIT
        } else {
            ROLLBACK
        }
    }

    fn course(&self, number: u64) -> Course {
        match (number ^ self.seed) % 10 {
            0..5 => Course::AtOnce,
            5..7 => Course::AtOnceAndAgain,
            7..9 => Course::Asked,
            _ => Course::AskedTwice,
        }
    }

    fn key(&self, number: u64) -> String {
        format!("T{:x}N{number}", self.seed)
    }

    fn number(&self, key: &str) -> Option<u64> {
        number_after(key, &format!("T{:x}N", self.seed))
    }

    fn half(&self, connection: &mut Connection) -> (Vec<u8>, u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = self.key(number);
        let properties = properties(&[
            ("UNIQ_KEY", &key),
            ("WAIT", "true"),
            ("TRAN_MSG", "true"),
            ("PGROUP", GROUP),
        ]);
        self.journal
            .ask(|pages| _ = pages.notes.insert(number, Transaction::default()));
        let queue = u32::try_from(number % u64::from(QUEUES)).unwrap_or(0);
        (
            connection.send_frame(TOPIC, queue, &properties, key.as_bytes()),
            number,
        )
    }

    /// Notes that somebody is about to say how `number` ends.
    fn decide(&self, number: u64) {
        self.journal.ask(|pages| {
            if let Some(transaction) = pages.notes.get_mut(&number) {
                transaction.decided = true;
            }
        });
    }

    fn end(&self, connection: &mut Connection, half: &Half, verdict: &str) -> Vec<u8> {
        self.decide(half.number);
        let key = self.key(half.number);
        let fields = [
            ("topic", ""),
            ("producerGroup", GROUP),
            ("tranStateTableOffset", half.offset.as_str()),
            ("commitLogOffset", &half.position),
            ("commitOrRollback", verdict),
            ("fromTransactionCheck", "false"),
            ("msgId", &key),
            ("transactionId", &key),
        ];
        connection.frame(END_TRANSACTION, &fields, &[])
    }

    fn ended(&self, number: u64, answer: &Answer) -> Result<()> {
        let remark = &answer.remark;
        ensure!(
            answer.code == 0,
            "end of {number}: code {}: {remark}",
            answer.code
        );
        self.journal.note(|pages| {
            pages.acknowledged += 1;
            if let Some(transaction) = pages.notes.get_mut(&number) {
                transaction.ended.get_or_insert(now());
            }
        });
        Ok(())
    }

    fn produce(&self, address: &str, mut rng: StdRng, shift: &Shift) -> Result<()> {
        let mut connection = Connection::open(address)?;
        while shift.begins() {
            let mut window = Window::new();
            for _ in 0..rng.random_range(1..=TOGETHER) {
                let (frame, number) = self.half(&mut connection);
                window.add(&connection, frame, number);
            }
            let mut halves = Vec::new();
            window.exchange(&mut connection, |number, answer| {
                halves.push(self.stored(number, answer)?);
                Ok(())
            })?;
            thread::sleep(Duration::from_millis(rng.random_range(0..15)));
            let mut window = Window::new();
            let mut again = Vec::new();
            for half in &halves {
                let course = self.course(half.number);
                if matches!(course, Course::AtOnce | Course::AtOnceAndAgain) {
                    let frame = self.end(&mut connection, half, self.verdict(half.number));
                    window.add(&connection, frame, half.number);
                }
                if course == Course::AtOnceAndAgain {
                    again.push(half);
                }
            }
            window.exchange(&mut connection, |number, answer| {
                self.ended(number, &answer)
            })?;
            let mut window = Window::new();
            for half in again {
                let (first, contrary) = match self.verdict(half.number) {
                    COMMIT => (COMMIT, ROLLBACK),
                    _ => (ROLLBACK, COMMIT),
                };
                for verdict in [first, contrary] {
                    let frame = self.end(&mut connection, half, verdict);
                    window.add(&connection, frame, ());
                }
            }
            // Whatever is said to that.
            window.exchange(&mut connection, |(), _| Ok(()))?;
        }
        Ok(())
    }

    fn stored(&self, number: u64, answer: Answer) -> Result<Half> {
        let answer = answer.ok().with_context(|| format!("half {number}"))?;
        // An id is the store's address and the place in the log.
        let place = answer.field("msgId").get(16..32).context("an id")?;
        let half = Half {
            number,
            offset: answer.field("queueOffset").to_owned(),
            position: u64::from_str_radix(place, 16)?.to_string(),
        };
        self.journal.note(|pages| {
            pages.acknowledged += 1;
            if let Some(transaction) = pages.notes.get_mut(&number) {
                transaction.promised = true;
            }
        });
        Ok(half)
    }

    /// A producer of the group that sends nothing itself and answers for all.
    fn answer(&self, address: &str, client: usize, rng: &mut StdRng, shift: &Shift) -> Result<()> {
        /// Between two looks at whether the shift is over.
        const MOMENT: Duration = Duration::from_millis(50);
        let mut connection = Connection::open(address)?;
        connection.join_producers(&format!("decider-{client}"), GROUP)?;
        let mut waiting: HashMap<i64, u64> = HashMap::new();
        while shift.goes_on() {
            if !connection.arrives(MOMENT)? {
                continue;
            }
            match connection.read_any()? {
                (Frame::Answer, answer) => {
                    if let Some(number) = waiting.remove(&answer.opaque) {
                        self.ended(number, &answer)?;
                    }
                }
                (Frame::Request, request) if request.code == CHECK_TRANSACTION_STATE => {
                    let key = request.field("msgId");
                    let number = self.number(key).context("asked about a stranger")?;
                    let checks = self.checked(number);
                    let undecided = self.course(number) == Course::AskedTwice && checks == 1;
                    // A client may also die over it.
                    if rng.random_ratio(1, 12) {
                        continue;
                    }
                    let verdict = if undecided {
                        UNKNOWN
                    } else {
                        self.decide(number);
                        waiting.insert(connection.last_opaque() + 1, number);
                        self.verdict(number)
                    };
                    let frame = decision(&mut connection, &request, verdict);
                    connection.write(&frame)?;
                }
                (Frame::Request, _) => {}
            }
        }
        Ok(())
    }

    /// Notes that `number` was asked about; the how manieth time that was.
    fn checked(&self, number: u64) -> u32 {
        let mut checks = 0;
        self.journal.ask(|pages| {
            let Some(transaction) = pages.notes.get_mut(&number) else {
                return;
            };
            transaction.checks += 1;
            checks = transaction.checks;
            let ended = transaction.ended;
            if ended.is_some_and(|ended| now() - ended > ON_ITS_WAY_MS) {
                pages.fault(Wrong::Other, || {
                    format!(
                        "{number} was ended at {ended:?} and is asked about at {}",
                        now()
                    )
                });
            }
        });
        checks
    }

    fn arrived(&self, record: &Record, queue: u32) {
        let number = self.number(&String::from_utf8_lossy(&record.body));
        let place = (queue, record.offset);
        self.journal.note(|pages| {
            pages.positions.insert((TOPIC, queue), record.offset + 1);
            pages.delivered += 1;
            let known = number.and_then(|number| Some((number, pages.notes.get_mut(&number)?)));
            let Some((number, transaction)) = known else {
                return pages.fault(Wrong::Other, || format!("nobody sent {record:?}"));
            };
            let before = transaction.delivered.replace(place);
            let transaction = transaction.clone();
            if let Some(before) = before {
                pages.fault(Wrong::Twice, || {
                    format!("{number} at {before:?} and at {place:?}: {transaction:?}")
                });
            }
            if !transaction.decided {
                pages.fault(Wrong::Early, || {
                    format!("{number} at {place:?}: {transaction:?}")
                });
            }
            if !self.commits(number) {
                pages.fault(Wrong::Unwanted, || {
                    format!("{number} at {place:?}: {transaction:?}")
                });
            }
            if property(record, "UNIQ_KEY") != Some(&self.key(number)) {
                pages.fault(Wrong::Other, || format!("properties of {record:?}"));
            }
        });
    }
}

/// The answer to a check, as stock clients give it.
fn decision(connection: &mut Connection, asked: &Answer, verdict: &str) -> Vec<u8> {
    let fields = [
        ("topic", asked.field("topic")),
        ("producerGroup", GROUP),
        ("tranStateTableOffset", asked.field("tranStateTableOffset")),
        ("commitLogOffset", asked.field("commitLogOffset")),
        ("commitOrRollback", verdict),
        ("fromTransactionCheck", "true"),
        ("msgId", asked.field("msgId")),
        ("transactionId", asked.field("transactionId")),
    ];
    connection.frame(END_TRANSACTION, &fields, &[])
}

impl Kind for Transactions {
    type Notes = BTreeMap<u64, Transaction>;
    const NAME: &'static str = "transactions";
    const TOPICS: &'static [(&'static str, u32, &'static str)] = &[(TOPIC, QUEUES, "")];
    const CLIENTS: usize = 1 + DECIDERS + 3;
    const SETTINGS: &'static [(&'static str, &'static str)] = &[
        ("transactionTimeOut", "400"),
        ("transactionCheckInterval", "300"),
        // Rounds that find nobody to ask count too.
        ("transactionCheckMax", "1000"),
        ("transactionOpBatchInterval", "200"),
    ];
    const MOVED_ON: Option<Duration> = Some(Duration::from_secs(4));

    fn new(seed: u64) -> Self {
        Self {
            seed,
            next: AtomicU64::new(1),
            journal: Journal::default(),
        }
    }

    fn journal(&self) -> &Journal<Self::Notes> {
        &self.journal
    }

    fn client(&self, number: usize, address: &str, mut rng: StdRng, shift: &Shift) -> Result<()> {
        match number {
            0 => follow(self, address, shift),
            1..=DECIDERS => self.answer(address, number, &mut rng, shift),
            _ => self.produce(address, rng, shift),
        }
    }

    fn read(&self, connection: &mut Connection) -> Result<()> {
        read_on(self, connection, |record, queue| {
            self.arrived(record, queue);
        })
    }

    /// Whether an end without an acknowledgement has happened can be told by a delivery only.
    fn awaited(&self) -> Vec<String> {
        let pages = self.journal.pages();
        let awaited = pages.notes.iter().filter(|(number, transaction)| {
            let open = if self.commits(**number) {
                transaction.delivered.is_none()
            } else {
                !transaction.decided
            };
            transaction.promised && open
        });
        awaited
            .map(|(number, transaction)| {
                format!("{number} ({:?}): {transaction:?}", self.course(*number))
            })
            .collect()
    }
}
