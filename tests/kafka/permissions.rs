//! What `highwater plan` says a job must be allowed is all that it must be allowed: a broker with an authorizer, a user with exactly these
//! permissions, and jobs that run.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use highwater::kafka::{KafkaConfig, KafkaLog, NewTopic};

use super::broker::{Broker, BrokerOptions, Secured, jars};
use super::reading;

/// A broker where everybody but the operator needs permissions.
struct Site {
    broker: Broker,
    folder: PathBuf,
}

impl Site {
    fn open() -> Option<Site> {
        let options = BrokerOptions { secured: true, ..BrokerOptions::default() }
            .with("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            .with("super.users", "User:ANONYMOUS");
        let broker = Broker::start(options)?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("permissions-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let secured = broker.secured().unwrap();
        let mut properties = format!("bootstrap.servers={}\nsecurity.protocol=SASL_SSL\n", secured.bootstrap);
        writeln!(properties, "sasl.mechanism={}\nsasl.username={}", Secured::MECHANISM, Secured::USER).unwrap();
        writeln!(properties, "sasl.password={}\nssl.ca.location={}", Secured::PASSWORD, secured.ca.display()).unwrap();
        fs::write(folder.join("user.properties"), properties).unwrap();
        Some(Site { broker, folder })
    }

    fn job(&self, name: &str, more: &str) -> PathBuf {
        let path = self.folder.join(format!("{name}.yaml"));
        let text = format!(
            "job: windowed-counts\napplication: {name}\ninput:\n  topic: {name}-clicks\n  format: json\n  key: who\n  \
             event-time: {{field: at, format: epoch-ms}}\n  bad-records: {{dead-letter: {name}-bad}}\ngroup-by: page\n\
             window: {{tumbling: 1s}}\nemit: on-update\noutput: {{topic: {name}-counts}}\nlate: {{topic: {name}-late}}\n{more}"
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn highwater(&self, args: &[&str], job: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.args(args).arg(job).current_dir(&self.folder).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self, job: &Path) -> Output {
        let state = format!("{}.state", job.display());
        let args = ["run", "--kafka-config", "user.properties", "--feed", "clicks.jsonl", "--until", "end", "--state-dir", &state];
        self.highwater(&args, job)
    }

    /// Does what the plan says.
    fn allow(&self, job: &Path) {
        let principal = format!("User:{}", Secured::USER);
        let plan = self.highwater(&["plan", "--bootstrap", self.broker.bootstrap(), "--principal", &principal], job);
        let told = String::from_utf8(plan.stdout).unwrap();
        let lines: String = told.lines().filter(|line| line.starts_with("kafka-acls.sh")).map(|line| format!("{line}\n")).collect();
        assert!(!lines.is_empty(), "{told}{}", String::from_utf8_lossy(&plan.stderr));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/java/Allow.java");
        let mut java = Command::new("java");
        java.arg("-cp").arg(format!("{}/*", jars::folder().unwrap().display())).arg(source).arg(self.broker.bootstrap());
        let mut java = java.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        java.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let done = java.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn what_the_plan_lists_is_enough() {
    let Some(site) = Site::open() else { return };
    let clicks: String = (0..50).map(|n| format!("{{\"who\":\"u{}\",\"page\":\"p{}\",\"at\":{}}}\n", n % 7, n % 3, n * 100)).collect();
    fs::write(site.folder.join("clicks.jsonl"), clicks + "nonsense\n").unwrap();
    let log = KafkaLog::new(KafkaConfig::new(site.broker.bootstrap()));
    for (name, more) in [
        ("makes-all", "topics: {create: all}\n"),
        ("makes-internal", "guarantee: exactly-once\n"),
        ("at-least-once", "guarantee: at-least-once\n"),
    ] {
        let job = site.job(name, more);
        if !more.contains("all") {
            let topics = ["clicks", "counts", "late", "bad"].map(|topic| NewTopic::new(format!("{name}-{topic}"), 2));
            reading::made(&log, &topics);
        }
        let before = site.run(&job);
        assert!(!before.status.success(), "{name} is not allowed yet");
        site.allow(&job);
        let done = site.run(&job);
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{name}: {said}");
        assert!(said.contains("records read   51"), "{name}: {said}");
    }
    fs::remove_dir_all(&site.folder).unwrap();
}
