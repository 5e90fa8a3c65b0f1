//! The remoting protocol: frames, headers in both serializations, typed requests and replies, JSON bodies.
//!
//! No I/O and no async: bytes in, types out, and back. What runs it over sockets is `transport`.

pub mod body;
pub mod codes;
pub mod command;
pub mod fastjson;
pub mod fields;
pub mod frame;
pub mod head;
pub mod header;
mod json_header;
pub mod reply;
pub mod request;

pub use codes::{CURRENT_VERSION, CURRENT_VERSION_DESC, request_code, response_code};
pub use command::{Command, HeaderError, LanguageCode, ReplyTo, SerializeType};
pub use fields::{FieldError, FieldValue, Fields, WireHeader};
pub use frame::{FrameError, MAX_FRAME_BYTES, RawFrame, split_frame};
pub use reply::{Reply, with_faq};

pub(crate) use fields::wire_header;
