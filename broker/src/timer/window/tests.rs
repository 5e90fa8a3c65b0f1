use super::super::row::tests::record;
use super::*;
use crate::timer::row::Filed;
use common::message::RecordView;

/// A row of a slot, of the message that was stored as the `at`th; `cancels` makes it one that cancels the message of that key.
fn row(slot: u64, key: &str, cancels: bool, at: u64) -> (RowKey, Row) {
    let slot = slot.to_string();
    let mut properties = vec![
        ("UNIQ_KEY", key),
        ("REAL_TOPIC", "t"),
        ("REAL_QID", "0"),
        ("TIMER_OUT_MS", &slot),
    ];
    if cancels {
        properties.push(("TIMER_DEL_UNIQKEY", key));
    }
    let bytes = record(&properties);
    let view = RecordView::parse(&bytes).unwrap();
    let filed = Filed::of(&view).unwrap();
    (RowKey { at, ..filed.key }, filed.row(&view, 0, 10, false))
}

/// A window over a disk that has `rows`.
fn window(rows: &[(RowKey, Row)]) -> Window {
    let mut window = Window::new();
    let from = window.ask().unwrap();
    window.add(from, rows.to_vec(), |_| false);
    window
}

fn due(window: &Window, now: i64) -> Vec<u64> {
    let due = window.due(now, 10, 100);
    due.iter().map(|(key, _)| key.at).collect()
}

#[test]
fn messages_are_due_when_their_slot_is_over() {
    let mut window = window(&[row(10, "b", false, 1), row(20, "a", false, 2)]);
    assert_eq!((due(&window, 19), due(&window, 20)), (vec![], vec![1]));
    assert_eq!(window.next_due(10), Some(20));
    window.remove(&row(10, "b", false, 1).0);
    assert_eq!(
        (window.next_due(10), window.first_slot()),
        (Some(30), Some(20))
    );
    // One that was taken with wider slots is due later than its neighbour.
    let (key, mut late) = row(30, "c", false, 3);
    late.due = 1_030;
    window.file(key, late);
    let (key, next) = row(40, "d", false, 4);
    window.file(key, next);
    assert_eq!(due(&window, 50), [2, 4]);
    assert_eq!(due(&window, 1_030), [2, 3, 4]);
}

#[test]
fn what_is_filed_while_a_page_is_read_is_not_missed() {
    let mut window = Window::new();
    let from = window.ask().unwrap();
    assert_eq!(window.ask(), None);
    let (key, filed) = row(10, "a", false, 1);
    window.file(key, filed.clone());
    let (gone, other) = row(11, "b", false, 2);
    window.add(from, vec![(gone, other)], |key| key.at == 2);
    assert_eq!((window.len(), due(&window, 100)), (1, vec![1]));
    // Now everything is known, and the disk need not be asked.
    assert_eq!(window.ask(), None);
    // A page that cannot be read is asked for again.
    let mut window = Window::new();
    assert!(window.ask().is_some());
    window.give_up();
    assert_eq!(window.ask(), Some(from));
}

#[test]
fn only_the_first_rows_are_in_memory() {
    let rows: Vec<_> = (0..10 * PAGE_ROWS as u64)
        .map(|at| row(1_000 + at, "k", false, at))
        .collect();
    let mut window = Window::new();
    let mut asked = 0;
    for (key, row) in rows.iter().rev() {
        window.file(*key, row.clone());
    }
    let mut delivered = Vec::new();
    while delivered.len() < rows.len() {
        if let Some(from) = window.ask() {
            let page = rows.iter().filter(|(key, _)| *key >= from);
            let page: Vec<_> = page.take(PAGE_ROWS).cloned().collect();
            window.add(from, page, |_| false);
            asked += 1;
        }
        for (key, _) in window.due(i64::MAX / 2, 10, 1_000) {
            window.remove(&key);
            delivered.push(key.at);
        }
        assert!(window.len() <= MAX_ROWS);
    }
    assert!(delivered.is_sorted() && asked > 9);
    // All are known; many more are filed. Those due last leave, and are asked for when it is their turn.
    assert_eq!(window.ask(), None);
    for (key, row) in &rows {
        window.file(*key, row.clone());
    }
    assert_eq!(window.len(), MAX_ROWS);
    assert_eq!(due(&window, i64::MAX / 2)[..3], [0, 1, 2]);
    assert_eq!(window.ask(), None);
}

#[test]
fn a_page_that_was_asked_for_before_rows_left_is_not_believed() {
    let mut window = Window::new();
    let first = window.ask().unwrap();
    let page: Vec<_> = (0..PAGE_ROWS as u64)
        .map(|at| row(1_000 + at, "k", false, at))
        .collect();
    window.add(first, page.clone(), |_| false);
    window.remove(&page[0].0);
    let from = window.ask().unwrap();
    for at in 0..MAX_ROWS as u64 {
        let (key, row) = row(1 + at % 999, "f", false, 1_000_000 + at);
        window.file(key, row);
    }
    let bound = window.bound;
    assert!(bound < from);
    window.add(from, vec![row(9_000, "x", false, 77)], |_| false);
    assert_eq!((window.bound, window.len()), (bound, MAX_ROWS));
}

#[test]
fn what_cancels_stays_until_nothing_of_its_slot_and_key_is_left() {
    let (marker, target) = (row(10, "a", true, 7), row(10, "a", false, 3));
    let other = row(10, "b", true, 9);
    let mut window = window(&[target.clone(), marker.clone(), other.clone()]);
    let carried: Vec<_> = window.markers(&target.0).collect();
    assert_eq!(carried, [(7, "a")]);
    assert_eq!(due(&window, 20), [3]);
    assert!(window.over(1_019, 10, 9).is_empty());
    assert_eq!(window.over(1_021, 10, 9), [other.0]);
    window.remove(&target.0);
    assert_eq!(window.over(1_021, 10, 9).len(), 2);
    assert_eq!((window.next_due(10), window.first_slot()), (None, None));
}
