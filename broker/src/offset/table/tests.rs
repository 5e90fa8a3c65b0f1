use super::*;
use crate::kv::Kv;
use common::clock::{ManualClock, Millis};
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;

/// Directories of a broker that is started and killed.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("config")).unwrap();
        Self { directory }
    }

    fn json(&self) -> PathBuf {
        self.directory.path().join("config/consumerOffset.json")
    }

    fn kv(&self) -> PathBuf {
        self.directory.path().join("kv")
    }

    /// The table as the next broker finds it; the one before has to be gone.
    fn open(&self) -> ConsumerOffsets {
        let mut start = Kv::open(&self.kv()).unwrap();
        let clock = Arc::new(ManualClock::new(Millis(1)));
        ConsumerOffsets::open(&mut start, &self.json(), None, 500, clock).unwrap()
    }

    /// The offset of queue 0 as the next broker finds it.
    fn found(&self) -> Option<i64> {
        self.open().committed("g", "t", 0)
    }

    /// A broker has committed this, and has written or not written its file.
    fn commit(&self, offset: i64, persist: bool) {
        let offsets = self.open();
        offsets.commit("g", "t", 0, offset);
        offsets.settle().unwrap();
        if persist {
            offsets.persist().unwrap();
        }
    }
}

const JAVA: &str = "{\n\t\"dataVersion\":{\"counter\":4,\"stateVersion\":0,\"timestamp\":7},\n\t\"groupTopicMap\":{\"g\":[\"t\"]},\n\t\
    \"offsetTable\":{\n\t\t\"t@g\":{0:12,1:7\n\t\t}\n\t},\n\t\"pullOffsetTable\":{\"t@g\":{0:99}}\n}";

#[test]
fn a_commit_that_is_on_the_disk_is_found_whatever_the_file_says() {
    let world = World::new();
    let offsets = world.open();
    let (done, outcome) = mpsc::channel();
    let committed = offsets.commit_then("g", "t", 0, 5, move |written| {
        done.send(written.is_ok()).unwrap();
    });
    assert_eq!(committed, Commit::Stored);
    assert!(outcome.recv().unwrap());
    drop(offsets);
    assert!(!world.json().exists());
    assert_eq!(world.found(), Some(5));
    world.commit(6, true);
    world.commit(7, false);
    assert_eq!(world.found(), Some(7));
}

#[test]
fn the_file_is_written_when_something_has_changed() {
    let world = World::new();
    let offsets = world.open();
    offsets.persist().unwrap();
    assert!(!world.json().exists());
    offsets.commit("g", "t", 0, 5);
    offsets.persist().unwrap();
    let written = fs::metadata(world.json()).unwrap().modified().unwrap();
    offsets.persist().unwrap();
    let modified = fs::metadata(world.json()).unwrap().modified().unwrap();
    assert_eq!(modified, written);
}

#[test]
fn the_file_of_a_java_broker_is_taken_over() {
    let world = World::new();
    fs::write(world.json(), JAVA).unwrap();
    let offsets = world.open();
    assert_eq!(offsets.queues("g", "t"), BTreeMap::from([(0, 12), (1, 7)]));
    assert_eq!(offsets.pull_offset("g", "t", 0), None);
    offsets.commit("g", "t", 0, 13);
    offsets.settle().unwrap();
    drop(offsets);
    // The file that was taken over says nothing new any more.
    assert_eq!(world.found(), Some(13));
    world.commit(14, true);
    let text = fs::read_to_string(world.json()).unwrap();
    assert!(
        text.contains("\"counter\": 4")
            && text.contains("\"groupTopicMap\"")
            && text.contains("\"t@g\""),
        "{text}"
    );
}

