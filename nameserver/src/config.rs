//! Settings of the name server.

use std::net::IpAddr;
use std::path::PathBuf;

use common::config;
use common::config::{Config, ConfigError, Ignored, Refused, Unsafe};

config! {
    /// Settings of the name server, under the keys of the reference.
    pub struct NameserverConfig {
        /// Port of the remoting protocol; 0 is any free one.
        pub listen_port: u16 = "listenPort", 9876;
        /// Port of the HTTP pages; 0 is any free one.
        pub http_listen_port: u16 = "httpListenPort", 9877;
        /// Address all listeners bind to.
        pub bind_address: IpAddr = "bindAddress", IpAddr::from([0, 0, 0, 0]);
        /// JSON file of the key-value configuration.
        pub kv_config_path: PathBuf = "kvConfigPath", home().join("namesrv/kvConfig.json");
        /// Where the reference writes changed settings when it was started without a file; here changes are only written to the file given with `-c`.
        pub config_store_path: PathBuf = "configStorePath", home().join("namesrv/namesrv.properties");
        /// Keys that requests cannot change, separated by `;`.
        pub config_black_list: String = "configBlackList", "configBlackList;configStorePath;kvConfigPath".into();
        /// Name of the environment; it is shown and has no effect.
        pub product_env_name: String = "productEnvName", "center".into();
        /// Whether routes carry the order configuration of their topic.
        pub order_message_enable: bool = "orderMessageEnable", false;
        /// Whether the answer to a registration carries the order configuration of all topics.
        pub return_order_topic_config_to_broker: bool = "returnOrderTopicConfigToBroker", true;
        /// Whether the slave with the lowest id takes the master's place in routes while the master is away.
        pub support_acting_master: bool = "supportActingMaster", false;
        /// Whether the topics of one cluster can be listed.
        pub enable_topic_list: bool = "enableTopicList", true;
        /// Whether all topics can be listed.
        pub enable_all_topic_list: bool = "enableAllTopicList", true;
        /// Whether brokers of a group are told when its lowest broker id changes.
        pub notify_min_broker_id_changed: bool = "notifyMinBrokerIdChanged", false;
        /// Whether a registration removes the topics that it does not name.
        pub delete_topic_with_broker_registration: bool = "deleteTopicWithBrokerRegistration", false;
        /// Whether routes are refused for `waitSecondsForService` after the start.
        pub need_wait_for_service: bool = "needWaitForService", false;
        /// Seconds after the start in which routes are refused if `needWaitForService` is on.
        pub wait_seconds_for_service: i32 = "waitSecondsForService", 45;
        /// Milliseconds between two searches for brokers that have been silent for too long.
        pub scan_not_active_broker_interval: u64 = "scanNotActiveBrokerInterval", 5_000, in 100..=3_600_000;
        /// Seconds after which a connection that was silent both ways is closed.
        pub server_channel_max_idle_time_seconds: u32 = "serverChannelMaxIdleTimeSeconds", 120, in 1..=86_400;
    }
}

impl NameserverConfig {
    /// Whether requests must not change this key.
    pub fn is_black_listed(&self, key: &str) -> bool {
        key == "rocketmqHome"
            || self
                .config_black_list
                .split(';')
                .any(|listed| listed.trim() == key)
    }
}

const THREADS: &str =
    "work is done by a fixed number of event loops without worker pools and their queues";
const SOCKETS: &str = "the operating system's own buffer sizes and limits apply";

