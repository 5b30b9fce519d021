//! The cluster that a command works on, from what was typed and from what a job file says.
//!
//! What is said nearer to the person wins: `--bootstrap` before `-X`, `-X` before the file of `--kafka-config`, that before the job file.

use std::sync::Arc;

use anyhow::Result;
use highwater::kafka::Connect;
use highwater::{Error, Settings, SystemClock, patiently};

use super::args::ClusterArgs;
use super::failure::UsageError;
use super::job::JobFile;
use super::notices::Notice;
use super::tell;

/// The cluster, if one was named.
pub(crate) fn open(args: &ClusterArgs, file: Option<&JobFile>) -> Result<Option<Arc<dyn Connect>>> {
    if !args.is_said() && file.is_none_or(|file| file.kafka.is_none()) {
        return Ok(None);
    }
    client::open(args, file).map(Some)
}

/// Asks a cluster that may not be there yet, for as long as the start of an application waits. Says soon that it does not answer, and why as soon as that is
/// known.
pub(crate) fn waited_for<T>(ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let within = Settings::new("any").start_timeout;
    let mut silence =
        Some(Notice::soon(format!("the cluster has not answered yet: waiting for at most {} s; Ctrl-C ends this", within.as_secs())));
    let on_wait = |error: &Error| {
        silence.take();
        tell(&format!("waiting for the cluster, for at most {} s: {error}", within.as_secs()));
    };
    patiently(within, &SystemClock, on_wait, ask)
}

/// The cluster of a command that needs one.
pub(crate) fn must(args: &ClusterArgs) -> Result<Arc<dyn Connect>> {
    open(args, None)?
        .ok_or_else(|| UsageError("neither a folder nor a cluster is named: say a folder, or `--bootstrap HOST:PORT`".to_owned()).into())
}

#[cfg(not(feature = "kafka"))]
mod client {
    use super::*;

    pub(super) fn open(_: &ClusterArgs, _: Option<&JobFile>) -> Result<Arc<dyn Connect>> {
        Err(UsageError("this build knows no clusters: build it with the feature `kafka`, or use `--data FOLDER`".to_owned()).into())
    }
}

#[cfg(feature = "kafka")]
mod client {
    use highwater::kafka::{KafkaConfig, KafkaConfigError, KafkaLog};

    use super::*;
    use crate::cli::job::JobFileError;

    pub(super) fn open(args: &ClusterArgs, file: Option<&JobFile>) -> Result<Arc<dyn Connect>> {
        let config = config(args, file)?;
        config.check().map_err(|error| told(&error, file))?;
        for key in config.passed_over() {
            tell(&format!("note: `{key}` has nothing to set here and is passed over"));
        }
        Ok(Arc::new(KafkaLog::new(config)))
    }

    pub(super) fn config(args: &ClusterArgs, file: Option<&JobFile>) -> Result<KafkaConfig> {
        let mut config = match &args.kafka_config {
            Some(path) => KafkaConfig::from_properties_file(path).map_err(|error| UsageError(error.to_string()))?,
            None => KafkaConfig::default(),
        };
        if let Some(section) = file.and_then(|file| file.kafka.as_ref()) {
            for (key, (_, value)) in &section.properties {
                config = config.or(key.as_str(), value.as_str());
            }
            if let Some(bootstrap) = &section.bootstrap {
                config = config.or("bootstrap.servers", bootstrap.as_str());
            }
        }
        for property in &args.properties {
            config = config.with(property.key.as_str(), property.value.as_str());
        }
        if let Some(bootstrap) = &args.bootstrap {
            config = config.with("bootstrap.servers", bootstrap.as_str());
        }
        Ok(config.with_env(|name| std::env::var(name).ok()))
    }

    /// What is wrong, at its place in the job file if everything is there; else as a mistake of the command line.
    fn told(error: &KafkaConfigError, file: Option<&JobFile>) -> anyhow::Error {
        let place = |key: &str| Some(file?.kafka.as_ref()?.properties.get(key)?.0);
        let placed: Vec<_> = error.problems().map(|(key, text)| (place(key), text.to_owned())).collect();
        match (file, placed.iter().map(|(at, text)| Some(((*at)?, text.clone()))).collect::<Option<Vec<_>>>()) {
            (Some(file), Some(problems)) => JobFileError::of(&file.name, problems).into(),
            _ => UsageError(error.to_string()).into(),
        }
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::cli::job;
    use crate::topologies::ALL;

    fn typed(args: &[&str]) -> ClusterArgs {
        match Cli::parse_from(["highwater", "run", "job.yaml"].iter().chain(args)).command {
            Command::Run(run) => run.cluster,
            other => panic!("{other:?}"),
        }
    }

    fn file(section: &str) -> JobFile {
        job::parse("job.yaml", &format!("{}{section}", ALL[0].example)).expect("a good file")
    }

    #[test]
    fn what_is_said_nearer_to_the_person_wins() {
        let path = std::env::temp_dir().join(format!("highwater-client-{}.properties", std::process::id()));
        std::fs::write(&path, "bootstrap.servers=file:1\nclient.id=file\nclient.rack=file\n").unwrap();
        let file = file("kafka:\n  bootstrap: job:1\n  properties:\n    client.id: job\n    client.rack: job\n    linger.ms: 7\n");
        let shown = |args: &[&str]| format!("{:?}", client::config(&typed(args), Some(&file)).unwrap());
        assert_eq!(shown(&[]), r#"{"bootstrap.servers": "job:1", "client.id": "job", "client.rack": "job", "linger.ms": "7"}"#);
        let path = path.to_str().unwrap();
        let all = ["--kafka-config", path, "-X", "client.id=typed", "-X", "bootstrap.servers=typed:1", "--bootstrap", "b:1"];
        assert_eq!(shown(&all), r#"{"bootstrap.servers": "b:1", "client.id": "typed", "client.rack": "file", "linger.ms": "7"}"#);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_mistake_in_the_job_file_is_told_with_its_place() {
        let lines = ALL[0].example.lines().count();
        let file = file("kafka:\n  bootstrap: b:1\n  properties:\n    sasl.usrname: x\n    acks: 1\n");
        let said = open(&typed(&[]), Some(&file)).unwrap_err().to_string();
        assert!(said.contains(&format!("job.yaml:{}:5: unknown setting `sasl.usrname`: did you mean", lines + 4)), "{said}");
        assert!(said.contains(&format!("job.yaml:{}:5: `acks` cannot be set here", lines + 5)), "{said}");
    }

    #[test]
    fn secrets_that_were_typed_are_not_shown() {
        let args = typed(&["--bootstrap", "b:1", "-X", "sasl.password=hunter2", "-X", "nonsense=hunter2"]);
        let said = open(&args, None).unwrap_err().to_string();
        assert!(!format!("{args:?} {said}").contains("hunter2") && said.contains("`nonsense`"), "{said}");
        let section = file("kafka: {bootstrap: x, properties: {sasl.password: hunter2}}\n");
        assert!(!format!("{section:?}").contains("hunter2"));
    }
}
