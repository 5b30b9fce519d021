//! Secrets that cannot be read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use highwater::kafka::{KafkaConfig, KafkaLog};
use highwater::{ErrorKind, Launch, Settings, StreamsBuilder, Topic};

/// What is said at the start of an application whose password is in that file.
fn said_of(path: &Path) -> String {
    let builder = StreamsBuilder::new();
    builder.stream(Topic::<String, String>::new("in")).to(Topic::<String, String>::new("out"));
    let password = format!("hunter2${{file:{}}}", path.display());
    let config = KafkaConfig::new("127.0.0.1:1").with("security.protocol", "SASL_PLAINTEXT").with("sasl.mechanism", "PLAIN");
    let config = config.with("sasl.username", "shop").with("sasl.password", password);
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let log = Arc::new(KafkaLog::new(config));
    let error = Launch::new(&builder.build().unwrap(), Settings::new("shop"), log).start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    format!("{error} {error:?}")
}

#[test]
fn a_secret_that_cannot_be_read_is_refused_at_start_and_not_shown() {
    let folder = std::env::temp_dir().join(format!("highwater-fault-secrets-{}", std::process::id()));
    fs::create_dir_all(folder.join("a-folder")).unwrap();
    symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    for (name, words) in [
        ("missing", "No such file"),
        ("dangling", "No such file"),
        ("a-folder", "Is a directory"),
        ("empty", "is empty"),
        ("binary", "UTF-8"),
    ] {
        let said = said_of(&folder.join(name));
        assert!(said.contains(&folder.join(name).display().to_string()) && said.contains(words), "{said}");
        assert!(said.contains("sasl.password") && !said.contains("hunter2"), "{said}");
    }
    fs::remove_dir_all(folder).unwrap();
}
