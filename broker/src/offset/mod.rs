//! How far groups are: offsets committed, pulled and to be reset, kept in `config/consumerOffset.json`.

mod offsets;
mod table;

pub use offsets::Commit;
pub use table::ConsumerOffsets;