impl Config for NameserverConfig {
    const IGNORED: &'static [Ignored] = &[
        Ignored {
            reason: THREADS,
            keys: &[
                "clientRequestThreadPoolNums",
                "clientRequestThreadPoolQueueCapacity",
                "defaultThreadPoolNums",
                "defaultThreadPoolQueueCapacity",
                "serverAsyncSemaphoreValue",
                "serverCallbackExecutorThreads",
                "serverNettyWorkerGroupEnable",
                "serverOnewaySemaphoreValue",
                "serverSelectorThreads",
                "serverWorkerThreads",
                "useEpollNativeSelector",
            ],
        },
        Ignored {
            reason: SOCKETS,
            keys: &[
                "serverPooledByteBufAllocatorEnable",
                "serverSocketBacklog",
                "serverSocketRcvBufSize",
                "serverSocketSndBufSize",
                "writeBufferHighWaterMark",
                "writeBufferLowWaterMark",
            ],
        },
        Ignored {
            reason: "a stop always finishes what is in flight first",
            keys: &["enableShutdownGracefully", "shutdownWaitTimeSeconds"],
        },
        Ignored {
            reason: "the name server opens no connections of its own",
            keys: &[
                "channelNotActiveInterval",
                "clientAsyncSemaphoreValue",
                "clientCallbackExecutorThreads",
                "clientChannelMaxIdleTimeSeconds",
                "clientCloseSocketIfTimeout",
                "clientOnewaySemaphoreValue",
                "clientPooledByteBufAllocatorEnable",
                "clientSocketRcvBufSize",
                "clientSocketSndBufSize",
                "clientWorkerThreads",
                "connectTimeoutMillis",
                "disableCallbackExecutor",
                "disableNettyWorkerGroup",
                "enableReconnectForGoAway",
                "isScanAvailableNameSrv",
                "maxReconnectIntervalTimeSeconds",
                "scanAvailableNameSrv",
                "socksProxyConfig",
                "useTLS",
            ],
        },
        Ignored {
            reason: "there is no installation directory: nothing is read from it",
            keys: &["rocketmqHome"],
        },
        Ignored {
            reason: "a broker is unregistered before it is answered, without a queue",
            keys: &["unRegisterBrokerQueueCapacity"],
        },
        Ignored {
            reason: "answers come from one route table, whatever the environment",
            keys: &["clusterTest"],
        },
        Ignored {
            reason: "the controller is not part of the name server, and enableControllerInNamesrv=true is refused",
            keys: &[
                "controllerDLegerGroup",
                "controllerDLegerPeers",
                "controllerDLegerSelfId",
                "controllerRequestThreadPoolQueueCapacity",
                "controllerStorePath",
                "controllerThreadPoolNums",
                "controllerType",
                "electMasterMaxRetryCount",
                "enableElectUncleanMaster",
                "isProcessReadEvent",
                "jraftConfig",
                "mappedFileSize",
                "notifyBrokerRoleChanged",
                "processReadEvent",
                "scanInactiveMasterInterval",
            ],
        },
        Ignored {
            reason: "figures are always served at /metrics of httpListenPort",
            keys: &[
                "metricGrpcExporterIntervalInMills",
                "metricGrpcExporterTimeOutInMills",
                "metricLoggingExporterIntervalInMills",
                "metricsExporterType",
                "metricsGrpcExporterHeader",
                "metricsGrpcExporterTarget",
                "metricsInDelta",
                "metricsLabel",
                "metricsPromExporterHost",
                "metricsPromExporterPort",
            ],
        },
    ];

    const REFUSED: &'static [Refused] = &[
        Refused {
            key: "enableControllerInNamesrv",
            when: Unsafe::True,
            reason: "brokers would wait for a controller that is not there; run the controller of Apache RocketMQ beside it",
        },
        Refused {
            key: "authenticationEnabled",
            when: Unsafe::True,
            reason: "requests are not authenticated yet; protect the port by other means and remove the key",
        },
        Refused {
            key: "authorizationEnabled",
            when: Unsafe::True,
            reason: "requests are not authorized yet; protect the port by other means and remove the key",
        },
        Refused {
            key: "tls.server.mode",
            when: Unsafe::Is("enforcing"),
            reason: "TLS is not served yet: clients would be served in the clear; put a TLS proxy in front and remove the key",
        },
    ];

    fn complete(&mut self, _warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        if self.listen_port != 0 && self.listen_port == self.http_listen_port {
            return Err(ConfigError::Conflict(format!(
                "listenPort and httpListenPort are both {}: they must differ",
                self.listen_port
            )));
        }
        Ok(())
    }
}

/// The home directory of the user, as Java finds it.
fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("."))
}

#[cfg(test)]
mod tests;
