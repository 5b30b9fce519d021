//! Settings in all spellings, those that are refused, and secrets that must not be seen.

use super::*;

const CONSUMER: &[(&str, &str)] = &[("enable.partition.eof", "true")];
const PRODUCER: &[(&str, &str)] = &[("partitioner", "murmur2_random")];

fn config(text: &str) -> KafkaConfig {
    let pairs = properties::parse(text).unwrap().into_iter().collect();
    KafkaConfig { properties: pairs, ..KafkaConfig::default() }
}

fn told(config: &ClientConfig, name: &str) -> Option<String> {
    config.get(name).map(str::to_owned)
}

/// What is said about settings; each has the address already.
fn said(text: &str) -> String {
    let text = format!("bootstrap.servers=b:1\n{text}");
    config(&text).check().expect_err("has a problem").to_string()
}

#[test]
fn a_file_of_a_java_client_is_understood() {
    let file = r#"
bootstrap.servers=broker:9093
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
  username="ann" password="p\\"w";
ssl.truststore.type=PEM
ssl.truststore.location=/etc/ca.pem
ssl.endpoint.identification.algorithm=
client.dns.lookup=use_all_dns_ips
session.timeout.ms=45000
acks=all
key.serializer=org.apache.kafka.common.serialization.StringSerializer
linger.ms=7
fetch.max.wait.ms=80
consumer.client.id=reading
producer.client.id=writing
client.id=any
"#;
    let config = config(file);
    let (consumer, producer, admin) =
        (config.client("consumer", CONSUMER).unwrap(), config.client("producer", PRODUCER).unwrap(), config.client("admin", &[]).unwrap());
    let same = [
        ("bootstrap.servers", "broker:9093"),
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanisms", "SCRAM-SHA-512"),
        ("sasl.username", "ann"),
        ("sasl.password", "p\"w"),
        ("ssl.ca.location", "/etc/ca.pem"),
        ("ssl.endpoint.identification.algorithm", "none"),
    ];
    for (name, value) in same {
        for client in [&consumer, &producer, &admin] {
            assert_eq!(client.get(name), Some(value), "{name}");
        }
    }
    let ids = [&consumer, &producer, &admin].map(|client| told(client, "client.id").unwrap());
    assert_eq!(ids, ["reading", "writing", "any-admin"]);
    assert_eq!((told(&producer, "queue.buffering.max.ms"), told(&consumer, "queue.buffering.max.ms")), (Some("7".to_owned()), None));
    assert_eq!((told(&consumer, "fetch.wait.max.ms"), told(&producer, "fetch.wait.max.ms")), (Some("80".to_owned()), None));
    assert_eq!(told(&consumer, "acks"), None);
    assert_eq!(config.passed_over().collect::<Vec<_>>(), ["key.serializer"]);
}

#[test]
fn clients_are_named_after_the_application_and_what_they_are_for() {
    let id = |config: &KafkaConfig, role| told(&config.client("restore-consumer", role).unwrap(), "client.id").unwrap();
    let plain = KafkaConfig::new("b:1");
    assert_eq!(id(&plain, CONSUMER), "highwater-restore-consumer");
    let named = plain.named("orders");
    assert_eq!(id(&named, CONSUMER), "orders-restore-consumer");
    assert_eq!(id(&named.clone().with("client.id", "me"), CONSUMER), "me-restore-consumer");
    let alone = named.with("client.id", "me").with("consumer.client.id", "reader");
    assert_eq!((id(&alone, CONSUMER), id(&alone, PRODUCER)), ("reader".to_owned(), "me-restore-consumer".to_owned()));
    let member = [("group.id", "g"), ("enable.partition.eof", "true"), ("client.id", "orders-1")];
    assert_eq!([id(&plain, &member), id(&plain.clone().with("client.id", "me"), &member)], ["orders-1", "me"]);
}

#[test]
fn certificates_come_as_text_as_files_and_in_stores() {
    let get = |text: &str, name: &str| {
        let text = format!("bootstrap.servers=b:1\nsecurity.protocol=SSL\n{text}");
        told(&config(&text).client("admin", &[]).unwrap(), name)
    };
    assert_eq!(get("ssl.truststore.type=PEM\nssl.truststore.certificates=ABC", "ssl.ca.pem").as_deref(), Some("ABC"));
    assert_eq!(get("ssl.truststore.location=/x/ca.crt", "ssl.ca.location").as_deref(), Some("/x/ca.crt"));
    let both = "ssl.keystore.type=PEM\nssl.keystore.location=/x/me.pem";
    assert_eq!(get(both, "ssl.certificate.location"), get(both, "ssl.key.location"));
    assert_eq!(get("ssl.keystore.type=PKCS12\nssl.keystore.location=/x/me.p12", "ssl.keystore.location").as_deref(), Some("/x/me.p12"));
    let text = "ssl.keystore.type=PEM\nssl.keystore.certificate.chain=C\nssl.keystore.key=K";
    assert_eq!((get(text, "ssl.certificate.pem").as_deref(), get(text, "ssl.key.pem").as_deref()), (Some("C"), Some("K")));

    let jks = said("ssl.truststore.location=/x/trust.jks\nssl.truststore.password=hunter2");
    assert!(jks.contains("keytool -list -rfc -keystore /x/trust.jks") && !jks.contains("hunter2"), "{jks}");
    assert!(said("ssl.truststore.type=PKCS12\nssl.truststore.location=t").contains("openssl pkcs12 -in t -nokeys"));
    assert!(said("ssl.keystore.type=JKS\nssl.keystore.location=k").contains("-deststoretype PKCS12"));
}

