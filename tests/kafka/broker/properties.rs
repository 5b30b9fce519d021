//! `server.properties`, and the ports in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{BrokerOptions, Secured};

/// What one node listens on.
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) secured: Option<u16>,
    controller: u16,
}

impl Ports {
    pub(crate) fn free(secured: bool) -> Ports {
        Ports { plain: free_port(), controller: free_port(), secured: secured.then(free_port) }
    }
}

/// A port below those that the system gives to clients: it stays free while its broker is down.
pub(crate) fn free_port() -> u16 {
    const FROM: u64 = 18_000;
    const COUNT: u64 = 14_000;
    let ports = std::iter::repeat_with(|| u16::try_from(FROM + unique() % COUNT).expect("below 65,536"));
    let free = ports.take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("a free port of this machine")
}

/// Numbers that no other process or call is likely to get.
pub(crate) fn unique() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let seed = now ^ (u64::from(std::process::id()) << 40) ^ CALLS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 31
}

/// An id as Kafka wants it: 16 bytes in base 64.
pub(crate) fn cluster_id() -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut id: String = (0..21).map(|_| char::from(DIGITS[(unique() % DIGITS.len() as u64) as usize])).collect();
    id.push('A');
    id
}

pub(crate) fn addresses(ports: impl Iterator<Item = u16>) -> String {
    ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

/// The settings of one node, numbered from 1 on.
pub(crate) fn of(number: usize, ports: &[Ports], options: &BrokerOptions, folder: &Path, secured: Option<&Secured>) -> String {
    let own = &ports[number - 1];
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{}", own.plain);
    if let Some(port) = own.secured {
        let _ = write!(listeners, ",SECURED://127.0.0.1:{port}");
    }
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |key: &str, value: &str| drop(settings.insert(key.to_owned(), value.to_owned()));
    set("process.roles", "broker,controller");
    set("node.id", &number.to_string());
    set("listeners", &format!("{listeners},CONTROLLER://127.0.0.1:{}", own.controller));
    set("advertised.listeners", &format!("{listeners},CONTROLLER://127.0.0.1:{}", own.controller));
    set("inter.broker.listener.name", "PLAINTEXT");
    set("controller.listener.names", "CONTROLLER");
    set("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL");
    set("log.dirs", &folder.join(format!("data-{number}")).display().to_string());
    match ports {
        [_] => set("controller.quorum.bootstrap.servers", &addresses(ports.iter().map(|ports| ports.controller))),
        _ => {
            let voters = (1..).zip(ports).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller));
            set("controller.quorum.voters", &voters.collect::<Vec<_>>().join(","));
        }
    }
    usual(options.nodes, &mut set);
    secured.iter().for_each(|secured| secured.configure(&mut set));
    options.properties.iter().for_each(|(key, value)| set(key, value));
    settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// What makes a cluster quick, and strict enough to be of use to tests.
fn usual(nodes: usize, set: &mut impl FnMut(&str, &str)) {
    let replicas = nodes.to_string();
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.num.partitions"), "1");
        set(&format!("{topic}.replication.factor"), &replicas);
    }
    let in_sync = if nodes > 1 { "2" } else { "1" };
    set("transaction.state.log.min.isr", in_sync);
    set("share.coordinator.state.topic.min.isr", in_sync);
    set("min.insync.replicas", in_sync);
    set("default.replication.factor", &replicas);
    for (key, value) in [
        ("auto.create.topics.enable", "false"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "1000"),
        ("group.consumer.min.session.timeout.ms", "3000"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("group.consumer.min.heartbeat.interval.ms", "500"),
        ("group.consumer.heartbeat.interval.ms", "1000"),
        // Tests like round times, which are long past: what they write stays unless the topic says otherwise.
        ("log.retention.ms", "-1"),
        ("log.cleaner.backoff.ms", "1000"),
        ("log.retention.check.interval.ms", "1000"),
        // Less than in production, and no less than a machine with too much to do can keep: else all are taken for dead in turn.
        ("broker.session.timeout.ms", "5000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("log.initial.task.delay.ms", "1000"),
        ("log.segment.delete.delay.ms", "1000"),
        ("log.index.size.max.bytes", "1048576"),
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500"),
    ] {
        set(key, value);
    }
}