#[test]
fn a_file_that_somebody_else_wrote_replaces_everything() {
    let world = World::new();
    let offsets = world.open();
    offsets.commit("g", "t", 0, 50);
    offsets.commit("h", "t", 0, 60);
    offsets.settle().unwrap();
    offsets.persist().unwrap();
    drop(offsets);
    fs::write(world.json(), JAVA).unwrap();
    let offsets = world.open();
    assert_eq!(offsets.pairs(), [("g".to_owned(), "t".to_owned())]);
    assert_eq!(offsets.committed("g", "t", 0), Some(12));
    drop(offsets);
    let edited = fs::read_to_string(world.json()).unwrap();
    fs::write(world.json(), edited.replace("0:12", "0:11")).unwrap();
    assert_eq!(world.found(), Some(11));
    // Also the copy of our own version before, when an operator puts it back.
    world.commit(70, true);
    world.commit(71, true);
    fs::copy(world.json().with_extension("json.bak"), world.json()).unwrap();
    assert_eq!(world.found(), Some(70));
}

#[test]
fn without_a_file_the_rows_count_and_without_rows_the_file() {
    let world = World::new();
    world.commit(5, true);
    world.commit(6, true);
    fs::remove_file(world.json()).unwrap();
    assert_eq!(world.found(), Some(6));
    world.open().persist().unwrap();
    assert!(world.json().exists());
    world.commit(7, false);
    fs::remove_dir_all(world.kv()).unwrap();
    assert_eq!(world.found(), Some(6));
    world.commit(8, false);
    assert_eq!(world.found(), Some(8));
}

#[test]
fn a_damaged_file_gives_way_to_the_rows_and_is_kept_beside() {
    for damage in ["", "\n", "{\"offsetTable\":"] {
        let world = World::new();
        world.commit(5, true);
        world.commit(6, true);
        world.commit(7, false);
        fs::write(world.json(), damage).unwrap();
        assert_eq!(world.found(), Some(7));
        let beside = world.json().with_extension("json.damaged");
        assert_eq!(fs::read_to_string(beside).unwrap(), damage);
        world.open().persist().unwrap();
        assert_eq!(world.found(), Some(7));
        assert!(world.json().exists());
    }
}

#[test]
fn a_damaged_file_beside_a_copy_that_is_not_ours_gives_way_to_the_copy() {
    let world = World::new();
    world.commit(5, true);
    fs::write(world.json().with_extension("json.bak"), JAVA).unwrap();
    fs::write(world.json(), "{").unwrap();
    assert_eq!(world.found(), Some(12));
    assert_eq!(world.found(), Some(12));
}

#[test]
fn a_damaged_file_with_nothing_to_take_its_place_is_refused() {
    let world = World::new();
    fs::write(world.json(), "{").unwrap();
    let mut start = Kv::open(&world.kv()).unwrap();
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let opened = ConsumerOffsets::open(&mut start, &world.json(), None, 500, clock);
    let text = opened.err().unwrap().to_string();
    assert!(
        text.contains("consumerOffset.json cannot be read"),
        "{text}"
    );
    assert!(world.json().exists());
}

#[test]
fn a_crash_between_digest_and_file_finds_a_file_it_knows() {
    let world = World::new();
    world.commit(5, true);
    // The digest of the next file gets in, the file does not; twice.
    for offset in [6, 7] {
        let offsets = world.open();
        offsets.commit("g", "t", 0, offset);
        let blocked = world.json().with_extension("json.tmp");
        fs::create_dir(&blocked).unwrap();
        assert!(offsets.persist().is_err());
        fs::remove_dir(&blocked).unwrap();
        drop(offsets);
        assert_eq!(world.found(), Some(offset));
    }
    // Between the two renames.
    fs::rename(world.json(), world.json().with_extension("json.bak")).unwrap();
    assert_eq!(world.found(), Some(7));
    let offsets = world.open();
    offsets.persist().unwrap();
    drop(offsets);
    assert_eq!(world.found(), Some(7));
}

#[test]
fn a_write_of_the_file_that_failed_is_tried_again() {
    let world = World::new();
    let offsets = world.open();
    offsets.commit("g", "t", 0, 5);
    let blocked = world.json().with_extension("json.tmp");
    fs::create_dir(&blocked).unwrap();
    assert!(offsets.persist().is_err());
    fs::remove_dir(&blocked).unwrap();
    offsets.persist().unwrap();
    drop(offsets);
    fs::remove_dir_all(world.kv()).unwrap();
    assert_eq!(world.found(), Some(5));
}

