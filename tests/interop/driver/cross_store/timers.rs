//! Messages that wait for their time go with their store to the reference and back.

use std::time::Duration;

use anyhow::{Result, ensure};
use common::clock::{Clock as _, SystemClock};
use tests::{Connection, Language, patiently, records};

use super::site::{End, Maker, Site};
use crate::available;

const TOPIC: &str = "timed";
const RECALL_MESSAGE: i32 = 370;
const PULL_AT_ONCE: i64 = 19;
/// A message that is due is delivered by a broker that may only just have started on a busy machine.
const DELIVERED: Duration = Duration::from_mins(2);

/// What was sent: the body, and when it was to be delivered.
#[derive(Default)]
struct Sent {
    all: Vec<(String, i64)>,
    recalled: Vec<String>,
}

impl Sent {
    /// Sends `count` messages that are due in `millis`; their recall handles.
    fn send(
        &mut self,
        connection: &mut Connection,
        name: &str,
        count: usize,
        millis: i64,
    ) -> Result<Vec<String>> {
        let due = SystemClock::new().now().0 + millis;
        let mut handles = Vec::new();
        for number in 0..count {
            let body = format!("{name}{number}");
            let properties = format!(
                "UNIQ_KEY\u{1}{body}\u{2}TIMER_DELIVER_MS\u{1}{due}\u{2}WAIT\u{1}true\u{2}"
            );
            let frame = connection.send_frame(TOPIC, 0, &properties, body.as_bytes());
            connection.write(&frame)?;
            let answer = connection.read()?.ok()?;
            handles.push(answer.field("recallHandle").to_owned());
            self.all.push((body, due));
        }
        Ok(handles)
    }

    fn recall(&mut self, connection: &mut Connection, body: &str, handle: &str) -> Result<()> {
        let fields = [("topic", TOPIC), ("recallHandle", handle)];
        connection.call(RECALL_MESSAGE, &fields, &[])?.ok()?;
        self.recalled.push(body.to_owned());
        Ok(())
    }

    /// Waits until everything called `name…` that was not recalled is there.
    fn delivered(&self, connection: &mut Connection, name: &str) -> Result<()> {
        let wanted: Vec<_> = (self.all.iter())
            .filter(|(body, _)| body.starts_with(name) && !self.recalled.contains(body))
            .collect();
        let last = wanted.iter().map(|(_, due)| *due).max().unwrap_or(0);
        let left = u64::try_from(last - SystemClock::new().now().0).unwrap_or(0);
        let allowed = Duration::from_millis(left) + DELIVERED;
        patiently(&format!("{name} is delivered"), allowed, || {
            let there = arrived(connection)?;
            let all = wanted
                .iter()
                .all(|(body, _)| there.iter().any(|(it, _)| it == body));
            Ok(all.then_some(()))
        })
    }

    /// Everything came once and not before its time, and nothing that was recalled.
    fn check(&self, connection: &mut Connection) -> Result<()> {
        let arrived = arrived(connection)?;
        for (body, stored) in &arrived {
            let due = self.all.iter().find(|(it, _)| it == body);
            ensure!(due.is_some_and(|(_, due)| stored >= due), "early: {body}");
        }
        let times = |body: &String| arrived.iter().filter(|(it, _)| it == body).count();
        let wanted = |body: &String| usize::from(!self.recalled.contains(body));
        let all = self.all.iter().map(|(body, _)| body);
        let wrong: Vec<_> = all
            .filter(|body| times(body) != wanted(body))
            .map(|body| (body, times(body)))
            .collect();
        ensure!(wrong.is_empty(), "delivered so often: {wrong:?}");
        Ok(())
    }
}

/// Body and store time of all that was delivered.
fn arrived(connection: &mut Connection) -> Result<Vec<(String, i64)>> {
    let (mut all, mut offset) = (Vec::new(), 0);
    loop {
        let answer = connection.pull(TOPIC, 0, offset)?;
        if answer.code == PULL_AT_ONCE {
            return Ok(all);
        }
        let answer = answer.ok()?;
        for record in records(&answer.body)? {
            all.push((String::from_utf8(record.body)?, record.stored));
        }
        offset = answer.number("nextBeginOffset")?;
    }
}

#[test]
fn what_waits_for_its_time_goes_to_the_reference_and_back() -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
    }
    let mut site = Site::new(&[
        ("timerWheelEnable", "true"),
        ("recallMessageEnable", "true"),
        // What is due later is appended again, by the reference and by us.
        ("timerRollWindowSlot", "20"),
        ("mappedFileSizeTimerLog", "4096"),
    ])?;
    let mut sent = Sent::default();

    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let mut connection = site.start(Maker::Apache)?;
    // Longer than until the reference has been started once more: that is after its stop, which takes twice as long as its start,
    // and after what it leaves us first is delivered.
    let start = clock.monotonic().saturating_sub(begun).as_millis();
    let far = 45_000 + 4 * i64::try_from(start)?;
    connection.create_topic(TOPIC, 1)?;
    sent.send(&mut connection, "soon", 5, 2_000)?;
    let taken_over = sent.send(&mut connection, "taken", 100, 27_000)?;
    let there_and_back = sent.send(&mut connection, "both", 20, far)?;
    sent.recall(&mut connection, "taken7", &taken_over[7])?;
    sent.recall(&mut connection, "both7", &there_and_back[7])?;
    sent.delivered(&mut connection, "soon")?;
    site.end(End::Clean)?;

    let mut connection = site.start(Maker::Arugula)?;
    sent.recall(&mut connection, "both8", &there_and_back[8])?;
    let handed_over = sent.send(&mut connection, "handed", 100, 33_000)?;
    sent.recall(&mut connection, "handed9", &handed_over[9])?;
    sent.delivered(&mut connection, "taken")?;
    site.end(End::Clean)?;

    let mut connection = site.start(Maker::Apache)?;
    sent.recall(&mut connection, "both9", &there_and_back[9])?;
    sent.delivered(&mut connection, "handed")?;
    site.end(End::Clean)?;

    let mut connection = site.start(Maker::Arugula)?;
    sent.delivered(&mut connection, "both")?;
    sent.check(&mut connection)?;
    site.end(End::Clean)
}
