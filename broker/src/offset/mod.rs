//! How far groups are: offsets committed, pulled and to be reset, kept in `<store>/kv` and `config/consumerOffset.json`.

mod offsets;
mod rows;
mod table;

pub use offsets::Commit;
pub use table::ConsumerOffsets;
