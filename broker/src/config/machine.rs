//! Defaults that depend on the machine.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;

/// The home directory of the user, as Java finds it.
pub(super) fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("."))
}

/// Name of this machine, or the reference's name for brokers without one.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name.is_empty() {
        "DEFAULT_BROKER".to_owned()
    } else {
        name
    }
}

/// Memory of this machine, in bytes.
pub(super) fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// Address at which others reach a listener bound to `bound`.
pub(super) fn announced_address(bound: IpAddr) -> IpAddr {
    if bound.is_unspecified() {
        IpAddr::V4(
            address_of_route()
                .or_else(first_local_address)
                .unwrap_or(Ipv4Addr::LOCALHOST),
        )
    } else {
        bound
    }
}

/// The address this machine would use to reach the rest of the world. Connecting a datagram socket looks up the route and
/// sends nothing; the target is from a range reserved for documentation.
fn address_of_route() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if is_real(address) => Some(address),
        _ => None,
    }
}

/// The first address of an interface, for machines without a route to the world.
fn first_local_address() -> Option<Ipv4Addr> {
    local_addresses(&fs::read_to_string("/proc/net/fib_trie").ok()?).next()
}

/// The machine's own addresses in the kernel's table of routes: lines `|-- ADDRESS`, each followed by lines that say what it is.
fn local_addresses(table: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let mut address = None;
    table.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("|-- ") {
            address = text.parse::<Ipv4Addr>().ok();
            None
        } else if line == "/32 host LOCAL" {
            address.filter(|address| is_real(*address))
        } else {
            None
        }
    })
}

fn is_real(address: Ipv4Addr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_bind_address_is_announced_as_it_is() {
        let bound = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(announced_address(bound), bound);
    }

    #[test]
    fn an_unspecified_bind_address_is_never_announced() {
        let announced = announced_address(IpAddr::from([0, 0, 0, 0]));
        assert!(
            !announced.is_unspecified() && announced.is_ipv4(),
            "{announced}"
        );
    }

    #[test]
    fn the_kernel_table_gives_local_addresses_without_loopback() {
        let table = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.0.0
           /16 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.17.0.1
        /32 host LOCAL
";
        assert_eq!(
            local_addresses(table).collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(172, 17, 0, 1)]
        );
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(memory_bytes() > 1 << 20, "{}", memory_bytes());
    }

    #[test]
    fn the_host_has_a_name() {
        assert!(!host_name().is_empty());
    }
}
