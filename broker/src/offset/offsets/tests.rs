use super::*;

const STEP: u64 = 3;

fn offsets() -> Offsets {
    Offsets::new(DataVersion::new(5), STEP)
}

#[test]
fn any_commit_counts_and_negative_ones_read_as_none() {
    let mut offsets = offsets();
    for offset in [3, 1, 1000, 0] {
        assert_eq!(offsets.commit("g", "t", 77, offset, 0), Commit::Stored);
        assert_eq!(offsets.committed("g", "t", 77), Some(offset));
    }
    offsets.commit("g", "t", 77, -5, 0);
    assert_eq!(offsets.committed("g", "t", 77), None);
    assert_eq!(offsets.committed("g", "t", 0), None);
    assert_eq!(offsets.committed("t", "g", 77), None);
}

#[test]
fn a_pending_reset_swallows_commits_until_a_pull_has_taken_it() {
    let mut offsets = offsets();
    offsets.commit("g", "t", 0, 9, 0);
    offsets.reset("g", "t", 0, 2);
    assert_eq!(offsets.commit("g", "t", 0, 9, 0), Commit::ResetPending);
    assert_eq!(offsets.commit("g", "t", 1, 4, 0), Commit::Stored);
    assert_eq!(offsets.committed("g", "t", 0), Some(2));
    assert_eq!(offsets.take_reset("g", "t", 0), Some(2));
    assert_eq!(offsets.take_reset("g", "t", 0), None);
    assert_eq!(offsets.committed("g", "t", 0), Some(2));
    assert_eq!(offsets.commit("g", "t", 0, 3, 0), Commit::Stored);
}

#[test]
fn pull_offsets_are_kept_apart() {
    let mut offsets = offsets();
    offsets.pulled("g", "t", 0, 8);
    assert_eq!(
        (
            offsets.committed("g", "t", 0),
            offsets.pull_offset("g", "t", 0)
        ),
        (None, Some(8))
    );
    assert!(offsets.topics_of("g").is_empty());
    let wrapper = offsets.wrapper();
    assert!(wrapper.offset_table.is_empty());
    assert_eq!(wrapper.pull_offset_table["t@g"], ByQueue::from([(0, 8)]));
}

#[test]
fn topics_and_groups_are_listed_and_forgotten() {
    let mut offsets = offsets();
    for (group, topic) in [("g", "t"), ("g", "s"), ("h", "t")] {
        offsets.commit(group, topic, 0, 1, 0);
    }
    assert_eq!(
        (offsets.topics_of("g"), offsets.groups_of("t")),
        (vec!["s".into(), "t".into()], vec!["g".into(), "h".into()])
    );
    assert_eq!(offsets.wrapper().group_topic_map["g"], ["s", "t"]);
    offsets.remove_topic("t");
    assert_eq!(offsets.pairs(), [("g".to_owned(), "s".to_owned())]);
    offsets.remove_group("g");
    assert!(offsets.pairs().is_empty());
}

#[test]
fn the_version_takes_a_step_with_every_so_many_commits() {
    let mut offsets = offsets();
    for commit in 0..7 {
        offsets.commit("g", "t", 0, commit, 100);
    }
    assert_eq!(
        offsets.wrapper().data_version,
        DataVersion {
            counter: 2,
            state_version: 0,
            timestamp: 100
        }
    );
}

#[test]
fn what_is_written_is_read_without_pulls_and_resets() {
    let mut before = offsets();
    before.commit("g@broadcast", "t", 0, 1, 0);
    before.commit("g", "t", 3, 7, 0);
    before.pulled("g", "t", 3, 9);
    before.reset("g", "t", 4, 2);
    let mut after = offsets();
    after.load(before.wrapper());
    assert_eq!(after.committed("g@broadcast", "t", 0), Some(1));
    assert_eq!(after.queues("g", "t"), ByQueue::from([(3, 7), (4, 2)]));
    assert_eq!(
        (
            after.pull_offset("g", "t", 3),
            after.take_reset("g", "t", 4)
        ),
        (None, None)
    );
    assert!(after.take_rows().next().is_none());
}
