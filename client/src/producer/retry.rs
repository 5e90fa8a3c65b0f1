//! Which failures are worth another attempt. Pure.

use common::transport::TransportError;
use common::wire::response_code;

use crate::error::ClientError;

/// Answers that another broker, or the same one a moment later, may not repeat.
const RETRY_CODES: [i32; 8] = [
    response_code::TOPIC_NOT_EXIST,
    response_code::SERVICE_NOT_AVAILABLE,
    response_code::SYSTEM_ERROR,
    response_code::SYSTEM_BUSY,
    response_code::NO_PERMISSION,
    response_code::NO_BUYER_ID,
    response_code::NOT_IN_CURRENT_UNIT,
    response_code::GO_AWAY,
];

/// Whether a send that failed so may succeed elsewhere.
pub(crate) fn is_worth_another_attempt(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { code, .. } => RETRY_CODES.contains(code),
        ClientError::Transport(TransportError::TooLarge { .. }) => false,
        ClientError::Transport(_) | ClientError::NoBroker { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn refused(code: i32) -> ClientError {
        ClientError::Refused {
            address: "b:1".into(),
            code,
            remark: None,
        }
    }

    #[test]
    fn the_codes_of_the_reference_are_retried_and_no_others() {
        let retried: Vec<i32> = (0..2100)
            .filter(|code| is_worth_another_attempt(&refused(*code)))
            .collect();
        assert_eq!(retried, [1, 2, 14, 16, 17, 204, 205, 1500]);
    }

    #[test]
    fn a_peer_that_cannot_be_reached_is_worth_another() {
        let address = || "b:1".to_owned();
        let timeout = TransportError::Timeout {
            address: address(),
            code: 310,
            timeout: Duration::from_secs(1),
        };
        let closed = TransportError::Closed {
            address: address(),
            code: 310,
        };
        let large = TransportError::TooLarge {
            code: 310,
            bytes: 2,
            limit: 1,
        };
        assert!(is_worth_another_attempt(&timeout.into()));
        assert!(is_worth_another_attempt(&closed.into()));
        assert!(!is_worth_another_attempt(&large.into()));
        assert!(!is_worth_another_attempt(&ClientError::IllegalMessage {
            reason: "x".into()
        }));
    }
}
