//! Bits of a message's `sysFlag`.

use std::net::SocketAddr;

/// The body is compressed; the kind stands in [`COMPRESSION_TYPE`].
pub const COMPRESSED: i32 = 0x1;
/// The message carries several tags (nobody reads it today).
pub const MULTI_TAGS: i32 = 0x2;
/// Mask of the transaction type: none of the three below is a plain message.
pub const TRANSACTION_TYPE: i32 = 0xC;
/// First half of a transaction.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// A committed transaction's message.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// A rolled back transaction.
pub const TRANSACTION_ROLLBACK: i32 = 0xC;
/// The born host is written as 16 address bytes.
pub const BORN_HOST_V6: i32 = 0x10;
/// The store host is written as 16 address bytes.
pub const STORE_HOST_V6: i32 = 0x20;
/// The body holds several messages which the consumer unwraps.
pub const NEED_UNWRAP: i32 = 0x40;
/// One record that stands for several queue offsets.
pub const INNER_BATCH: i32 = 0x80;
/// Mask of the compression type: 0 and 0x300 zlib, 0x100 LZ4, 0x200 Zstandard.
pub const COMPRESSION_TYPE: i32 = 0x700;

/// The flag with both address bits as the real addresses demand, whatever the client sent: a wrong
/// bit would make the record unreadable.
#[must_use]
pub fn with_hosts(sys_flag: i32, born_host: &SocketAddr, store_host: &SocketAddr) -> i32 {
    let mut flag = sys_flag & !(BORN_HOST_V6 | STORE_HOST_V6);
    if born_host.is_ipv6() {
        flag |= BORN_HOST_V6;
    }
    if store_host.is_ipv6() {
        flag |= STORE_HOST_V6;
    }
    flag
}

/// Whether a record with this flag takes a place in its queue. The first half and the rollback of
/// a transaction are in the log only.
pub fn is_queued(sys_flag: i32) -> bool {
    !matches!(
        sys_flag & TRANSACTION_TYPE,
        TRANSACTION_PREPARED | TRANSACTION_ROLLBACK
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_bits_follow_the_addresses() {
        let v4 = "10.0.0.1:1".parse().unwrap();
        let v6 = "[::1]:1".parse().unwrap();
        assert_eq!(
            with_hosts(COMPRESSED | BORN_HOST_V6, &v4, &v6),
            COMPRESSED | STORE_HOST_V6
        );
        assert_eq!(with_hosts(0, &v6, &v4), BORN_HOST_V6);
    }

    #[test]
    fn halves_and_rollbacks_are_not_queued() {
        assert!(is_queued(0) && is_queued(TRANSACTION_COMMIT | COMPRESSED));
        assert!(!is_queued(TRANSACTION_PREPARED) && !is_queued(TRANSACTION_ROLLBACK));
    }
}
