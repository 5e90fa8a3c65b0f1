//! Records that end in a checksum over all of them.

use common::message::property_crc;

use super::*;

fn bench(files: Arc<SimFiles>, write: bool, force: bool) -> Bench {
    let config = StoreConfig {
        property_crc: PropertyCrc { write, force },
        ..config(FlushMode::Async)
    };
    Bench::with(files, config)
}

fn send(bench: &Bench, bodies: &[&str]) {
    for body in bodies {
        let mut batch = bench.writer.batch();
        let properties = "TAGS\u{1}A\u{2}";
        let parts = parts("T", 0, body, properties, 0);
        batch.push(&bench.writer.queue("T", 0), &parts).unwrap();
        bench
            .writer
            .append_batch(&mut batch, &mut Vec::new())
            .unwrap();
    }
}

fn records(bench: &Bench) -> Vec<Vec<u8>> {
    let result = bench.get("T", 0, 0, 32);
    let slices = result
        .records
        .iter()
        .map(|slice| &slice[..])
        .collect::<Vec<_>>()
        .concat();
    let mut rest = &slices[..];
    let mut records = Vec::new();
    while let Some(size) = rest.first_chunk() {
        let (record, next) = rest.split_at(usize::try_from(u32::from_be_bytes(*size)).unwrap());
        records.push(record.to_vec());
        rest = next;
    }
    records
}

#[test]
fn stored_records_have_the_checksum_over_their_stamps() {
    let store = bench(SimFiles::new(), true, false);
    send(&store, &["a", "b"]);
    let records = records(&store);
    assert_eq!(records.len(), 2);
    for record in &records {
        assert!(property_crc::is_intact(record));
    }
}

#[test]
fn forced_check_ends_the_log_at_a_damaged_property() {
    for (forced, left) in [(true, vec!["a"]), (false, vec!["a", "b", "c"])] {
        let store = bench(SimFiles::new(), true, forced);
        send(&store, &["a", "b", "c"]);
        let second = store.reader.record_of("T", 0, 1).unwrap();
        let end = RecordView::parse(&second).unwrap().physical_offset
            + i64::try_from(second.len()).unwrap();
        let files = store.kill();
        // The tag of the second message.
        let at = usize::try_from(end).unwrap() - property_crc::PROPERTY_BYTES - 2;
        files.overwrite(segment_path(0), at, b"B");
        let store = bench(files, true, forced);
        assert_eq!(store.bodies("T", 0), left, "forced: {forced}");
    }
}

#[test]
fn forced_check_ends_the_log_at_a_record_without_checksum() {
    let store = bench(SimFiles::new(), true, true);
    send(&store, &["a"]);
    let store = bench(store.kill(), false, true);
    send(&store, &["b"]);
    let files = store.kill();
    let store = bench(files, true, true);
    assert_eq!(store.bodies("T", 0), ["a"]);
}
