//! TLS and SASL/SCRAM: with the right password everything works, with a wrong one the error says what is wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, KafkaConfig, KafkaLog, NewTopic, Outgoing};
use highwater::{ErrorKind, Headers, Settings, Streams, StreamsBuilder, Timestamp, Topic, TopicPartition};

use super::broker::{Broker, BrokerOptions, Secured};
use super::reading;

const PATIENCE: Duration = Duration::from_secs(150);

fn log_with(secured: &Secured, password: &str) -> KafkaLog {
    let config = KafkaConfig::new(&*secured.bootstrap)
        .with("security.protocol", "SASL_SSL")
        .with("sasl.mechanism", Secured::MECHANISM)
        .with("sasl.username", Secured::USER)
        .with("sasl.password", password)
        .with("ssl.ca.location", secured.ca.display().to_string());
    KafkaLog::new(config)
}

#[test]
fn scram_over_tls_connects_and_a_wrong_password_is_named() {
    let Some(broker) = Broker::start(BrokerOptions { secured: true, ..BrokerOptions::default() }) else { return };
    let secured = broker.secured().unwrap();
    let log = log_with(secured, Secured::PASSWORD);
    reading::made(&log, &[NewTopic::new("in", 1)]);
    let (partition, headers) = (TopicPartition::new("in", 0), Headers::default());
    let mut producer = log.producer().unwrap();
    let record = Outgoing { key: None, value: Some(b"secret"), timestamp: Timestamp::from_millis(1), headers: &headers };
    producer.send(&partition, &[record]).unwrap();
    assert!(producer.flush(PATIENCE).failed.is_empty());
    let mut consumer = log.consumer(Isolation::ReadCommitted).unwrap();
    consumer.assign(&[(partition.clone(), 0)]).unwrap();
    let (mut read, begun) = (Vec::new(), Instant::now());
    while read.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nothing comes");
        consumer.poll(Duration::from_secs(1)).unwrap();
        consumer.fetch(&partition, FetchLimit::default(), &mut |record| read.extend_from_slice(record.value.unwrap())).unwrap();
    }
    assert_eq!(read, b"secret");

    let stranger = log_with(secured, "alice-or-somebody-else");
    let text = refusal(&stranger);
    assert!(text.contains("`sasl.password`") && text.contains("SASL authentication error"), "{text}");

    #[cfg(feature = "cli")]
    an_operator_is_told(secured);

    // It will not be better next time: nobody waits for it.
    let builder = StreamsBuilder::new();
    builder.stream(Topic::<String, String>::new("in")).for_each(|_, _| ());
    let begun = Instant::now();
    let mut settings = Settings::new("app");
    settings.start_timeout = 4 * PATIENCE;
    let refused = Streams::start(&builder.build().unwrap(), settings, Arc::new(stranger)).unwrap_err();
    let text = refused.to_string();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig, "{text}");
    assert!(text.contains("`sasl.password`") && text.contains("SASL authentication error"), "{text}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

/// What a cluster says to somebody whom it does not let in, as soon as it says something.
fn refusal(stranger: &KafkaLog) -> String {
    let begun = Instant::now();
    loop {
        match stranger.admin().and_then(|admin| admin.list_topics()) {
            Ok(topics) => panic!("it is let in: {topics:?}"),
            Err(error) if error.kind() == ErrorKind::Retriable && begun.elapsed() < PATIENCE => {}
            Err(error) => return error.to_string(),
        }
    }
}

/// `highwater run` with a wrong password ends soon, and says which setting is wrong.
#[cfg(feature = "cli")]
fn an_operator_is_told(secured: &Secured) {
    let desk = super::operator::Desk::new("password");
    let ca = format!("ssl.ca.location={}", secured.ca.display());
    let (user, mechanism) = (format!("sasl.username={}", Secured::USER), format!("sasl.mechanism={}", Secured::MECHANISM));
    let typed = ["-X", "security.protocol=SASL_SSL", "-X", &mechanism, "-X", &user, "-X", "sasl.password=guessed", "-X", &ca];
    let mut run = desk.run(&[&["--bootstrap", &secured.bootstrap, "--state-dir", "state"], &typed[..]].concat());
    assert_eq!(run.ends(super::operator::soon(Duration::from_secs(40))).code(), Some(1), "{}", run.said());
    let said = run.said();
    assert!(said.contains("`sasl.password`") && said.contains("SASL authentication error") && !said.contains("guessed"), "{said}");
}
