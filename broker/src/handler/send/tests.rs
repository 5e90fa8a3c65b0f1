use super::testing::{HALF, end, send, serve};
use super::*;
use crate::dedup::Deduplication;
use common::message::record::RecordView;
use common::names;

fn properties_of(stored: &crate::testing::Stored, topic: &str, queue_id: u32) -> String {
    let record = stored.reader.record_of(topic, queue_id, 0).unwrap();
    let view = RecordView::parse(&record).unwrap();
    view.properties_text().into_owned()
}

#[tokio::test]
async fn a_message_that_is_delayed_has_no_priority() {
    let (stored, _loopback, client) = serve(BrokerConfig::default());
    let priority = "_SYS_MSG_PRIORITY_\u{1}0\u{2}";
    send(&client, &format!("{priority}DELAY\u{1}1\u{2}"), b"later").await;
    let text = properties_of(&stored, names::SCHEDULE_TOPIC, 0);
    assert_eq!(names_of::get(&text, names_of::PRIORITY), None);
    send(&client, priority, b"now").await;
    let text = properties_of(&stored, "t", 0);
    assert_eq!(names_of::get(&text, names_of::PRIORITY), Some("0"));
}

#[tokio::test]
async fn a_half_message_that_will_be_delayed_is_recognized_after_a_restart() {
    let config = BrokerConfig {
        deduplication_window_ms: 60_000,
        ..BrokerConfig::default()
    };
    let (stored, _loopback, client) = serve(config);
    for (key, more) in [
        ("A", ""),
        ("B", "DELAY\u{1}2\u{2}"),
        ("C", "TIMER_DELAY_SEC\u{1}60\u{2}"),
    ] {
        let text = format!("{HALF}UNIQ_KEY\u{1}{key}\u{2}{more}");
        let half = send(&client, &text, b"half").await;
        let anew = Deduplication::new(&stored.config, Arc::clone(&stored.clock));
        anew.rebuild(&stored.topics, &stored.reader).unwrap();
        let (known, again) = (stored.deduplication.lock().len(), anew.lock().len());
        assert_eq!(known, again, "{more}");
        assert_eq!(send(&client, &text, b"half").await, half);
    }
}

#[tokio::test]
async fn a_commit_is_counted_by_how_long_its_half_message_has_waited() {
    let (stored, _loopback, client) = serve(BrokerConfig::default());
    let halves = [
        send(&client, HALF, b"a").await,
        send(&client, HALF, b"b").await,
        send(&client, HALF, b"c").await,
    ];
    for (half, flag) in [(0, 8), (1, 12), (2, 8), (2, 8)] {
        assert_eq!(end(&client, halves[half], "g", flag).await, 0);
    }
    let families = prometheus::core::Collector::collect(&stored.transactions.waits().collector());
    let histogram = families[0].get_metric()[0].get_histogram();
    assert_eq!(families[0].name(), "rocketmq_finish_message_latency");
    assert_eq!(histogram.get_sample_count(), 2);
    assert_eq!(histogram.get_bucket()[0].cumulative_count(), 2);
}