#[test]
fn bearer_tokens_are_the_issuers_business_and_not_the_librarys() {
    let java = "bootstrap.servers=b:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n\
        sasl.oauthbearer.token.endpoint.url=https://issuer/token\n\
        sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
        sasl.jaas.config=x.OAuthBearerLoginModule required clientId=\"me\" clientSecret=\"hunter2\" scope=\"s\" extension_logicalCluster=\"lkc\";";
    let config = config(java);
    let settings = config.settings(Kind::Admin, &mut Faults::default());
    let get = |name: &str| settings.get(name).map(|said| said.value.as_str());
    assert_eq!((get("sasl.oauthbearer.client.id"), get("sasl.oauthbearer.client.secret")), (Some("me"), Some("hunter2")));
    assert_eq!((get("sasl.oauthbearer.scope"), get("sasl.oauthbearer.extensions")), (Some("s"), Some("logicalCluster=lkc")));
    assert!(login::is_issued(&settings));
    let client = config.client("admin", &[]).unwrap();
    assert_eq!((told(&client, "sasl.mechanisms").as_deref(), told(&client, "sasl.oauthbearer.method")), (Some("OAUTHBEARER"), None));
    assert_eq!(told(&client, "sasl.oauthbearer.client.secret"), None);
}

#[test]
fn spellings_that_disagree_are_refused_with_both_names() {
    let two = said("sasl.mechanism=PLAIN\nsasl.mechanisms=SCRAM-SHA-256\nsasl.username=a\nsasl.password=b\nsecurity.protocol=SASL_SSL");
    assert!(two.contains("`sasl.mechanism` and `sasl.mechanisms` set the same"), "{two}");
    let stores = said("ssl.ca.location=/a\nssl.truststore.type=PEM\nssl.truststore.location=/b");
    assert!(stores.contains("`ssl.ca.location` and `ssl.truststore.location`"), "{stores}");
    let login = "sasl.jaas.config=x.PlainLoginModule required username=\"a\" password=\"hunter2\";\nsecurity.protocol=SASL_SSL\n";
    let names = said(&format!("{login}sasl.mechanism=PLAIN\nsasl.password=hunter3"));
    assert!(names.contains("`sasl.password` and `sasl.jaas.config`") && !names.contains("hunter"), "{names}");
    assert!(said(&format!("{login}sasl.mechanism=SCRAM-SHA-256")).contains("`PlainLoginModule` is for PLAIN"));
    assert!(config("bootstrap.servers=b:1\nmetadata.broker.list=b:1").check().is_ok(), "they agree");
}

#[test]
fn what_the_engine_decides_is_refused_with_what_to_set_instead() {
    for (line, instead) in [
        ("group.id=x", "`Settings::application_id`"),
        ("enable.auto.commit=true", "`commit-interval`"),
        ("transactional.id=x", "made of the application id"),
        ("enable.idempotence=false", "leave it out"),
        ("isolation.level=read_uncommitted", "leave it out"),
        ("auto.offset.reset=latest", "`OffsetReset`"),
        ("acks=1", "all replicas"),
        ("producer.partitioner=consistent", "murmur2"),
        ("partition.assignment.strategy=range", "shared out by the engine"),
        ("enable.partition.eof=false", "where a partition ends"),
        ("session.timeout.ms=6000", "`Settings::session_timeout`"),
        ("num.stream.threads=4", "`--threads`"),
        ("dr_msg_cb=x", "no text"),
    ] {
        let told = said(line);
        let key = line.split('=').next().unwrap();
        assert!(told.starts_with(&format!("`{key}` cannot be set here: ")) && told.contains(instead), "{told}");
    }
    let agreed = "bootstrap.servers=b:1\nacks=-1\nenable.idempotence=true\nenable.auto.commit=FALSE";
    assert!(config(agreed).check().is_ok());
}

#[test]
fn unknown_names_and_impossible_values_are_told() {
    assert_eq!(said("sasl.usrname=x"), "unknown setting `sasl.usrname`: did you mean `sasl.username`?");
    assert!(said("consumer.fetch.min.byte=x").contains("`consumer.fetch.min.byte`: did you mean `fetch.min.bytes`?"));
    assert!(said("rocksdb.block=x").contains("CONFIGURATION.md"));
    assert!(said("linger.ms=soon").starts_with("`linger.ms`: Invalid value"));
    assert!(said("security.protocol=TLS").contains("security.protocol"));
    assert!(config("client.id=x").check().unwrap_err().to_string().contains("host:9092"));
    let two = said("group.id=x\nsasl.usrname=y");
    assert_eq!(two.lines().count(), 2, "all at once, and each once: {two}");
}

