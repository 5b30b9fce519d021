//! A real Kafka for tests: one broker or three, started from the jars of Maven Central on ports of this machine, and ended with the process
//! that started it, whatever ends that.
//!
//! It knows the standard library only, so that unit tests, integration tests, benches and the kill table can all include it with `#[path]`.
//!
//! - `Broker::shared()` gives the cluster of `KAFKA_BOOTSTRAP` if that is set, else one broker for the whole test binary.
//! - `Broker::start(BrokerOptions { .. })` starts a cluster of its own, which a test may kill, pause and start again.
//!
//! Where Docker is and Java is not, start a broker by hand (`docker run -p 9092:9092 apache/kafka:4.3.1`) and name it in `KAFKA_BOOTSTRAP`; tests that
//! kill, pause or secure a broker of their own need the jars. The broker is the same, so `testcontainers` would add a dependency and a way in
//! that nobody tests.
//!
//! Both give nothing, after one loud line, where there is neither Java nor a folder of jars; under `CI` or `HIGHWATER_REQUIRE_KAFKA=1` they
//! fail instead, so that no run is green because everything was left out.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test takes a part of it, and it speaks to whoever runs the test"
)]

pub(crate) mod jars;
mod node;
mod places;
pub(crate) mod properties;
mod security;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use node::Node;
use places::Places;
use properties::Ports;
pub(crate) use security::Secured;

const READY_WITHIN: Duration = Duration::from_secs(300);

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub(crate) struct BrokerOptions {
    /// One node, or three with three replicas of everything.
    pub(crate) nodes: usize,
    /// Settings of `server.properties`, in place of the usual ones or beside them.
    pub(crate) properties: Vec<(String, String)>,
    /// A second listener with TLS and SASL/SCRAM beside the plain one.
    pub(crate) secured: bool,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        BrokerOptions { nodes: 1, properties: Vec::new(), secured: false }
    }
}

impl BrokerOptions {
    /// The same with one setting more.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A cluster that is up.
pub(crate) struct Broker {
    bootstrap: String,
    nodes: Vec<Node>,
    secured: Option<Secured>,
    /// Waits for the end of this process, then removes the folder.
    sweeper: Option<Child>,
    folder: PathBuf,
    /// What it takes of the machine, if it is not the one of all.
    places: Option<Places>,
}

impl Broker {
    /// The cluster that the tests of this binary share: the one of `KAFKA_BOOTSTRAP`, else one that is started now.
    ///
    /// # Panics
    ///
    /// Where [`start`](Self::start) does, and if it ran and has died: with its last words, which say more than tests that do not reach it.
    pub(crate) fn shared() -> Option<&'static Broker> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| named().or_else(|| Broker::begin(&BrokerOptions::default()))).as_ref()?;
        if let Some(node) = shared.nodes.iter().find(|node| node.has_died()) {
            panic!("the broker that all share has died; it said:\n{}", node.last_words());
        }
        Some(shared)
    }

    /// Starts a cluster for the caller alone, and waits until it answers. Who comes while there are many waits for others to end theirs, so nobody
    /// starts a second one while he has one.
    ///
    /// # Panics
    ///
    /// Where there is Java and the jars and it does not start all the same; or under `CI` and `HIGHWATER_REQUIRE_KAFKA=1` if it cannot.
    pub(crate) fn start(options: BrokerOptions) -> Option<Broker> {
        let places = Places::take(options.nodes);
        let mut broker = Broker::begin(&options)?;
        broker.places = Some(places);
        Some(broker)
    }

    fn begin(options: &BrokerOptions) -> Option<Broker> {
        let libs = match jars::folder() {
            Ok(libs) => libs,
            Err(why) => return do_without(&why),
        };
        let mut last = String::new();
        // Another process may take a port between our choice and the start of the broker.
        for _ in 0..3 {
            match Broker::try_start(options, &libs) {
                Ok(broker) => return Some(broker),
                Err(why) => last = why,
            }
        }
        panic!("the Kafka broker for the tests does not start: {last}")
    }

