//! What producers, consumers and admin clients have in common: where the name servers are, who the client
//! says it is, and how often it looks after its connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::ClientError;

/// Settings of one client. The defaults are those of RocketMQ's own clients.
///
/// ```
/// use std::time::Duration;
/// let config = client::ClientConfig {
///     instance_name: Some("billing".to_owned()),
///     request_timeout: Duration::from_secs(5),
///     ..client::ClientConfig::new("name-1:9876;name-2:9876")
/// };
/// assert_eq!(config.name_servers, ["name-1:9876", "name-2:9876"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Name servers as `host:port`; a host may be a DNS name, which is looked up at every connect.
    pub name_servers: Vec<String>,
    /// Tells clients of one machine apart. `None` makes one up that no other client has; a consumer in
    /// broadcast mode uses `DEFAULT` then, because its offsets are filed under the name.
    pub instance_name: Option<String>,
    /// Address in the client id and in message ids. `None`: the one this machine reaches the first name
    /// server from.
    pub client_ip: Option<IpAddr>,
    /// How long a connect may take. Default 3 s.
    pub connect_timeout: Duration,
    /// How long requests other than send and pull may take. Default 3 s.
    pub request_timeout: Duration,
    /// How often the routes in use are fetched anew. Default 30 s.
    pub poll_name_server_interval: Duration,
    /// How often brokers hear from the client. Default 30 s; brokers forget a client after 120 s.
    pub heartbeat_interval: Duration,
    /// How often consumers report their offsets. Default 5 s.
    pub persist_offset_interval: Duration,
    /// Send to the broker's second port (`listenPort - 2`), which pulls do not keep busy. Default false.
    pub vip_channel: bool,
}

impl ClientConfig {
    /// Defaults, with name servers separated by `;` or `,`.
    pub fn new(name_servers: &str) -> Self {
        let name_servers = name_servers
            .split([';', ','])
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect();
        Self {
            name_servers,
            instance_name: None,
            client_ip: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(3),
            poll_name_server_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(30),
            persist_offset_interval: Duration::from_secs(5),
            vip_channel: false,
        }
    }

    /// Refuses settings nothing could work with.
    pub(crate) fn validate(&self) -> Result<(), ClientError> {
        if self.name_servers.is_empty() {
            return Err(ClientError::NoNameServer);
        }
        for address in &self.name_servers {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                let reason = format!("`{address}` is not host:port");
                return Err(ClientError::invalid("name server", reason));
            }
        }
        if self.instance_name.as_deref() == Some("") {
            let reason = "must not be empty";
            return Err(ClientError::invalid("instance name", reason));
        }
        for (what, interval) in [
            ("poll name server interval", self.poll_name_server_interval),
            ("heartbeat interval", self.heartbeat_interval),
            ("persist offset interval", self.persist_offset_interval),
        ] {
            if interval < Duration::from_millis(10) {
                return Err(ClientError::invalid(what, "must be at least 10 ms"));
            }
        }
        Ok(())
    }

    /// The address in the client id. Asks the kernel which local address leads to the name server; nothing
    /// is sent for that.
    pub(crate) fn own_ip(&self) -> IpAddr {
        self.client_ip
            .or_else(|| self.route_ip())
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn route_ip(&self) -> Option<IpAddr> {
        let peer: SocketAddr = self.name_servers.first()?.to_socket_addrs().ok()?.next()?;
        let any = if peer.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(peer).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified()).then_some(ip)
    }
}

impl<T: AsRef<str>> From<T> for ClientConfig {
    fn from(name_servers: T) -> Self {
        Self::new(name_servers.as_ref())
    }
}

/// An instance name no other client of this process or machine has: process id, start time, a counter.
pub(crate) fn unique_instance_name(now_ms: i64) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}#{now_ms}{number:04}", std::process::id())
}

/// `host:port` with the port moved by two, when the vip channel is on.
pub(crate) fn vip_address(address: &str) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?.checked_sub(2)?;
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_split_and_trimmed() {
        let config = ClientConfig::new(" a:1 ; b:2,c:3;; ");
        assert_eq!(config.name_servers, ["a:1", "b:2", "c:3"]);
        assert!(config.validate().is_ok());
    }

    #[test]
    fn unusable_settings_are_refused_by_name() {
        let check = |config: ClientConfig, part: &str| {
            let text = config.validate().unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        };
        check(ClientConfig::new(""), "name server");
        check(
            ClientConfig::new("localhost"),
            "`localhost` is not host:port",
        );
        check(
            ClientConfig::new("localhost:0"),
            "`localhost:0` is not host:port",
        );
        check(ClientConfig::new("localhost:70000"), "host:port");
        let config = ClientConfig::new("a:1");
        let nameless = ClientConfig {
            instance_name: Some(String::new()),
            ..config.clone()
        };
        check(nameless, "instance name");
        let restless = ClientConfig {
            heartbeat_interval: Duration::ZERO,
            ..config
        };
        check(restless, "heartbeat");
    }

    #[test]
    fn instance_names_differ() {
        assert_ne!(unique_instance_name(1), unique_instance_name(1));
    }

    #[test]
    fn own_ip_is_the_one_that_reaches_the_name_server() {
        let config = ClientConfig::new("127.0.0.1:9876");
        assert_eq!(config.own_ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let fixed: IpAddr = "10.1.2.3".parse().unwrap();
        let config = ClientConfig {
            client_ip: Some(fixed),
            ..config
        };
        assert_eq!(config.own_ip(), fixed);
    }

    #[test]
    fn vip_port_is_two_below() {
        assert_eq!(
            vip_address("10.0.0.1:10911").as_deref(),
            Some("10.0.0.1:10909")
        );
        assert_eq!(vip_address("[::1]:10911").as_deref(), Some("[::1]:10909"));
        assert_eq!(vip_address("a:1"), None);
    }
}
