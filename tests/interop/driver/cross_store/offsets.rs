//! Offsets of consumer groups.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tests::Connection;

use super::site::{End, Maker};
use super::wire;

/// What each group's offset in each queue may be.
#[derive(Debug, Default)]
pub struct Offsets {
    known: BTreeMap<(String, String, u32), Known>,
    /// The last broker was killed.
    killed: bool,
}

#[derive(Debug)]
struct Known {
    /// Oldest first.
    may_be: Vec<i64>,
    /// What was committed last in our last turn. It is on the disk, and counts again if the reference is killed before
    /// it has written a table of its own.
    ours: Option<i64>,
}

impl Offsets {
    /// Sets a group's offset.
    pub fn commit(
        &mut self,
        connection: &mut Connection,
        (group, topic, queue): (&str, &str, u32),
        offset: i64,
    ) -> Result<()> {
        wire::commit(connection, group, topic, queue, offset)?;
        let key = (group.to_owned(), topic.to_owned(), queue);
        // Before the first commit there is none, and a kill may take that one back.
        let known = self.known.entry(key).or_insert_with(|| Known {
            may_be: vec![-1],
            ours: None,
        });
        known.may_be.push(offset);
        Ok(())
    }

    /// A turn has ended: for who comes next a kill may take back what was committed in it, a clean stop nothing.
    pub fn turn_ended(&mut self, maker: Maker, how: End) {
        self.killed = how == End::Kill;
        for known in self.known.values_mut() {
            if maker == Maker::Arugula {
                known.ours = known.may_be.last().copied();
            }
            if how == End::Clean {
                known.may_be.drain(..known.may_be.len() - 1);
            }
        }
    }

    /// Compares with what the broker of `maker` says, which is true from then on.
    pub fn verify(&mut self, connection: &mut Connection, maker: Maker) -> Result<()> {
        for ((group, topic, queue), known) in &mut self.known {
            let now = wire::committed(connection, group, topic, *queue)?;
            let ours = self.killed && maker == Maker::Arugula && known.ours == Some(now);
            ensure!(
                ours || known.may_be.contains(&now),
                "offset of {group} in {topic}[{queue}] is {now}, not {known:?}"
            );
            known.may_be = vec![now];
        }
        Ok(())
    }
}