    fn try_start(options: &BrokerOptions, libs: &Path) -> Result<Broker, String> {
        let folder = std::env::temp_dir().join(format!("highwater-kafka-{}-{}", std::process::id(), properties::unique()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut broker = Broker::at(String::new());
        (broker.sweeper, broker.folder) = (Some(sweeper(&folder)?), folder.clone());
        let ports: Vec<Ports> = (0..options.nodes).map(|_| Ports::free(options.secured)).collect();
        broker.bootstrap = properties::addresses(ports.iter().map(|ports| ports.plain));
        if options.secured {
            let addresses = properties::addresses(ports.iter().filter_map(|ports| ports.secured));
            broker.secured = Some(Secured::make(&folder, addresses)?);
        }
        let cluster = properties::cluster_id();
        for number in 1..=options.nodes {
            let config = folder.join(format!("server-{number}.properties"));
            let text = properties::of(number, &ports, options, &folder, broker.secured.as_ref());
            fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
            broker.nodes.push(Node::formatted(libs, &config, &cluster, options, ports[number - 1].plain)?);
        }
        broker.nodes.iter_mut().try_for_each(Node::start)?;
        broker.wait_until_ready()?;
        Ok(broker)
    }

    /// One without nodes of ours.
    fn at(bootstrap: String) -> Broker {
        Broker { bootstrap, nodes: Vec::new(), secured: None, sweeper: None, folder: PathBuf::new(), places: None }
    }

    /// `host:port`, of each node, behind commas.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The listener with TLS and SCRAM, if it was asked for.
    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// Where the nodes keep their data and their logs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// SIGKILL to a node, numbered from 0 on.
    pub(crate) fn kill_hard(&mut self, node: usize) {
        self.nodes[node].kill_hard();
    }

    /// SIGTERM to a node: it hands its leaderships over and writes everything down.
    pub(crate) fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
    }

    /// Starts a node again on its data, and waits until the whole cluster answers.
    pub(crate) fn start_again(&mut self, node: usize) {
        self.nodes[node].start().expect("a node that ran before starts again");
        self.wait_until_ready().expect("a node that ran before answers again");
    }

    /// SIGSTOP to a node: it is there, and says nothing.
    pub(crate) fn pause(&self, node: usize) {
        self.nodes[node].signal("STOP");
    }

    /// SIGCONT to a node.
    pub(crate) fn resume(&self, node: usize) {
        self.nodes[node].signal("CONT");
    }

    /// The process of a node, while it runs.
    pub(crate) fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].pid()
    }

    /// Waits until each node that runs knows all the others that run.
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        let running = self.nodes.iter().filter(|node| node.pid().is_some()).count();
        loop {
            let ready = self.nodes.iter().filter(|node| node.pid().is_some()).all(|node| wire::brokers_seen_by(node.port) >= Some(running));
            if ready {
                return Ok(());
            }
            if let Some(node) = self.nodes.iter_mut().find(|node| node.has_died()) {
                return Err(format!("the broker ended; it said:\n{}", node.last_words()));
            }
            if Instant::now() > until {
                return Err(format!("no answer within {READY_WITHIN:?}; it said:\n{}", self.nodes[0].last_words()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.nodes.clear();
        if let Some(mut sweeper) = self.sweeper.take() {
            drop(sweeper.stdin.take());
            let _ = sweeper.wait();
        }
    }
}

/// The cluster of `KAFKA_BOOTSTRAP`, which is not ours to kill.
fn named() -> Option<Broker> {
    let bootstrap = std::env::var("KAFKA_BOOTSTRAP").ok().filter(|address| !address.is_empty())?;
    Some(Broker::at(bootstrap))
}

/// One loud line, or a panic where tests must not be left out.
pub(crate) fn do_without<T>(why: &str) -> Option<T> {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0");
    let needed = is_set("CI") || is_set("HIGHWATER_REQUIRE_KAFKA");
    let text = format!(
        "NO KAFKA: {why}. Tests on a real broker need Java 17 and Maven (tests/setup.sh installs them on Debian), \
         or KAFKA_BOOTSTRAP=host:port of a broker that may be written to (docker run -p 9092:9092 apache/kafka:4.3.1)"
    );
    assert!(!needed, "{text}");
    eprintln!("{text}: they are LEFT OUT");
    None
}

/// A shell that removes the folder as soon as nothing holds its input any more, which even SIGKILL to this process brings about. Its brokers end at the
/// same moment, and until then they may still write there.
fn sweeper(folder: &Path) -> Result<Child, String> {
    let script = r#"cat >/dev/null; i=0; while [ $i -lt 150 ]; do rm -rf "$0" 2>/dev/null && exit; i=$((i+1)); sleep 0.3; done"#;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    node::apart(&mut shell).spawn().map_err(|error| format!("sh: {error}"))
}