#[test]
fn a_login_that_cannot_work_is_told() {
    let sasl = |rest: &str| said(&format!("security.protocol=SASL_PLAINTEXT\n{rest}"));
    assert!(sasl("sasl.mechanism=GSSAPI").contains("(Kerberos) is not supported"));
    assert!(sasl("sasl.mechanism=AWS_MSK_IAM").contains("SCRAM-SHA-512, which MSK offers"));
    assert!(sasl("").contains("add `sasl.mechanism`"));
    assert!(sasl("sasl.mechanism=PLAIN\nsasl.username=a").contains("needs `sasl.password`"));
    assert!(sasl("sasl.mechanism=NTLM").contains("cannot be `NTLM`"));
    assert!(sasl("sasl.jaas.config=x.PlainLoginModule required;").contains("add `sasl.mechanism=PLAIN`"));
    assert!(sasl("sasl.mechanism=PLAIN\nsasl.jaas.config=x.PlainLoginModule required username=a;").contains("has no `password`"));
    let bearer = sasl("sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.client.id=me");
    assert!(bearer.contains("needs `sasl.oauthbearer.token.endpoint.url`") && bearer.contains("needs `sasl.oauthbearer.client.secret`"));
    let kind = "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.grant.type=urn:ietf:params:oauth:grant-type:jwt-bearer";
    assert!(sasl(kind).contains("is not supported: use client credentials"));
    let unused = said("sasl.mechanism=PLAIN\nsasl.username=a\nsasl.password=b");
    assert!(unused.contains("would not be used, with the `security.protocol` `plaintext`"), "{unused}");
}

#[test]
fn the_role_wins_where_the_engine_decides_and_the_user_elsewhere() {
    let config = KafkaConfig::new("b:1").with("linger.ms", "9").with("enable.idempotence", "true");
    let role = [("partitioner", "murmur2_random"), ("queue.buffering.max.ms", "5"), ("batch.size", "1000"), ("acks", "all")];
    let client = config.client("consumer", &role).unwrap();
    let get = |name| told(&client, name);
    assert_eq!(
        (get("queue.buffering.max.ms"), get("batch.size"), get("acks")),
        (Some("9".into()), Some("1000".into()), Some("all".into()))
    );
}

#[test]
fn secrets_are_looked_up_for_each_client_and_shown_nowhere() {
    let folder = std::env::temp_dir().join(format!("highwater-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let config = KafkaConfig::new("b:1")
        .with("security.protocol", "SASL_SSL")
        .with("sasl.mechanism", "PLAIN")
        .with("sasl.jaas.config", "x.PlainLoginModule required username=\"${env:WHO}\" password=\"hunter1 ${env:PASSWORD}\";")
        .with("ssl.key.password", format!("${{file:{}}}", file.display()))
        .with("sasl.pasword", "hunter3")
        .with_env(|name| Some(if name == "WHO" { "ann" } else { "hunter4\";" }.to_owned()));
    let wrong = config.check().unwrap_err();
    let log = super::super::KafkaLog::new(config.clone());
    let shown = format!("{config:?} {config:#?} {wrong} {wrong:?} {log:?} {:?}", LogError::from(wrong.clone()));
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("did you mean `sasl.password`?"), "{shown}");

    let config = KafkaConfig { properties: config.properties.into_iter().filter(|(key, _)| key != "sasl.pasword").collect(), ..config };
    let client = config.client("admin", &[]).unwrap();
    assert_eq!(told(&client, "sasl.password").as_deref(), Some("hunter1 hunter4\";"), "a looked-up value is no syntax");
    assert_eq!(told(&client, "ssl.key.password").as_deref(), Some("hunter2"));
    std::fs::write(&file, "hunter5").unwrap();
    assert_eq!(told(&config.client("admin", &[]).unwrap(), "ssl.key.password").as_deref(), Some("hunter5"), "read again");
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = config.client("admin", &[]).unwrap_err().to_string();
    let place = file.display().to_string();
    assert!(
        gone.contains("`ssl.key.password`: cannot read the secret in") && gone.contains(&place) && gone.contains("No such file"),
        "{gone}"
    );
}

#[test]
fn a_file_that_is_none_is_told_with_its_line() {
    let path = std::env::temp_dir().join(format!("highwater-config-{}.properties", std::process::id()));
    assert!(KafkaConfig::from_properties_file(&path).unwrap_err().to_string().contains("cannot read"));
    std::fs::write(&path, "bootstrap.servers=b:1\nclient.id=\\u00\n").unwrap();
    assert!(KafkaConfig::from_properties_file(&path).unwrap_err().to_string().contains("line 2"));
    std::fs::write(&path, "bootstrap.servers=b:1\n").unwrap();
    assert_eq!(KafkaConfig::from_properties_file(&path).unwrap().bootstrap(), "b:1");
    std::fs::remove_file(path).unwrap();
}
