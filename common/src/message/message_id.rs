//! The two ids a message has: where the broker stored it, and what its client called it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::clock::{Clock, Millis, SystemClock, millis_of_month};
use crate::ids::PhysicalOffset;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Why text is no offset message id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no offset message id: 32 or 56 hexadecimal digits are")]
pub struct MessageIdError {
    /// What was given.
    pub text: String,
}

/// The id a broker answers (`msgId` on the wire): its address, port and the record's position in
/// upper-case hexadecimal; 32 digits with an IPv4 address, 56 with IPv6.
pub fn offset_id(store_host: SocketAddr, physical_offset: PhysicalOffset) -> String {
    let mut out = String::with_capacity(56);
    write_offset_id(&mut out, store_host, physical_offset);
    out
}

/// As [`offset_id`], appended to `out`.
pub fn write_offset_id(out: &mut String, store_host: SocketAddr, physical_offset: PhysicalOffset) {
    push_ip(out, store_host.ip());
    push_hex(out, &u32::from(store_host.port()).to_be_bytes());
    push_hex(out, &physical_offset.to_wire().to_be_bytes());
}

/// Address and position an offset message id stands for.
///
/// # Errors
/// When the text is not 32 or 56 hexadecimal digits, or the position is negative.
pub fn parse_offset_id(text: &str) -> Result<(SocketAddr, PhysicalOffset), MessageIdError> {
    parse_digits(text).ok_or_else(|| MessageIdError {
        text: text.to_owned(),
    })
}

fn parse_digits(text: &str) -> Option<(SocketAddr, PhysicalOffset)> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (ip, rest) = text.split_at_checked(text.len().checked_sub(24)?)?;
    let ip: IpAddr = match ip.len() {
        8 => u32::from_str_radix(ip, 16).ok()?.to_be_bytes().into(),
        32 => u128::from_str_radix(ip, 16).ok()?.to_be_bytes().into(),
        _ => return None,
    };
    let port = u16::try_from(u32::from_str_radix(&rest[..8], 16).ok()? & 0xFFFF).ok()?;
    let offset = u64::from_str_radix(&rest[8..], 16).ok()?;
    let offset = PhysicalOffset::from_wire(i64::try_from(offset).ok()?)?;
    Some((SocketAddr::new(ip, port), offset))
}

/// Gives messages the ids clients give them (`UNIQ_KEY`): address, process, a number of the
/// process, milliseconds of the month, counter.
#[derive(Debug)]
pub struct UniqueIds {
    prefix: String,
    counter: AtomicU16,
}

impl UniqueIds {
    /// Ids of this process. `salt` tells two id sources of one process apart.
    pub fn new(ip: IpAddr, process_id: u32, salt: u32) -> Self {
        let mut prefix = String::with_capacity(44);
        push_ip(&mut prefix, ip);
        // Only 16 bits of the process id have a place in the id.
        push_hex(&mut prefix, &process_id.to_be_bytes()[2..]);
        push_hex(&mut prefix, &salt.to_be_bytes());
        Self {
            prefix,
            counter: AtomicU16::new(0),
        }
    }

    /// The next id: 32 hexadecimal digits with an IPv4 address, 56 with IPv6.
    pub fn next(&self, now: Millis) -> String {
        let mut id = String::with_capacity(self.prefix.len() + 12);
        id.push_str(&self.prefix);
        push_hex(&mut id, &millis_of_month(now).to_be_bytes());
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        push_hex(&mut id, &counter.to_be_bytes());
        id
    }
}

/// An id of this process, as a broker gives it to a message whose client gave none.
pub fn unique_id() -> String {
    static IDS: OnceLock<UniqueIds> = OnceLock::new();
    let ids = IDS.get_or_init(|| UniqueIds::new(local_ip(), std::process::id(), rand::random()));
    ids.next(SystemClock::new().now())
}

/// The address this machine would use to talk to others; no packet is sent to find out.
fn local_ip() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    ask().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => push_hex(out, &ip.octets()),
        IpAddr::V6(ip) => push_hex(out, &ip.octets()),
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_id_is_address_port_and_position() {
        let host = "127.0.0.1:10911".parse().unwrap();
        let id = offset_id(host, PhysicalOffset(0x0123_4567));
        assert_eq!(id, "7F00000100002A9F0000000001234567");
        assert_eq!(
            parse_offset_id(&id),
            Ok((host, PhysicalOffset(0x0123_4567)))
        );
    }

    #[test]
    fn ipv6_offset_id_has_56_digits() {
        let host = "[2001:db8::1]:10911".parse().unwrap();
        let id = offset_id(host, PhysicalOffset(7));
        assert_eq!(
            id,
            "20010DB800000000000000000000000100002A9F0000000000000007"
        );
        assert_eq!(parse_offset_id(&id), Ok((host, PhysicalOffset(7))));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "7F00000100002A9F000000000123456",
            "7F00000100002A9F00000000012345zz",
            "7F00000100002A9FF000000001234567",
        ] {
            assert!(parse_offset_id(text).is_err(), "{text}");
        }
        assert!(parse_offset_id(&"ä".repeat(16)).is_err());
    }

    #[test]
    fn unique_ids_count() {
        let ids = UniqueIds::new("10.1.2.3".parse().unwrap(), 0x1_ABCD, 0x1234_5678);
        // 2024-03-01T00:00:01Z
        let now = Millis(1_709_251_201_000);
        assert_eq!(ids.next(now), "0A010203ABCD12345678000003E80000");
        assert_eq!(ids.next(now), "0A010203ABCD12345678000003E80001");
    }

    #[test]
    fn ids_of_this_process_differ() {
        let (one, two) = (unique_id(), unique_id());
        assert_eq!((one.len(), two.len()), (32, 32));
        assert_ne!(one, two);
    }

    #[test]
    fn month_starts_on_its_first_day() {
        assert_eq!(millis_of_month(Millis(0)), 0);
        // 2024-02-29T00:00:00Z and the last millisecond of December 2023.
        assert_eq!(millis_of_month(Millis(1_709_164_800_000)), 28 * 86_400_000);
        assert_eq!(
            millis_of_month(Millis(1_704_067_199_999)),
            31 * 86_400_000 - 1
        );
    }
}
