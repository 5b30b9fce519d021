//! What librdkafka calls its settings, and which clients take which.

use super::owned;

/// The kinds of clients, as far as their settings differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Consumer,
    Producer,
    Admin,
}

impl Kind {
    /// What a setting for clients of this kind alone begins with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Kind::Consumer => "consumer.",
            Kind::Producer => "producer.",
            Kind::Admin => "admin.",
        }
    }

    pub(super) const ALL: [Kind; 3] = [Kind::Consumer, Kind::Producer, Kind::Admin];

    /// The kind of client that makes these demands: each demands something that only its kind takes, an administrator nothing.
    pub(super) fn that_demands(role: &[(&str, &str)]) -> Kind {
        let any_of = |names: &[&str]| role.iter().any(|(name, _)| names.contains(name));
        match () {
            () if any_of(CONSUMER) => Kind::Consumer,
            () if any_of(PRODUCER) => Kind::Producer,
            () => Kind::Admin,
        }
    }

    /// Whether clients of this kind take a setting.
    pub(super) fn takes(self, name: &str) -> bool {
        let others = match self {
            Kind::Consumer => [PRODUCER, &[]],
            Kind::Producer => [CONSUMER, &[]],
            Kind::Admin => [PRODUCER, CONSUMER],
        };
        !others.iter().any(|names| names.contains(&name))
    }
}

/// Whether there is such a setting.
pub(super) fn is_known(name: &str) -> bool {
    [ANY, CONSUMER, PRODUCER].iter().any(|names| names.contains(&name))
}

/// One name of a setting that has several.
pub(super) fn plain(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, plain)| *plain)
}

