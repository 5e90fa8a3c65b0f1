//! Looking at stored messages.

use crate::wire::wire_header;

wire_header! {
    /// `VIEW_MESSAGE_BY_ID` (33).
    pub struct ViewMessageRequestHeader {
        /// Physical offset.
        pub offset: i64 = "offset",
        /// Not looked at.
        pub topic: Option<String> = "topic",
    }
}
