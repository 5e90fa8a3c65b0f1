use super::*;
use common::clock::{ManualClock, Millis};
use std::fs;

fn open(path: &Path) -> ConsumerOffsets {
    ConsumerOffsets::open(path, 500, Arc::new(ManualClock::new(Millis(1)))).unwrap()
}

#[test]
fn offsets_survive_a_restart_once_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config/consumerOffset.json");
    let offsets = open(&path);
    offsets.commit("g", "t", 0, 5);
    assert_eq!(open(&path).committed("g", "t", 0), None);
    offsets.persist().unwrap();
    assert_eq!(open(&path).committed("g", "t", 0), Some(5));
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    offsets.persist().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
}

#[test]
fn a_file_of_a_java_broker_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("consumerOffset.json");
    let java = "{\n\t\"dataVersion\":{\"counter\":4,\"stateVersion\":0,\"timestamp\":7},\n\t\"groupTopicMap\":{\"g\":[\"t\"]},\n\t\"offsetTable\":{\n\t\t\
        \"t@g\":{0:12,1:7\n\t\t}\n\t},\n\t\"pullOffsetTable\":{\"t@g\":{0:99}}\n}";
    fs::write(&path, java).unwrap();
    let offsets = open(&path);
    assert_eq!(
        (
            offsets.committed("g", "t", 0),
            offsets.committed("g", "t", 1)
        ),
        (Some(12), Some(7))
    );
    assert_eq!(offsets.pull_offset("g", "t", 0), None);
    offsets.commit("g", "t", 0, 13);
    offsets.persist().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("\"counter\": 4")
            && text.contains("\"groupTopicMap\"")
            && text.contains("\"t@g\"")
    );
}

#[test]
fn a_reset_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let offsets = open(&directory.path().join("consumerOffset.json"));
    offsets.reset("g", "t", 0, 5);
    assert_eq!(offsets.commit("g", "t", 0, 9), Commit::ResetPending);
    assert_eq!(
        (
            offsets.take_reset("g", "t", 0),
            offsets.take_reset("g", "t", 0)
        ),
        (Some(5), None)
    );
    assert_eq!(offsets.committed("g", "t", 0), Some(5));
}

#[test]
fn a_write_that_failed_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("consumerOffset.json");
    let offsets = open(&path);
    offsets.commit("g", "t", 0, 5);
    let blocked = path.with_extension("json.tmp");
    fs::create_dir(&blocked).unwrap();
    assert!(offsets.persist().is_err());
    fs::remove_dir(&blocked).unwrap();
    offsets.persist().unwrap();
    assert_eq!(open(&path).committed("g", "t", 0), Some(5));
}
