//! The stage itself: clusters start, die, come back, and leave nothing behind.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use highwater::ErrorKind;
use highwater::kafka::{Connect, KafkaConfig, KafkaLog};

use super::broker::{Broker, BrokerOptions};

fn answers(broker: &Broker) -> bool {
    broker.bootstrap().split(',').all(|address| TcpStream::connect(address).is_ok())
}

fn within(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    is_so()
}

#[test]
fn a_broker_that_is_killed_comes_back_and_leaves_nothing_behind() {
    let Some(mut broker) = Broker::start(BrokerOptions::default()) else { return };
    let (folder, pid) = (broker.folder().to_owned(), broker.pid(0).expect("it runs"));
    assert!(answers(&broker) && folder.is_dir());
    broker.kill_hard(0);
    assert!(!answers(&broker) && !Path::new(&format!("/proc/{pid}")).exists());
    broker.start_again(0);
    assert!(answers(&broker));
    let pid = broker.pid(0).expect("it runs again");
    drop(broker);
    assert!(!Path::new(&format!("/proc/{pid}")).exists() && !folder.exists());
}

#[test]
fn three_brokers_know_each_other_and_one_may_die() {
    let Some(mut cluster) = Broker::start(BrokerOptions { nodes: 3, ..BrokerOptions::default() }) else { return };
    assert!(answers(&cluster));
    cluster.kill_hard(1);
    cluster.start_again(1);
    assert!(answers(&cluster));
}

/// Nobody looks after groups yet when the first one is asked about. The client library did not survive that answer.
#[test]
fn a_new_cluster_is_asked_for_positions() {
    let Some(broker) = Broker::start(BrokerOptions::default()) else { return };
    let log = KafkaLog::new(KafkaConfig::new(broker.bootstrap()));
    let until = Instant::now() + Duration::from_secs(150);
    thread::scope(|scope| {
        for number in 0..3 {
            let log = &log;
            scope.spawn(move || {
                let admin = log.admin().unwrap();
                // An error is an answer too, for as long as the cluster settles.
                while admin.group_positions(&format!("group-{number}")).is_err_and(|error| error.kind() == ErrorKind::Retriable) {
                    assert!(Instant::now() < until, "nobody looks after the group");
                }
            });
        }
    });
}

/// This binary runs itself and is killed.
#[test]
fn a_broker_ends_with_the_process_that_started_it() {
    const CHILD: &str = "HIGHWATER_STAGE_CHILD";
    if let Some(path) = std::env::var_os(CHILD) {
        let Some(broker) = Broker::start(BrokerOptions::default()) else { return };
        let text = format!("{} {}", broker.pid(0).expect("it runs"), broker.folder().display());
        std::fs::write(Path::new(&path).with_extension("half"), text).unwrap();
        std::fs::rename(Path::new(&path).with_extension("half"), path).unwrap();
        thread::sleep(Duration::from_secs(600));
    }
    if Broker::shared().is_none() {
        return;
    }
    let said = std::env::temp_dir().join(format!("highwater-stage-{}", std::process::id()));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "cluster::a_broker_ends_with_the_process_that_started_it"]).env(CHILD, &said);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(within(Duration::from_secs(300), || said.exists()), "the other process starts a broker");
    let text = std::fs::read_to_string(&said).unwrap();
    let (pid, folder) = text.split_once(' ').unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(within(Duration::from_secs(60), || !Path::new(&format!("/proc/{pid}")).exists()), "the broker {pid} is left");
    assert!(within(Duration::from_secs(60), || !Path::new(folder).exists()), "the folder {folder} is left");
    std::fs::remove_file(said).unwrap();
}
