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

impl Config for NameserverConfig {
    #[rustfmt::skip]
    const IGNORED: &'static [Ignored] = &[
        Ignored("work is done by a fixed number of event loops without worker pools and their queues",
            "clientRequestThreadPoolNums=8 clientRequestThreadPoolQueueCapacity=50000 defaultThreadPoolNums=16
             defaultThreadPoolQueueCapacity=10000 serverAsyncSemaphoreValue=64 serverCallbackExecutorThreads=0
             serverNettyWorkerGroupEnable=true serverOnewaySemaphoreValue=256 serverSelectorThreads=3 serverWorkerThreads=8
             useEpollNativeSelector=false"),
        Ignored("the operating system's own buffer sizes and limits apply",
            "serverPooledByteBufAllocatorEnable=true serverSocketBacklog=1024 serverSocketRcvBufSize=0 serverSocketSndBufSize=0
             writeBufferHighWaterMark=0 writeBufferLowWaterMark=0"),
        Ignored("a stop always finishes what is in flight first",
            "enableShutdownGracefully=false shutdownWaitTimeSeconds=30"),
        Ignored("the name server opens no connections of its own",
            "channelNotActiveInterval=60000 clientAsyncSemaphoreValue=65535 clientCallbackExecutorThreads=2
             clientChannelMaxIdleTimeSeconds=120 clientCloseSocketIfTimeout=true clientOnewaySemaphoreValue=65535
             clientPooledByteBufAllocatorEnable=false clientSocketRcvBufSize=0 clientSocketSndBufSize=0 clientWorkerThreads=4
             connectTimeoutMillis=3000 disableCallbackExecutor=false disableNettyWorkerGroup=false enableReconnectForGoAway=true
             isScanAvailableNameSrv=true maxReconnectIntervalTimeSeconds=60 scanAvailableNameSrv socksProxyConfig useTLS=false"),
        Ignored("there is no installation directory: nothing is read from it",
            "rocketmqHome"),
        Ignored("a broker is unregistered before it is answered, without a queue",
            "unRegisterBrokerQueueCapacity=3000"),
        Ignored("answers come from one route table, whatever the environment",
            "clusterTest=false"),
        Ignored("the controller is not part of the name server, and enableControllerInNamesrv=true is refused",
            "controllerDLegerGroup controllerDLegerPeers controllerDLegerSelfId controllerRequestThreadPoolQueueCapacity=50000
             controllerStorePath controllerThreadPoolNums=16 controllerType=DLedger electMasterMaxRetryCount=3
             enableElectUncleanMaster=false isProcessReadEvent=false jraftConfig
             mappedFileSize=1073741824 notifyBrokerRoleChanged=true processReadEvent scanInactiveMasterInterval=5000"),
        Ignored("figures are always served at /metrics of httpListenPort",
            "metricGrpcExporterIntervalInMills=60000 metricGrpcExporterTimeOutInMills=3000 metricLoggingExporterIntervalInMills=10000
             metricsExporterType=DISABLE metricsGrpcExporterHeader metricsGrpcExporterTarget metricsInDelta=false metricsLabel
             metricsPromExporterHost metricsPromExporterPort=5557"),
    ];

    #[rustfmt::skip]
    const REFUSED: &'static [Refused] = &[
        Refused("enableControllerInNamesrv", Unsafe::True, "brokers would wait for a controller that is not there; run the controller of Apache RocketMQ beside it"),
        Refused("authenticationEnabled", Unsafe::True, "requests are not authenticated yet; protect the port by other means and remove the key"),
        Refused("authorizationEnabled", Unsafe::True, "requests are not authorized yet; protect the port by other means and remove the key"),
        Refused("tls.server.mode", Unsafe::Is("enforcing"), "TLS is not served yet: clients would be served in the clear; put a TLS proxy in front and remove the key"),
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