#[test]
fn what_is_forgotten_stays_forgotten() {
    let world = World::new();
    let offsets = world.open();
    for (group, topic) in [("g", "t"), ("g", "u"), ("h", "t"), ("h", "u")] {
        offsets.commit(group, topic, 3, 5);
    }
    offsets.settle().unwrap();
    offsets.remove_group("g");
    offsets.remove_topic("u");
    offsets.settle().unwrap();
    drop(offsets);
    assert_eq!(world.open().pairs(), [("h".to_owned(), "t".to_owned())]);
}

#[test]
fn what_was_committed_beyond_the_end_is_taken_back_for_good() {
    let world = World::new();
    let offsets = world.open();
    offsets.commit("g", "t", 0, 9);
    offsets.commit("g", "t", 1, 3);
    offsets.commit("g", "t", 2, -1);
    offsets.clamp(|topic, _| if topic == "t" { 4 } else { 0 });
    offsets.settle().unwrap();
    drop(offsets);
    let expected = BTreeMap::from([(0, 4), (1, 3), (2, -1)]);
    assert_eq!(world.open().queues("g", "t"), expected);
}

#[test]
fn a_reset_is_told_once() {
    let world = World::new();
    let offsets = world.open();
    offsets.reset("g", "t", &[(0, 5)].into());
    assert_eq!(offsets.commit("g", "t", 0, 9), Commit::ResetPending);
    let told = [
        offsets.take_reset("g", "t", 0),
        offsets.take_reset("g", "t", 0),
    ];
    assert_eq!(told, [Some(5), None]);
    offsets.settle().unwrap();
    drop(offsets);
    assert_eq!(world.found(), Some(5));
}

impl World {
    fn light_json(&self) -> PathBuf {
        self.json().with_file_name("lmqConsumerOffset.json")
    }

    fn open_light(&self) -> ConsumerOffsets {
        let mut start = Kv::open(&self.kv()).unwrap();
        let clock = Arc::new(ManualClock::new(Millis(1)));
        let (path, light) = (self.json(), self.light_json());
        ConsumerOffsets::open(&mut start, &path, Some(&light), 500, clock).unwrap()
    }
}

#[test]
fn groups_of_light_queues_have_a_table_of_their_own_in_their_file() {
    let world = World::new();
    let java = JAVA.replace(
        "\"pullOffsetTable\"",
        "\"lmqOffsetTable\":{\"%LMQ%t@%LMQ%g\":30},\n\t\"pullOffsetTable\"",
    );
    fs::write(world.light_json(), java).unwrap();
    let offsets = world.open_light();
    assert_eq!(offsets.committed("g", "t", 1), Some(7));
    assert_eq!(offsets.committed("%LMQ%g", "%LMQ%t", 0), Some(30));
    offsets.commit("%LMQ%g", "%LMQ%t", 0, 31);
    offsets.settle().unwrap();
    offsets.persist().unwrap();
    drop(offsets);
    let text = fs::read_to_string(world.light_json()).unwrap();
    let text: String = text.split_whitespace().collect();
    assert!(
        text.contains("\"lmqOffsetTable\":{\"%LMQ%t@%LMQ%g\":31}"),
        "{text}"
    );
    assert!(
        text.contains("\"offsetTable\":{\"t@g\":{\"0\":12,\"1\":7}}"),
        "{text}"
    );
    assert_eq!(
        world.open_light().committed("%LMQ%g", "%LMQ%t", 0),
        Some(31)
    );
}

#[test]
fn light_queues_switched_on_and_off_take_no_offset_back() {
    let world = World::new();
    fs::write(world.json(), JAVA).unwrap();
    // Nobody has written the other file yet.
    let offsets = world.open_light();
    assert_eq!(offsets.committed("g", "t", 0), Some(12));
    offsets.commit("g", "t", 0, 13);
    offsets.persist().unwrap();
    offsets.settle().unwrap();
    drop(offsets);
    assert_eq!(world.open_light().committed("g", "t", 0), Some(13));
    world.commit(14, true);
    let offsets = world.open_light();
    assert_eq!(offsets.committed("g", "t", 0), Some(14));
    offsets.commit("g", "t", 0, 15);
    offsets.persist().unwrap();
    offsets.settle().unwrap();
    drop(offsets);
    // The file of before, which is ours.
    assert_eq!(world.found(), Some(15));
}
