//! What a connection remembers of the topics it sends to, so that a send in the stream of sends looks nothing up.

use crate::topic::{Topic, TopicTable};
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use std::sync::Arc;
use store::{Queue, StoreWriter};

/// Topics a connection remembers; more start over.
const REMEMBERED_TOPICS: usize = 256;
/// Queues of a topic it remembers; those behind them are looked up.
const REMEMBERED_QUEUES: usize = 1024;

/// A topic as senders see it, and the store's handles of its queues.
pub(super) struct Route {
    pub(super) topic: Arc<Topic>,
    queues: Vec<Option<Arc<Queue>>>,
}

impl Route {
    fn new(topic: Arc<Topic>) -> Self {
        Self {
            topic,
            queues: Vec::new(),
        }
    }

    /// The store's handle of a queue.
    pub(super) fn queue(&mut self, store: &StoreWriter, queue_id: u32) -> Arc<Queue> {
        let find = || store.queue(&self.topic.topic_name, queue_id);
        let at = usize::try_from(queue_id).unwrap_or(usize::MAX);
        if at >= REMEMBERED_QUEUES {
            return find();
        }
        if self.queues.len() <= at {
            self.queues.resize(at + 1, None);
        }
        Arc::clone(self.queues[at].get_or_insert_with(find))
    }
}

/// The remembered topics; forgotten as soon as any topic changes.
#[derive(Default)]
pub(super) struct Routes {
    generation: u64,
    by_topic: HashMap<Box<str>, Route>,
}

impl Routes {
    /// The route of a topic that exists and may be sent to; asks `find` when it is not remembered.
    pub(super) fn find<E>(
        &mut self,
        topics: &TopicTable,
        topic: &str,
        find: impl FnOnce() -> Result<Arc<Topic>, E>,
    ) -> Result<&mut Route, E> {
        let generation = topics.generation();
        if generation != self.generation || self.by_topic.len() > REMEMBERED_TOPICS {
            self.by_topic.clear();
            self.generation = generation;
        }
        Ok(match self.by_topic.entry_ref(topic) {
            EntryRef::Occupied(known) => known.into_mut(),
            EntryRef::Vacant(new) => new.insert(Route::new(find()?)),
        })
    }

    /// The route of a topic that is there, whoever may send to it.
    pub(super) fn known(&mut self, topics: &TopicTable, topic: &str) -> Option<&mut Route> {
        self.find(topics, topic, || topics.get(topic).ok_or(()))
            .ok()
    }
}
