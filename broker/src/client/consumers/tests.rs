use super::*;
use common::wire::LanguageCode;

const EXPIRY: Duration = Duration::from_mins(2);

type Table = Consumers<u32>;

fn sub(topic: &str, text: &str, version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: text.to_owned(),
        sub_version: version,
        ..SubscriptionData::default()
    }
}

/// One heartbeat of connection `at` as client `c<at>`; its handle is the connection id.
fn beat_as(
    table: &mut Table,
    at: u32,
    data: ConsumerData,
    change: impl FnOnce(&mut Beat<'_, u32>),
) -> Registered<u32> {
    let client = ClientInfo {
        client_id: format!("c{at}"),
        language: LanguageCode::JAVA,
        version: 453,
    };
    let mut beat = Beat {
        connection: u64::from(at),
        handle: &at,
        client: &client,
        without_sub: false,
        fingerprint: 0,
        notified: true,
    };
    change(&mut beat);
    table.register(&beat, data, Duration::ZERO)
}

fn data(group: &str, subs: Vec<SubscriptionData>) -> ConsumerData {
    ConsumerData {
        group_name: group.to_owned(),
        subscription_data_set: subs,
        ..ConsumerData::default()
    }
}

fn beat(table: &mut Table, at: u32, group: &str, subs: Vec<SubscriptionData>) -> Vec<u32> {
    beat_as(table, at, data(group, subs), |_| {}).notify
}

fn fingerprint(table: &mut Table, fingerprint: i32, without_sub: bool) -> bool {
    let changed = beat_as(table, 1, data("g", vec![sub("t", "*", 1)]), |beat| {
        beat.fingerprint = fingerprint;
        beat.without_sub = without_sub;
    });
    changed.sub_change
}

fn to_notify(group: &str, member: u32) -> ToNotify<u32> {
    (group.into(), vec![member])
}

fn subscribed(table: &Table, group: &str, topic: &str) -> Option<String> {
    let found = table.pull_view(group, topic)?.subscription?;
    Some(found.data.sub_string.clone())
}

#[test]
fn every_member_hears_of_one_that_joins_the_newcomer_too() {
    let mut table = Table::default();
    assert_eq!(beat(&mut table, 1, "g", vec![sub("t", "*", 1)]), [1]);
    assert_eq!(beat(&mut table, 1, "g", vec![sub("t", "*", 1)]), [0; 0]);
    assert_eq!(beat(&mut table, 2, "g", vec![sub("t", "*", 1)]), [1, 2]);
    assert_eq!(
        table.client_ids("g"),
        Some(vec!["c1".to_owned(), "c2".to_owned()])
    );
    assert_eq!(table.client_ids("h"), None);
}

#[test]
fn a_topic_that_comes_or_goes_is_told_but_a_changed_expression_is_not() {
    let mut table = Table::default();
    beat(&mut table, 1, "g", vec![sub("t", "A", 1)]);
    assert!(beat(&mut table, 1, "g", vec![sub("t", "B", 2)]).is_empty());
    assert_eq!(
        beat(&mut table, 1, "g", vec![sub("t", "B", 2), sub("u", "*", 1)]),
        [1]
    );
    assert_eq!(beat(&mut table, 1, "g", vec![sub("u", "*", 1)]), [1]);
    assert_eq!(subscribed(&table, "g", "t"), None);
}

#[test]
fn members_share_the_subscription_with_the_newest_version() {
    let mut table = Table::default();
    for (at, text, version, want) in [
        (1, "A", 100, "A"),
        (2, "B", 99, "A"),
        (2, "B", 100, "A"),
        (1, "C", 101, "C"),
    ] {
        beat(&mut table, at, "g", vec![sub("t", text, version)]);
        assert_eq!(subscribed(&table, "g", "t").as_deref(), Some(want));
    }
}

#[test]
fn the_short_heartbeat_keeps_subscriptions_and_an_empty_full_one_drops_them() {
    let mut table = Table::default();
    beat(&mut table, 1, "g", vec![sub("t", "A", 1)]);
    let short = |beat: &mut Beat<'_, u32>| (beat.without_sub, beat.fingerprint) = (true, 5);
    beat_as(&mut table, 1, data("g", vec![]), short);
    assert_eq!(subscribed(&table, "g", "t").as_deref(), Some("A"));
    assert_eq!(beat(&mut table, 1, "g", vec![]), [1]);
    assert_eq!(subscribed(&table, "g", "t"), None);
}

#[test]
fn a_fingerprint_that_differs_from_the_last_is_a_change() {
    let mut table = Table::default();
    let changed = [11, 11, 22, 22, -7, 11].map(|print| fingerprint(&mut table, print, false));
    assert_eq!(changed, [false, false, true, false, true, true]);
    assert!(
        fingerprint(&mut table, 0, false),
        "the first kind of heartbeat always says so"
    );
    assert!(
        fingerprint(&mut table, 11, false),
        "and counts as another fingerprint"
    );
}

#[test]
fn a_short_heartbeat_of_an_unknown_group_asks_for_the_full_one() {
    let mut table = Table::default();
    assert!(fingerprint(&mut table, 5, true));
    assert!(fingerprint(&mut table, 5, true));
    assert!(!fingerprint(&mut table, 5, false));
    assert!(!fingerprint(&mut table, 5, true));
}

#[test]
fn leaving_tells_the_others_and_the_last_one_ends_the_group() {
    let mut table = Table::default();
    beat(&mut table, 1, "g", vec![sub("t", "A", 5)]);
    beat(&mut table, 2, "g", vec![sub("t", "A", 5)]);
    assert!(table.unregister("g", 3).is_empty() && table.unregister("h", 1).is_empty());
    assert_eq!(table.unregister("g", 2), [1]);
    assert!(table.unregister("g", 1).is_empty());
    assert!(table.pull_view("g", "t").is_none());
    beat(&mut table, 1, "g", vec![sub("t", "B", 1)]);
    assert_eq!(
        subscribed(&table, "g", "t").as_deref(),
        Some("B"),
        "older versions died with the group"
    );
}

#[test]
fn a_closed_connection_leaves_all_its_groups() {
    let mut table = Table::default();
    for (at, group) in [(1, "g"), (2, "g"), (1, "h"), (2, "i")] {
        beat(&mut table, at, group, vec![]);
    }
    assert_eq!(table.closed(1), [to_notify("g", 2)]);
    assert!(!table.has_connection(1) && table.has_connection(2));
    assert_eq!(table.client_ids("h"), None);
    assert!(table.closed(1).is_empty());
}

#[test]
fn broadcast_groups_and_groups_that_want_silence_are_not_told() {
    let mut table = Table::default();
    let broadcast = |group| ConsumerData {
        message_model: MessageModel::Broadcasting,
        ..data(group, vec![])
    };
    for at in [1, 2] {
        assert!(
            beat_as(&mut table, at, broadcast("b"), |_| {})
                .notify
                .is_empty()
        );
        assert!(
            beat_as(&mut table, at, data("q", vec![]), |beat| beat.notified =
                false)
            .notify
            .is_empty()
        );
    }
    assert!(table.unregister("b", 2).is_empty() && table.closed(2).is_empty());
}

#[test]
fn a_silent_member_expires_and_the_others_are_told() {
    let mut table = Table::default();
    beat(&mut table, 1, "g", vec![]);
    beat(&mut table, 2, "g", vec![]);
    let client = ClientInfo {
        client_id: "c2".to_owned(),
        language: LanguageCode::GO,
        version: 1,
    };
    let fresh = Beat {
        connection: 2,
        handle: &2,
        client: &client,
        without_sub: true,
        fingerprint: 0,
        notified: true,
    };
    table.register(&fresh, data("g", vec![]), EXPIRY);
    assert_eq!(
        table.expire(EXPIRY, EXPIRY),
        Expired {
            silent: vec![],
            notify: vec![]
        }
    );
    let later = EXPIRY + Duration::from_millis(1);
    assert_eq!(
        table.expire(later, EXPIRY),
        Expired {
            silent: vec![(1, 1)],
            notify: vec![to_notify("g", 2)]
        }
    );
    assert_eq!(
        table.expire(later + later, EXPIRY),
        Expired {
            silent: vec![(2, 2)],
            notify: vec![]
        }
    );
    assert!(table.groups.is_empty());
}

#[test]
fn the_list_of_connections_shows_the_last_heartbeat() {
    let mut table = Table::default();
    let stated = ConsumerData {
        consume_type: ConsumeType::ConsumeActively,
        consume_from_where: ConsumeFromWhere::ConsumeFromTimestamp,
        ..data("g", vec![sub("t", "A", 77)])
    };
    beat_as(&mut table, 1, stated, |_| {});
    let shown = table.connections("g").unwrap();
    assert_eq!(shown.consume_type, ConsumeType::ConsumeActively);
    assert_eq!(
        shown.consume_from_where,
        ConsumeFromWhere::ConsumeFromTimestamp
    );
    assert_eq!(
        (shown.members[0].client.version, shown.members[0].handle),
        (453, 1)
    );
    assert_eq!(shown.subscriptions[0].data, sub("t", "A", 77));
    assert_eq!(table.client_id("g", 1).as_deref(), Some("c1"));
    assert_eq!(table.client_id("g", 9), None);
}
