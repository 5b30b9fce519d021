//! TLS and SASL/SCRAM: with the right password everything works, with a wrong one the error says what is wrong.

use std::time::Duration;

use highwater::kafka::{Connect, FetchLimit, Isolation, KafkaConfig, KafkaLog, NewTopic, Outgoing};
use highwater::{Headers, Timestamp, TopicPartition};

use super::broker::{Broker, BrokerOptions, Secured};

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
    log.admin().unwrap().create_topics(&[NewTopic::new("in", 1)]).unwrap();
    let (partition, headers) = (TopicPartition::new("in", 0), Headers::default());
    let mut producer = log.producer().unwrap();
    let record = Outgoing { key: None, value: Some(b"secret"), timestamp: Timestamp::from_millis(1), headers: &headers };
    producer.send(&partition, &[record]).unwrap();
    assert!(producer.flush(Duration::from_secs(20)).failed.is_empty());
    let mut consumer = log.consumer(Isolation::ReadCommitted).unwrap();
    consumer.assign(&[(partition.clone(), 0)]).unwrap();
    let mut read = Vec::new();
    while read.is_empty() {
        consumer.poll(Duration::from_secs(1)).unwrap();
        consumer.fetch(&partition, FetchLimit::default(), &mut |record| read.extend_from_slice(record.value.unwrap())).unwrap();
    }
    assert_eq!(read, b"secret");

    let refused = log_with(secured, "alice-or-somebody-else").admin().and_then(|admin| admin.list_topics().map(drop));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("`sasl.password`"), "{text}");
}
