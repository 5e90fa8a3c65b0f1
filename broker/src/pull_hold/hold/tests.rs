use super::*;
use common::message::tags_code;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hold() -> PullHold<u32, u32> {
    PullHold::new(10)
}

fn parked(offset: u64, deadline: u64, pull: u32) -> Parked<u32> {
    Parked {
        connection: u64::from(pull / 10),
        offset,
        filter: Filter::All,
        deadline: s(deadline),
        pull,
    }
}

fn tagged(offset: u64, deadline: u64, pull: u32, tag: &str) -> Parked<u32> {
    Parked {
        filter: Filter::parse(None, Some(tag)).unwrap(),
        ..parked(offset, deadline, pull)
    }
}

#[test]
fn an_arrival_wakes_every_pull_of_its_queue_and_no_other() {
    let mut hold = hold();
    for pull in [1, 2] {
        hold.park(7, parked(5, 15, pull)).unwrap();
    }
    hold.park(8, parked(5, 15, 3)).unwrap();
    assert_eq!(hold.arrived(&7, 6, 0, s(0)), [1, 2]);
    assert_eq!(hold.arrived(&7, 7, 0, s(0)), [0; 0]);
    assert_eq!(hold.slots.len(), 1);
}

#[test]
fn an_arrival_before_the_offset_wakes_nobody() {
    let mut hold = hold();
    hold.park(7, parked(5, 15, 1)).unwrap();
    assert!(hold.arrived(&7, 5, 0, s(0)).is_empty());
    assert_eq!(hold.arrived(&7, 6, 0, s(0)), [1]);
}

#[test]
fn a_message_of_another_tag_shortens_the_wait_but_does_not_end_it() {
    let mut hold = hold();
    hold.park(7, tagged(0, 15, 1, "A")).unwrap();
    assert!(hold.arrived(&7, 1, tags_code("B"), s(2)).is_empty());
    assert_eq!(hold.next_deadline(), Some(s(7)));
    assert!(hold.arrived(&7, 2, tags_code("B"), s(6)).is_empty());
    assert_eq!(
        hold.next_deadline(),
        Some(s(7)),
        "later ones do not make it longer again"
    );
    assert!(hold.expired(s(6)).is_empty());
    assert_eq!(hold.expired(s(7)), [1]);
    assert!(hold.slots.is_empty());
}

#[test]
fn a_message_of_another_tag_never_makes_the_wait_longer() {
    let mut hold = hold();
    hold.park(7, tagged(0, 3, 1, "A")).unwrap();
    assert!(hold.arrived(&7, 1, tags_code("B"), s(2)).is_empty());
    assert_eq!(hold.next_deadline(), Some(s(3)));
    assert_eq!(hold.arrived(&7, 2, tags_code("A"), s(2)), [1]);
    assert_eq!(hold.next_deadline(), None);
}

#[test]
fn pulls_expire_in_the_order_of_their_deadlines() {
    let mut hold = hold();
    for (deadline, pull) in [(9, 1), (3, 2), (6, 3)] {
        hold.park(pull, parked(0, deadline, pull)).unwrap();
    }
    assert_eq!(hold.next_deadline(), Some(s(3)));
    assert_eq!(hold.expired(s(6)), [2, 3]);
    assert_eq!(hold.next_deadline(), Some(s(9)));
    assert_eq!(hold.arrived(&2, 1, 0, s(6)), [0; 0]);
}

#[test]
fn a_pull_can_be_taken_out_once() {
    let mut hold = hold();
    let id = hold.park(7, parked(0, 15, 1)).unwrap();
    assert_eq!(hold.take(id), Some(1));
    assert_eq!(hold.take(id), None);
    assert!(hold.arrived(&7, 1, 0, s(0)).is_empty() && hold.expired(s(99)).is_empty());
}

#[test]
fn the_pulls_of_a_closed_connection_leave_with_it() {
    let mut hold = hold();
    for pull in [11, 12, 21] {
        hold.park(pull, parked(0, 15, pull)).unwrap();
    }
    assert_eq!(hold.closed(1), [11, 12]);
    assert_eq!(hold.closed(1), [0; 0]);
    assert_eq!(hold.expired(s(15)), [21]);
}

#[test]
fn a_full_hold_gives_the_pull_back() {
    let mut hold = PullHold::new(1);
    let id = hold.park(7, parked(0, 15, 1)).unwrap();
    assert_eq!(hold.park(7, parked(0, 15, 2)), Err(2));
    hold.take(id);
    assert!(hold.park(7, parked(0, 15, 3)).is_ok());
}

#[test]
fn draining_leaves_nothing_behind() {
    let mut hold = hold();
    hold.park(7, parked(0, 15, 1)).unwrap();
    assert_eq!(hold.drain(), [1]);
    assert!(hold.slots.is_empty() && hold.next_deadline().is_none() && hold.closed(0).is_empty());
}
