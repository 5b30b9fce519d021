//! The settings that the engine decides, and why; and those of Java programs that mean nothing here.

/// Who decides a setting instead.
#[derive(Debug)]
pub(super) struct Owner {
    name: &'static str,
    /// Why it cannot be set, and what to set instead.
    pub(super) reason: &'static str,
    /// Values that say what is done anyway: with them the setting is passed over.
    agreed: &'static [&'static str],
}

impl Owner {
    /// Whether a value says what is done anyway.
    pub(super) fn agrees(&self, value: &str) -> bool {
        self.agreed.iter().any(|agreed| agreed.eq_ignore_ascii_case(value.trim()))
    }
}

/// Who decides this setting, if it is not the one who runs the engine.
pub(super) fn owner(name: &str) -> Option<&'static Owner> {
    OWNED.iter().find(|owner| owner.name == name)
}

/// Whether a setting of a Java program has nothing to set here.
pub(super) fn is_foreign(name: &str) -> bool {
    FOREIGN.contains(&name) || FOREIGN_ROOMS.iter().any(|room| name.starts_with(room))
}

const fn owned(name: &'static str, reason: &'static str) -> Owner {
    Owner { name, reason, agreed: &[] }
}

const fn unless(agreed: &'static [&'static str], name: &'static str, reason: &'static str) -> Owner {
    Owner { name, reason, agreed }
}

const GROUP: &str = "the group is named by the application id: set `application` in the job file, or `Settings::application_id`";
const INSTANCE: &str = "it is the name of the instance: set `Settings::instance_id`";
const ASSIGNOR: &str = "tasks are shared out by the engine, so that partitions that belong together stay together: leave it out";
const COMMITS: &str = "positions are committed together with results: leave it out, and set `commit-interval` in the job file, or `Settings::commit_interval`";
const RESET: &str = "each source says where it begins: leave it out, and set `OffsetReset` on the source";
const ACKS: &str = "results are acknowledged by all replicas in sync, always: leave it out";
const IDEMPOTENCE: &str = "sending again never doubles a record, always: leave it out";
const PARTITIONER: &str = "keys go to the partitions where Kafka's own clients put them (murmur2): leave it out";
const SENDING: &str = "a record is sent again until `Settings::send_timeout` has passed: leave it out, and set that";
const TRANSACTION: &str = "it is made of the application id, the process and the thread: leave it out";
const CALLBACK: &str = "it is a part of a program, and no text: leave it out";
const TOPICS: &str = "topics are made by the engine, with the partitions and the policy they need: leave it out";
const MEMORY: &str = "the engine bounds what its clients hold: leave it out, and set `Settings::memory`";

