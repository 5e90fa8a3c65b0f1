//! The keys of the reference that have no field.

use common::config::{Ignored, Refused, Unsafe};

/// Accepted without effect. A key leaves this list for a field once what it switches is there.
#[rustfmt::skip]
pub(super) const IGNORED: &[Ignored] = &[
    Ignored("work is done by a fixed number of event loops without worker pools and their queues",
        "ackMessageThreadPoolNums=16 ackThreadPoolQueueCapacity=100000 adminBrokerThreadPoolNums=16
         adminBrokerThreadPoolQueueCapacity=10000 asyncSendEnable=true batchDispatchRequestThreadPoolNums=16
         clientAsyncSemaphoreValue=65535 clientCallbackExecutorThreads=2 clientManageThreadPoolNums=32
         clientManagerThreadPoolQueueCapacity=1000000 clientOnewaySemaphoreValue=65535 clientWorkerThreads=4
         consumerManageThreadPoolNums=32 consumerManagerThreadPoolQueueCapacity=1000000 disableCallbackExecutor=false
         disableNettyWorkerGroup=false enableFastChannelEventProcess=false endTransactionPoolQueueCapacity=100000
         endTransactionThreadPoolNums=12 heartbeatThreadPoolNums=2 heartbeatThreadPoolQueueCapacity=50000 litePullMessageThreadPoolNums=20
         litePullThreadPoolQueueCapacity=100000 loadBalanceProcessorThreadPoolNums=32 loadBalanceThreadPoolQueueCapacity=100000
         processReplyMessageThreadPoolNums=20 pullMessageThreadPoolNums=20 pullThreadPoolQueueCapacity=100000
         putMessageFutureThreadPoolNums=2 putThreadPoolQueueCapacity=10000 queryMessageThreadPoolNums=10
         queryThreadPoolQueueCapacity=20000 recoverConcurrently=false recoverThreadPoolNums=32 replyThreadPoolQueueCapacity=10000
         sendMessageThreadPoolNums=2 sendThreadPoolQueueCapacity=10000 serverAsyncSemaphoreValue=64 serverCallbackExecutorThreads=0
         serverNettyWorkerGroupEnable=true serverOnewaySemaphoreValue=256 serverWorkerThreads=8 useEpollNativeSelector=false"),
    Ignored("no request waits in a queue, so none is thrown out of one",
        "brokerFastFailureEnable=true osPageCacheBusyTimeOutMills=1000 putMessageTimeout=8000 waitTimeMillsInAckQueue=3000
         waitTimeMillsInAdminBrokerQueue=5000 waitTimeMillsInHeartbeatQueue=31000 waitTimeMillsInLitePullQueue=5000
         waitTimeMillsInPullQueue=5000 waitTimeMillsInSendQueue=200 waitTimeMillsInTransactionQueue=3000"),
    Ignored("the operating system's own buffer sizes and limits apply",
        "clientPooledByteBufAllocatorEnable=false clientSocketRcvBufSize=0 clientSocketSndBufSize=0 enableNetWorkFlowControl=false
         serverPooledByteBufAllocatorEnable=true serverSocketBacklog=1024 serverSocketRcvBufSize=0 serverSocketSndBufSize=0
         writeBufferHighWaterMark=0 writeBufferLowWaterMark=0"),
    Ignored("one connection for each name server is kept and renewed as needed",
        "channelNotActiveInterval=60000 clientChannelMaxIdleTimeSeconds=120 clientCloseSocketIfTimeout=true connectTimeoutMillis=3000
         enableReconnectForGoAway=true isScanAvailableNameSrv=true maxReconnectIntervalTimeSeconds=60 scanAvailableNameSrv
         socksProxyConfig"),
    Ignored("registrations are what tells name servers that the broker lives, and the end of its connection that it does not",
        "brokerHeartbeatInterval=1000 brokerNotActiveTimeoutMillis=10000 compatibleWithOldNameSrv=true sendHeartbeatTimeoutMillis=1000"),
    Ignored("a changed topic is registered alone and at once, and no registration is compressed",
        "compressedRegister=false enableSingleTopicRegister=false"),
    Ignored("names in namesrvAddr are always looked up, and again for every new connection",
        "fetchNameSrvAddrByDnsLookup=false fetchNamesrvAddrInterval=10000 updateNameServerAddrPeriod=120000"),
    Ignored("a stop always finishes what is in flight first",
        "enableShutdownGracefully=false shutdownWaitTimeSeconds=30"),
    Ignored("nothing is read from an installation directory, and the file given with -c is used as it is",
        "brokerConfigPath rocketmqHome"),
    Ignored("messages are not replicated yet, and a configuration that counts on copies is refused",
        "allAckInSyncStateSet=false asyncLearner=false cleanOfflineBrokerInterval=30000 enableAutoInSyncReplicas=false
         enableRemoteEscape=false enableSlaveActingMaster=false enableSplitMetadata=true forwardTimeout=3000 haFlowControlEnable=false
         haHousekeepingInterval=20000 haMasterAddress haMaxGapNotInSync=268435456 haMaxTimeSlaveNotCatchup=15000
         haSendHeartbeatInterval=5000 haTransferBatchSize=32768 maxHaTransferByteInSecond=104857600 maxSlaveResendLength=268435456
         minInSyncReplicas=1 offsetCheckInSlave=false skipPreOnline=false slaveTimeout=3000 splitMetadataSize=2000 storePathBrokerIdentity
         storePathEpochFile syncBrokerMemberGroupPeriod=1000 syncBrokerMetadataPeriod=5000 syncFromLastFile=false
         syncMasterFlushOffsetWhenStartup=false totalReplicas=1"),
    Ignored("there is no controller mode, and enableControllerMode=true is refused",
        "brokerElectionPriority=2147483647 checkSyncStateSetPeriod=5000 controllerAddr controllerHeartBeatTimeoutMills=10000
         fetchControllerAddrByDnsLookup=false syncControllerMetadataPeriod=10000"),
    Ignored("there is no DLedger mode, and enableDLegerCommitLog=true is refused",
        "dLegerGroup dLegerPeers dLegerSelfId enableBatchPush=false preferredLeaderId storePathDLedgerCommitLog"),
    Ignored("users and permissions are not checked yet, and switching the checks on is refused",
        "aclCacheExpiredSecond=600 aclCacheMaxNum=1000 aclCacheRefreshSecond=60 authConfigPath authenticationMetadataProvider
         authenticationProvider authenticationStrategy authenticationWhitelist authorizationMetadataProvider authorizationProvider
         authorizationStrategy authorizationWhitelist clusterName configName initAuthenticationUser innerClientAuthenticationCredentials
         statefulAuthenticationCacheExpiredSecond=60 statefulAuthenticationCacheMaxNum=10000 statefulAuthorizationCacheExpiredSecond=60
         statefulAuthorizationCacheMaxNum=10000 userCacheExpiredSecond=600 userCacheMaxNum=1000 userCacheRefreshSecond=60"),
    Ignored("queues begin where the log begins as soon as a file of it is deleted, and a deleted file is free once its last reader is done",
        "correctLogicMinOffsetForceInterval=300000 correctLogicMinOffsetSleepInterval=1 destroyMapedFileIntervalForcibly=120000
         maxBatchDeleteFilesNum=50 redeleteHangedFileInterval=120000"),
    Ignored("the levels of a disk count what all its users have written",
        "logicalDiskSpaceCleanForciblyThreshold=0.8 replicasPerDiskPartition=1"),
    Ignored("offsets of groups are not cleaned up, and numbers of messages are counted, not estimated",
        "enableCleanExpiredOffset=false sampleCountThreshold=5000 sampleSteps=32"),
    Ignored("open transactions are kept in memory and found in the half and op queues, not in RocksDB",
        "transRocksDBEnable=false transWriteOriginTransHalfEnable=true transactionCheckRocksdbCoreThreads=2
         transactionCheckRocksdbMaxThreads=5 transactionCheckRocksdbQueueCapacity=2000"),
    Ignored("the op record of a transaction is written together with its end, not seconds later",
        "transactionOpBatchInterval=3000 transactionOpMsgMaxSize=4096"),
    Ignored("figures of transactions are always kept",
        "enableTransactionMetrics=true"),
    Ignored("messages with a delay level are delivered in order and in batches by one thread, and always counted",
        "enableScheduleAsyncDeliver enableScheduleMessageStats scheduleAsyncDeliverMaxPendingLimit
         scheduleAsyncDeliverMaxResendNum2Blocked"),
    Ignored("one thread files and delivers timed messages, whose times are kept in <store>/kv; wheel and log follow",
        "timerCheckMetricsWhen timerColdDataCheckIntervalMs timerEnableCheckMetrics timerEnableDisruptor
         timerEnableRetryUntilSuccess timerFlushIntervalMs timerGetMessageThreadNum timerInterceptDelayLevel
         timerMetricSmallThreshold timerProgressLogIntervalMs timerPutMessageThreadNum timerRecallToTimeWheelEnable
         timerRecallToTimelineEnable timerReputServiceCorePoolSize timerReputServiceMaxPoolSize timerReputServiceQueueCapacity
         timerRocksDBEnable timerRocksDBPrecisionMs timerRocksDBRollIntervalHours timerRocksDBRollMaxTps
         timerRocksDBRollRangeHours timerRocksDBStopScan timerRocksDBTimeExpiredMaxTps timerSkipUnknownError timerStopDequeue
         timerStopEnqueue timerWarmEnable timerWheelSnapshotFlush timerWheelSnapshotIntervalMs"),
    Ignored("pop consumption is not served yet",
        "appendAckAsync=false appendCkAsync=false clearRetryTopicWhenDeleteTopic=true defaultMessageRequestMode=PULL
         defaultPopShareQueueNum=-1 enableLitePopLog=false enableNotifyAfterPopOrderLockRelease=true
         enableNotifyBeforePopCalculateLag=true enablePopBatchAck=false enablePopBufferMerge=false enablePopLog=false
         enablePopMessageThreshold=false enablePopMetrics=true enableRetryTopicV2=false enableSkipLongAwaitingAck=false
         initPopOffsetByCheckMsgInMem=true loadBalancePollNameServerInterval=30000 maxMessageFilterNumForNotification=64
         maxPopPollingSize=100000 popCkMaxBufferSize=200000 popCkOffsetMaxQueueSize=20000 popCkStayBufferTime=10000
         popCkStayBufferTimeOut=3000 popConsumerFSServiceInit=true popConsumerKVServiceEnable=false popConsumerKVServiceInit=false
         popConsumerKVServiceLog=false popFromRetryProbability=20 popFromRetryProbabilityForPriority=0 popInflightMessageThreshold=10000
         popLongPollingForceNotifyInterval=800 popPollingMapExpireTimeSeconds=600 popPollingMapSize=100000 popPollingSize=1024
         popResponseReturnActualRetryTopic=false popReviveConcurrency=32 popReviveMaxAttemptTimes=16 popReviveMaxReturnSizePerRead=16384
         popReviveSkipIfGroupAbsent=true priorityOrderAsc=true retrieveMessageFromPopRetryTopicV1=true reviveAckWaitMs=180000
         reviveInterval=1000 reviveMaxSlow=3 reviveQueueNum=8 reviveScanTime=10000 serverLoadBalancerEnable=true
         skipWhenCKRePutReachMaxTimes=false useMessageFilterForNotification=true useSeparateRetryQueue=false"),
    Ignored("lite topics are not served yet",
        "enableLiteEventMode enableLmqStats liteEventCheckInterval
         liteEventFullDispatchDelayTime liteEventFullDispatchDelayTimeForWildcardGroup liteLagCountMetricsEnable
         liteLagLatencyCollectEnable liteLagLatencyMetricsEnable liteLagLatencyTopK liteSubscriptionCheckInterval
         liteSubscriptionCheckTimeoutMills liteTtlCheckInterval maxClientEventCount maxLiteSubscriptionCount
         minLiteTTl"),
    Ignored("keys are kept in index files",
        "indexRocksDBEnable=false maxRocksDBIndexQueryDays=7"),
    Ignored("the key index is always complete: what a crash takes is read from the log, and so is what writing it too slowly leaves out",
        "messageIndexSafe=false putMsgIndexHightWater=600000"),
    Ignored("topics are not compacted yet",
        "compactionCqMappedFileSize=10485760 compactionMappedFileSize=104857600 compactionScheduleInternal=900000 compactionThreadNum=6
         enableCompaction=true maxOffsetMapSize=104857600"),
    Ignored("consumers can filter by tags only, and a filter by properties is answered with an error",
        "bitMapLengthConsumeQueueExt=64 enableCalcFilterBitMap=false enablePropertyFilter=false expectConsumerNumUseFilter=32
         filterDataCleanTimeSpan=86400000 filterSupportRetry=false maxErrorRateOfBloomFilter=20"),
    Ignored("no consumer is slowed down or stopped for reading old messages",
        "accessMessageInMemoryHotRatio=26 cgColdReadThreshold=3145728 coldCtrStrategyEnable=false coldDataFlowControlEnable=false
         coldDataScanEnable=false consumerFallbehindThreshold=17179869184 dataReadAheadEnable=true
         disableConsumeIfConsumerReadSlowly=false globalColdReadThreshold=104857600 usePIDColdCtrStrategy=true"),
    Ignored("figures are always kept and served at /metrics of httpListenPort",
        "accountStatsEnable=true accountStatsPrintZeroValues=true autoDeleteUnusedStats=true commercialBaseCount=1
         commercialSizePerMsg=4096 enableConnectionMetrics=true enableDetailStat=true enableLagAndDlqMetrics=true
         enableMessageStoreMetrics=true enableRemotingMetrics=true enableRequestMetrics=true enableStatsMetrics=true
         estimateAccumulation=true maxStatsIdleTimeInMinutes=-1 metricGrpcExporterIntervalInMills=60000
         metricGrpcExporterTimeOutInMills=3000 metricLoggingExporterIntervalInMills=10000 metricsExportBatchMaxDataPoints=1000
         metricsExporterType=DISABLE metricsGrpcExporterHeader metricsGrpcExporterTarget metricsInDelta=false metricsLabel
         metricsOtelCardinalityLimit=50000 metricsPromExporterHost metricsPromExporterPort=5557 printChannelGroups=false
         printChannelGroupsMinNum=5"),
    Ignored("logs go to stderr as RUST_LOG says",
        "debugLockEnable=false enableLogConsumeQueueRepeatedlyBuildWhenRecover=false enableRocksDBLog=false highSpeedMode=false
         isolateLogEnable=false"),
    Ignored("the CommitLog is written in batches straight to its files, without pools, locks or warm-up to be chosen",
        "cleanSwapedMapInterval=300000 commitCommitLogLeastPages=4 commitCommitLogThoroughInterval=200 commitIntervalCommitLog=200
         commitLogForceSwapMapInterval=43200000 commitLogSwapMapInterval=3600000 commitLogSwapMapReserveFileNum=100
         dispatchFromSenderThread=false fastFailIfNoBufferInStorePool=false flushLeastPagesWhenWarmMapedFile=4096
         logicQueueForceSwapMapInterval=43200000 logicQueueSwapMapInterval=3600000 logicQueueSwapMapReserveFileNum=20
         mappedFileSwapEnable=true maxAsyncPutMessageRequests=5000 putConsumeQueueDataByFileChannel=true sharedByteBufferNum=16
         spinLockCollisionRetreatOptimalDegree=1000 topicQueueLockNum=32 transferMsgByHeap=true transientStorePoolEnable=false
         transientStorePoolSize=5 useABSLock=false useReentrantLockWhenPutMessage=true wakeCommitWhenPutMessage=true
         wakeFlushWhenPutMessage=false warmMapedFileEnable=false writeWithoutMmap=false"),
    Ignored("flushes cover everything written so far, at the intervals given",
        "enableRunningFlagsInFlush=false flushCommitLogLeastPages=4 flushCommitLogThoroughInterval=10000 flushCommitLogTimed=true
         flushConsumeQueueLeastPages=2 flushConsumeQueueThoroughInterval=60000"),
    Ignored("indexes follow the CommitLog at once and in its order",
        "dispatchCqCacheNum dispatchCqThreads enableAsyncReput enableBuildConsumeQueueConcurrently
         readUnCommitted recheckReputOffsetFromCq searchBcqByCacheEnable"),
    Ignored("recovery starts where the checkpoint proves that everything before is on the disk",
        "checkCommitLogOffsetOnRecover=false commitLogRecoverMaxNum=10 disappearTimeAfterStart=-1 enableAcceleratedRecovery=false
         maxChecksumRange=1073741824 maxRecoveryCommitlogFiles=30"),
    Ignored("a record of 5.x carries topics of every allowed length",
        "autoMessageVersionOnTopicLen=true maxTopicLength=127"),
    Ignored("one pull reads on until its limits of bytes and messages",
        "diskFallRecorded=true maxConsumeQueueScan=20000 pullBatchMaxMessageCount=160 travelCqFileNumWhenGetMessage=1"),
    Ignored("ConsumeQueues, topics, groups and offsets are kept in files",
        "bottomMostCompressionTypeForConsumeQueueStore=zstd cleanRocksDBDirtyCQIntervalMin=60 combineAssignOffsetCQType=default
         combineCQEnableCheckSelf=false combineCQLoadingCQTypes=default;defaultRocksDB combineCQMaxExtraSearchCommitLogFiles=3
         flushConsumerOffsetHistoryInterval=60000 iteratorWhenUseRocksdbConsumeQueue=true memTableFlushIntervalMs=3600000
         persistConsumerOffsetIncrementally=false realTimePersistRocksDBConfig=true rocksdbCompressionType=lz4
         rocksdbFlushWalFrequency=1024 rocksdbWalFileRollingThreshold=1073741824 statRocksDBCQIntervalSec=10
         useSeparateStorePathForRocksdbCQ=false"),
    Ignored("the behaviour it switches is not there yet",
        "enableCreateSysGroup=true enableRegisterProducer=true lockInStrictMode=false subscriptionExpiredTimeout=600000
         useStaticSubscription=false"),
    Ignored("offsets of broadcast groups are always remembered, for two minutes after a client left and five after it went silent",
        "broadcastOffsetExpireMaxSecond=300 broadcastOffsetExpireSecond=120 enableBroadcastOffsetStore=true"),
    Ignored("gRPC is not served yet",
        "grpcServerPort"),
];

/// Stop the start, because somebody counts on what they ask for.
#[rustfmt::skip]
pub(super) const REFUSED: &[Refused] = &[
    Refused("enableDLegerCommitLog", Unsafe::True, "messages would be kept on this broker alone instead of on a DLedger group"),
    Refused("enableControllerMode", Unsafe::True, "without a controller two brokers of a group could both be master"),
    Refused("duplicationEnable", Unsafe::True, "messages are not replicated yet, and a duplicating broker shows consumers only what its copies have"),
    Refused("brokerRole", Unsafe::Is("SLAVE"), "messages are not replicated yet; start this broker as a master of its own group"),
    Refused("messageStorePlugIn", Unsafe::NotEmpty, "messages would not reach the storage that the plug-in adds (tiered storage, for instance)"),
    Refused("storeType", Unsafe::Not("default"), "ConsumeQueues are kept in files; those of an existing store in RocksDB would not be found"),
    Refused("rocksdbCQDoubleWriteEnable", Unsafe::True, "ConsumeQueues are kept in files only; those in RocksDB would fall behind"),
    Refused("readOnlyCommitLogStorePaths", Unsafe::NotEmpty, "messages in these directories would not be found"),
    Refused("aclEnable", Unsafe::True, "requests are not checked yet: everybody could send, read and administrate"),
    Refused("authenticationEnabled", Unsafe::True, "requests are not authenticated yet: everybody could send, read and administrate"),
    Refused("authorizationEnabled", Unsafe::True, "requests are not authorized yet: everybody could send, read and administrate"),
    Refused("migrateAuthFromV1Enabled", Unsafe::True, "users and permissions are not kept yet: nothing would be migrated"),
    Refused("tls.server.mode", Unsafe::Is("enforcing"), "TLS is not served yet: clients would be served in the clear; put a TLS proxy in front and remove the key"),
    Refused("useTLS", Unsafe::True, "connections to name servers are not encrypted yet"),
    Refused("fetchNamesrvAddrByAddressServer", Unsafe::True, "no address server is asked, so the broker would register nowhere; name the name servers in namesrvAddr"),
    Refused("inBrokerContainer", Unsafe::True, "there is no broker container; start each broker as a process of its own"),
    Refused("isInBrokerContainer", Unsafe::True, "there is no broker container; start each broker as a process of its own"),
    Refused("isBrokerContainer", Unsafe::True, "there is no broker container; start each broker as a process of its own"),
    Refused("configManagerVersion", Unsafe::Not("v1"), "topics, groups and offsets are kept in JSON files; those of an existing store in RocksDB would not be found"),
    Refused("useSingleRocksDBForAllConfigs", Unsafe::True, "topics, groups and offsets are kept in JSON files; those of an existing store in RocksDB would not be found"),
    Refused("indexFileReadEnable", Unsafe::Not("true"), "messages are queried in index files; keys of an existing store in RocksDB would not be found"),
    Refused("combineCQPreferCQType", Unsafe::Not("default"), "ConsumeQueues are kept in files; those of an existing store in RocksDB would not be found"),
    Refused("combineCQUseRocksdbForLmq", Unsafe::True, "light queues of an existing store in RocksDB would not be found"),
];