/// The setting that a typing error may have meant; none that the engine owns.
pub(super) fn nearest(word: &str, others: &[&'static str]) -> Option<&'static str> {
    let known = [ANY, CONSUMER, PRODUCER, others].into_iter().flatten().copied().filter(|name| owned::owner(name).is_none());
    let (steps, best) = known.map(|name| (distance(word, name), name)).min()?;
    (steps <= 1.max(best.len() / 5)).then_some(best)
}

/// How many letters are to be put in, taken out or replaced.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, a) in left.bytes().enumerate() {
        let mut corner = line;
        row[0] = line + 1;
        for (column, b) in right.bytes().enumerate() {
            let replaced = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

/// Other names, librdkafka's own and those of Kafka's clients in Java, where only the name differs.
const ALIASES: &[(&str, &str)] = &[
    ("compression.type", "compression.codec"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("max.request.size", "message.max.bytes"),
    ("metadata.broker.list", "bootstrap.servers"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
];

/// What every client takes.
#[rustfmt::skip]
const ANY: &[&str] = &[
    "allow.auto.create.topics", "api.version.fallback.ms", "api.version.request", "api.version.request.timeout.ms",
    "bootstrap.servers", "broker.address.family", "broker.address.ttl", "broker.version.fallback", "client.dns.lookup", "client.id",
    "client.rack", "connections.max.idle.ms", "debug", "enable.metrics.push", "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt", "enable.ssl.certificate.verification", "https.ca.location", "https.ca.pem",
    "internal.termination.signal", "log.connection.close", "log.queue", "log.thread.name", "log_level", "max.in.flight",
    "max.in.flight.requests.per.connection", "message.copy.max.bytes", "message.max.bytes", "metadata.broker.list",
    "metadata.max.age.ms", "metadata.recovery.rebootstrap.trigger.ms", "metadata.recovery.strategy", "plugin.library.paths",
    "receive.message.max.bytes", "reconnect.backoff.jitter.ms", "reconnect.backoff.max.ms", "reconnect.backoff.ms",
    "retry.backoff.max.ms", "retry.backoff.ms", "sasl.kerberos.keytab", "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin", "sasl.kerberos.principal", "sasl.kerberos.service.name", "sasl.mechanism",
    "sasl.mechanisms", "sasl.oauthbearer.assertion.algorithm", "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds", "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include", "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub", "sasl.oauthbearer.assertion.file", "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file", "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem", "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config", "sasl.oauthbearer.extensions", "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type", "sasl.oauthbearer.method", "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username", "security.protocol", "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms", "socket.keepalive.enable", "socket.max.fails", "socket.nagle.disable",
    "socket.receive.buffer.bytes", "socket.send.buffer.bytes", "socket.timeout.ms", "ssl.ca.certificate.stores", "ssl.ca.location",
    "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem", "ssl.cipher.suites", "ssl.crl.location", "ssl.curves.list",
    "ssl.endpoint.identification.algorithm", "ssl.engine.id", "ssl.engine.location", "ssl.key.location", "ssl.key.password",
    "ssl.key.pem", "ssl.keystore.location", "ssl.keystore.password", "ssl.providers", "ssl.sigalgs.list", "statistics.interval.ms",
    "topic.blacklist", "topic.metadata.propagation.max.ms", "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms", "topic.metadata.refresh.interval.ms", "topic.metadata.refresh.sparse",
];

/// What only consumers take.
#[rustfmt::skip]
const CONSUMER: &[&str] = &[
    "auto.commit.enable", "auto.commit.interval.ms", "auto.offset.reset", "check.crcs", "consume.callback.max.messages",
    "coordinator.query.interval.ms", "enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof",
    "fetch.error.backoff.ms", "fetch.max.bytes", "fetch.message.max.bytes", "fetch.min.bytes", "fetch.queue.backoff.ms",
    "fetch.wait.max.ms", "group.id", "group.instance.id", "group.protocol", "group.protocol.type", "group.remote.assignor",
    "heartbeat.interval.ms", "isolation.level", "max.partition.fetch.bytes", "max.poll.interval.ms", "offset.store.method",
    "offset.store.path", "offset.store.sync.interval.ms", "partition.assignment.strategy", "queued.max.messages.kbytes",
    "queued.min.messages", "session.timeout.ms",
];

/// What only producers take.
#[rustfmt::skip]
const PRODUCER: &[&str] = &[
    "acks", "batch.num.messages", "batch.size", "compression.codec", "compression.level", "compression.type",
    "delivery.report.only.error", "delivery.timeout.ms", "enable.gapless.guarantee", "enable.idempotence", "linger.ms",
    "message.send.max.retries", "message.timeout.ms", "partitioner", "produce.offset.report",
    "queue.buffering.backpressure.threshold", "queue.buffering.max.kbytes", "queue.buffering.max.messages", "queue.buffering.max.ms",
    "queuing.strategy", "request.required.acks", "request.timeout.ms", "retries", "sticky.partitioning.linger.ms",
    "transaction.timeout.ms", "transactional.id",
];

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn the_library_knows_every_name() {
        let is_unknown = |name: &str| {
            let set = ClientConfig::from_iter([(name.to_owned(), "?".to_owned())]).create_native_config();
            set.is_err_and(|error| error.to_string().contains("No such configuration property"))
        };
        assert!(is_unknown("no.such.name"));
        for name in [ANY, CONSUMER, PRODUCER].into_iter().flatten() {
            assert!(!is_unknown(name), "{name}");
        }
    }

    #[test]
    fn a_typing_error_finds_its_setting() {
        assert_eq!(nearest("boostrap.servers", &[]), Some("bootstrap.servers"));
        assert_eq!(nearest("sasl.usrname", &[]), Some("sasl.username"));
        assert_eq!(nearest("ssl.truststore.lokation", &["ssl.truststore.location"]), Some("ssl.truststore.location"));
        assert_eq!(nearest("rocksdb.block.size", &[]), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("same", "same")), (3, 3, 0));
    }

    #[test]
    fn the_demands_of_a_client_tell_its_kind() {
        assert_eq!(Kind::that_demands(&[("client.id", "x"), ("enable.partition.eof", "true")]), Kind::Consumer);
        assert_eq!(Kind::that_demands(&[("partitioner", "murmur2_random")]), Kind::Producer);
        assert_eq!(Kind::that_demands(&[]), Kind::Admin);
        assert!(Kind::Producer.takes("linger.ms") && Kind::Producer.takes("client.id") && !Kind::Producer.takes("fetch.min.bytes"));
    }
}
