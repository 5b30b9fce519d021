//! The jars of the broker: fetched once with Maven into a cache that all test binaries share.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERSION: &str = "4.3.1";

/// The folder of the jars, which are fetched first if need be; or why there is none.
pub(crate) fn folder() -> Result<PathBuf, String> {
    works("java", "-version")?;
    let folder = wanted().ok_or("there is no home folder to keep the jars of Kafka in; HIGHWATER_KAFKA_JARS names one")?;
    if is_whole(&folder) {
        return Ok(folder);
    }
    works("mvn", "--version")?;
    fetch(&folder).map_err(|why| format!("the jars of Kafka {VERSION} cannot be fetched into {}: {why}", folder.display()))?;
    Ok(folder)
}

fn wanted() -> Option<PathBuf> {
    let named = std::env::var_os("HIGHWATER_KAFKA_JARS").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/highwater").join(format!("kafka-{VERSION}"))))
}

fn is_whole(folder: &Path) -> bool {
    folder.join(format!("kafka_2.13-{VERSION}.jar")).is_file()
}

fn works(program: &str, argument: &str) -> Result<(), String> {
    let done = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success()).then_some(()).ok_or_else(|| format!("there is no {program} that works"))
}

/// One process fetches, the others wait for it. The folder appears whole or not at all.
fn fetch(folder: &Path) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let parent = folder.parent().ok_or("it has no parent folder")?;
    fs::create_dir_all(parent).map_err(text)?;
    let lock = File::create(folder.with_extension("lock")).map_err(text)?;
    lock.lock().map_err(text)?;
    if is_whole(folder) {
        return Ok(());
    }
    let half = folder.with_extension(format!("half-{}", std::process::id()));
    fs::create_dir_all(&half).map_err(text)?;
    fs::write(half.join("pom.xml"), include_str!("pom.xml")).map_err(text)?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=."]);
    let done = maven.current_dir(&half).stdin(Stdio::null()).output().map_err(text)?;
    if !done.status.success() {
        let _ = fs::remove_dir_all(&half);
        return Err(format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)));
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(&half, folder).map_err(text)
}