/// librdkafka's settings, Java's, and those of Kafka Streams.
const OWNED: &[Owner] = &[
    owned("group.id", GROUP),
    owned("application.id", GROUP),
    owned("group.instance.id", INSTANCE),
    owned("partition.assignment.strategy", ASSIGNOR),
    owned("group.protocol.type", ASSIGNOR),
    owned("group.remote.assignor", ASSIGNOR),
    unless(&["45000"], "session.timeout.ms", "it belongs to the group: leave it out, and set `Settings::session_timeout`"),
    owned("heartbeat.interval.ms", "it follows the session: leave it out, and set `Settings::session_timeout`"),
    unless(&["false"], "enable.auto.commit", COMMITS),
    unless(&["false"], "auto.commit.enable", COMMITS),
    owned("auto.commit.interval.ms", COMMITS),
    owned("commit.interval.ms", COMMITS),
    unless(&["false"], "enable.auto.offset.store", COMMITS),
    owned("offset.store.method", COMMITS),
    owned("offset.store.path", COMMITS),
    owned("offset.store.sync.interval.ms", COMMITS),
    owned("auto.offset.reset", RESET),
    owned("isolation.level", "committed records are read wherever it matters, always: leave it out"),
    unless(&["true"], "enable.partition.eof", "the engine has to know where a partition ends: leave it out"),
    unless(&["all", "-1"], "acks", ACKS),
    unless(&["all", "-1"], "request.required.acks", ACKS),
    unless(&["true"], "enable.idempotence", IDEMPOTENCE),
    owned("enable.gapless.guarantee", IDEMPOTENCE),
    unless(&["2147483647"], "retries", SENDING),
    unless(&["2147483647"], "message.send.max.retries", SENDING),
    owned("delivery.timeout.ms", SENDING),
    owned("message.timeout.ms", SENDING),
    owned("delivery.report.only.error", "the engine has to know the offset of what it sent: leave it out"),
    owned("produce.offset.report", "the engine has to know the offset of what it sent: leave it out"),
    unless(&["murmur2_random"], "partitioner", PARTITIONER),
    owned("partitioner.class", PARTITIONER),
    owned("sticky.partitioning.linger.ms", PARTITIONER),
    owned("transactional.id", TRANSACTION),
    owned("transaction.timeout.ms", "it belongs to the guarantee: leave it out, and set `Settings::transaction_timeout`"),
    owned("processing.guarantee", "set `guarantee` in the job file, or `Settings::guarantee`"),
    owned("allow.auto.create.topics", TOPICS),
    owned("replication.factor", "internal topics get the broker's `default.replication.factor`: leave it out, and set that on the brokers"),
    owned("num.stream.threads", "set `--threads`, or `Settings::threads`"),
    owned("state.dir", "set `--state-dir`, or `Settings::state_dir`"),
    owned("statestore.cache.max.bytes", MEMORY),
    owned("cache.max.bytes.buffering", MEMORY),
    owned("buffer.memory", MEMORY),
    owned("queuing.strategy", "records are read in the order of their partition: leave it out"),
    owned("plugin.library.paths", "no code is loaded from elsewhere: leave it out"),
    owned("internal.termination.signal", CALLBACK),
    owned("log.queue", CALLBACK),
    owned("consume.callback.max.messages", CALLBACK),
    owned("background_event_cb", CALLBACK),
    owned("closesocket_cb", CALLBACK),
    owned("connect_cb", CALLBACK),
    owned("consume_cb", CALLBACK),
    owned("default_topic_conf", CALLBACK),
    owned("dr_cb", CALLBACK),
    owned("dr_msg_cb", CALLBACK),
    owned("enabled_events", CALLBACK),
    owned("error_cb", CALLBACK),
    owned("interceptors", CALLBACK),
    owned("log_cb", CALLBACK),
    owned("msg_order_cmp", CALLBACK),
    owned("oauthbearer_token_refresh_cb", CALLBACK),
    owned("offset_commit_cb", CALLBACK),
    owned("opaque", CALLBACK),
    owned("open_cb", CALLBACK),
    owned("partitioner_cb", CALLBACK),
    owned("rebalance_cb", CALLBACK),
    owned("resolve_cb", CALLBACK),
    owned("socket_cb", CALLBACK),
    owned("ssl.certificate.verify_cb", CALLBACK),
    owned("ssl_ca", CALLBACK),
    owned("ssl_certificate", CALLBACK),
    owned("ssl_engine_callback_data", CALLBACK),
    owned("ssl_key", CALLBACK),
    owned("stats_cb", CALLBACK),
    owned("throttle_cb", CALLBACK),
];

/// Settings of Java programs that choose classes, tune what this client does not have, or belong to the schema registry.
const FOREIGN: &[&str] = &[
    "auto.include.jmx.reporter",
    "default.api.timeout.ms",
    "default.key.serde",
    "default.value.serde",
    "exclude.internal.topics",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "max.block.ms",
    "max.poll.records",
    "metric.reporters",
    "partitioner.ignore.keys",
    "sasl.client.callback.handler.class",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "security.providers",
    "ssl.enabled.protocols",
    "ssl.engine.factory.class",
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "value.deserializer",
    "value.serializer",
];

const FOREIGN_ROOMS: &[&str] =
    &["basic.auth.", "bearer.auth.", "config.providers", "metrics.", "sasl.login.", "schema.registry.", "specific.avro."];
