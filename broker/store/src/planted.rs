//! Deliberate faults, for the simulation of crashes to find: what it does not report it does not
//! test. Without the feature `sim` none of them is compiled in.

/// Declares the faults once: the type, and the list of all.
macro_rules! faults {
    ($($(#[$doc:meta])+ $fault:ident,)+) => {
        /// A fault that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])+ $fault,)+
        }

        #[cfg(feature = "sim")]
        impl Fault {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$fault,)+];
        }
    };
}

faults! {
    /// A flush does not sync the log.
    FlushSkipsSync,
    /// A flush syncs the newest segment only.
    FlushSkipsOlderSegments,
    /// A flush says how far it has come before it syncs.
    AcknowledgeBeforeSync,
    /// A flush counts what was appended while it was syncing.
    FlushedReadAfterSync,
    /// Consumers see what is not on disk yet.
    VisibleBeforeSync,
    /// After a failed sync the next one is tried.
    FailedSyncTriedAgain,
    /// A new segment's name and size are not synced.
    SegmentNameNotSynced,
    /// A segment that is full gets no blank.
    NoBlank,
    /// The checkpoint is written before the `ConsumeQueue`s are synced.
    CheckpointBeforeQueues,
    /// `ConsumeQueue`s are not synced.
    QueuesNotSynced,
    /// The checkpoint says what was dispatched after the `ConsumeQueue`s were written.
    MarkReadLate,
    /// The checkpoint counts records that are not dispatched.
    MarkIsEndOfLog,
    /// After a failed sync of the `ConsumeQueue`s the next one counts for it.
    FailedQueueSyncTriedAgain,
    /// The checkpoint is not synced.
    CheckpointNotSynced,
    /// The store counts as left in order after a crash.
    AbortIgnored,
    /// The name of the file `abort` is not synced.
    AbortNameNotSynced,
    /// The file `abort` goes before everything is on disk.
    AbortDeletedEarly,
    /// Recovery does not verify checksums.
    NoCrc,
    /// Recovery accepts records of which sectors are lost.
    TornAccepted,
    /// Recovery takes zeros for a blank.
    ZerosAreBlank,
    /// Recovery ends the log one record too early.
    EndOneRecordEarly,
    /// Recovery ends the log one byte too late.
    EndOneByteLate,
    /// What stands behind the end of the log stays.
    TailNotZeroed,
    /// The new end of the log is not synced.
    EndNotSynced,
    /// Segments behind the end go oldest first.
    CutOldestFirst,
    /// What is cut off is not kept.
    CutNotKept,
    /// The copy of what is cut off gets its name before it is synced.
    RenamedBeforeSync,
    /// Units behind the end of the log stay.
    UnitsNotCut,
    /// One unit too many stays.
    UnitsCutOffByOne,
    /// Records behind the checkpoint are not dispatched again.
    NothingDispatchedAgain,
    /// Queues do not go on behind their last message.
    NextOffsetForgotten,
    /// A queue whose first file is lost does not begin anew.
    LostFirstFileKept,
    /// Old segments go although the checkpoint needs them.
    CleanedBeforeCheckpoint,
    /// The newest of several old segments goes first.
    CleanedNewestFirst,
    /// The deletion of a topic is not noted in the checkpoint.
    DeletionNotNoted,
    /// Messages that wait for dispatch are dispatched after their topic was deleted.
    DeletedBeforeFlush,
    /// After a crash the key index goes on with more entries than the checkpoint names.
    IndexNotReset,
    /// After a crash the slots of the key index stay as they are.
    SlotsNotMadeAgain,
    /// The first use of a queue for whole batches leaves no directory.
    KindNotMarked,
    /// The end of a queue for whole batches counts its units.
    BatchesCountedAsMessages,
    /// Records behind the checkpoint are not dispatched to light queues again.
    LightNotDispatchedAgain,
}

#[cfg(feature = "sim")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in all stores of this thread, or none.
#[cfg(feature = "sim")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether `fault` is planted.
#[cfg(feature = "sim")]
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// None ever is.
#[cfg(not(feature = "sim"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}
