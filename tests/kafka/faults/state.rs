//! State on the disk: the disk is full, or holds other bytes than were written to it.
#![cfg(feature = "rocksdb")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use highwater::{Streams, StreamsBuilder, Topology};

use super::stage::{Stage, finish, one_to, taken, until};

/// A file system of its own, so small that it is soon full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// # Panics
    ///
    /// Where nothing can be mounted: then this was not shown, and nobody shall think so.
    fn mount(at: &Path, megabytes: usize) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "highwater-test"]).arg(at).output().unwrap();
        let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(mounted.status.success(), "A FULL DISK CANNOT BE SHOWN HERE: `mount -t tmpfs` needs to be root with CAP_SYS_ADMIN: {why}");
        SmallDisk(at.to_owned())
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        let block = vec![0x55; 64 << 10];
        while file.write_all(&block).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// `in` counted by key; and with no state at all, each record of `plain` to `copy`.
fn count_and_copy(stage: &Stage) -> Topology {
    let builder = StreamsBuilder::new();
    let counts = builder.stream(stage.topic::<String, String>("in")).group_by_key().count("counts");
    counts.to_stream().map_values(Option::unwrap_or_default).to(stage.topic::<String, i64>("out"));
    builder.stream(stage.topic::<String, String>("plain")).to(stage.topic::<String, String>("copy"));
    builder.build().unwrap()
}

#[test]
fn a_full_disk_suspends_its_tasks_and_nothing_is_lost_or_doubled_when_there_is_space_again() {
    const KEYS: usize = 2_000;
    let Some(stage) = Stage::new("full") else { return };
    let disk = SmallDisk::mount(stage.folder(), 24);
    for topic in ["in", "out", "plain", "copy"] {
        stage.make(topic, 1, &[]);
    }
    stage.write_keys("in", 0, "k", 2 * KEYS, KEYS);
    let streams = stage.start(&count_and_copy(&stage));
    taken(&streams, 2 * KEYS as u64);
    disk.fill();
    let state_of = |streams: &Streams| streams.progress().tasks.values().map(|task| task.state.clone()).collect::<Vec<_>>();
    // RocksDB takes small batches into a log that has room yet: so many that it has not.
    let mut written = 2;
    until("the disk is full", || {
        stage.write_keys("in", 0, "k", KEYS, KEYS);
        written += 1;
        state_of(&streams).contains(&"restoring".to_owned())
    });
    assert!(streams.errors().is_empty(), "it is no end: {:?}", streams.errors());
    stage.write_keys("plain", 0, "p", 10, 1);
    until("other tasks go on", || stage.read("copy").len() == 10);
    // It tries again now and then, and for that moment it runs.
    until("the task waits for space", || state_of(&streams) == ["restoring", "running"]);
    disk.free();
    finish(streams);
    let counts = stage.counts("out");
    assert_eq!(counts.len(), KEYS);
    counts.iter().for_each(|(key, counts)| assert_eq!(*counts, one_to(written), "{key}"));
    stage.write_keys("in", 0, "k", KEYS, KEYS);
    assert_eq!(stage.run(&count_and_copy(&stage)), 0, "the state is whole");
    assert!(stage.counts("out").values().all(|counts| *counts == one_to(written + 1)));
}

/// What is done to the files of a task that is stopped.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(&'static str),
    Cut(&'static str),
    Remove(&'static str),
}

impl Damage {
    /// Damages the first file whose name begins or ends so.
    fn inflict(self, folder: &Path) {
        let name = match self {
            Damage::Flip(name) | Damage::Cut(name) | Damage::Remove(name) => name,
        };
        let fits = |path: &PathBuf| {
            path.file_name().and_then(|found| found.to_str()).is_some_and(|found| found.starts_with(name) || found.ends_with(name))
        };
        let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(fits).collect();
        found.sort();
        let path = found.first().unwrap_or_else(|| panic!("no {name} in {}", folder.display()));
        let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        match self {
            Damage::Flip(_) => {
                let at = length / 3;
                let mut byte = [0];
                file.seek(SeekFrom::Start(at)).unwrap();
                file.read_exact(&mut byte).unwrap();
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&[byte[0] ^ 0x40]).unwrap();
            }
            Damage::Cut(_) => file.set_len(length / 2).unwrap(),
            Damage::Remove(_) => fs::remove_file(path).unwrap(),
        }
    }
}

/// Two stores in one task: counts of all and sums of lengths, so that one can be damaged and the other not.
fn two_stores(stage: &Stage) -> Topology {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream(stage.topic::<String, String>("in")).group_by_key();
    grouped.count("counts").to_stream().map_values(Option::unwrap_or_default).to(stage.topic::<String, i64>("out"));
    let longest = grouped.reduce("longest", |one, other| if one.len() > other.len() { one } else { other });
    longest.to_stream().map_values(|value| value.unwrap_or_default().len() as i64).to(stage.topic::<String, i64>("lengths"));
    builder.build().unwrap()
}

#[test]
fn damaged_files_are_noticed_and_their_stores_rebuilt() {
    const KEYS: usize = 21_000;
    let cases = [
        Damage::Flip(".sst"),
        Damage::Cut(".sst"),
        Damage::Remove(".sst"),
        Damage::Flip("CURRENT"),
        Damage::Flip("MANIFEST"),
        Damage::Cut("MANIFEST"),
        Damage::Remove("CURRENT"),
    ];
    for (number, damage) in cases.into_iter().enumerate() {
        let Some(stage) = Stage::new(&format!("damaged-{number}")) else { return };
        stage.make("in", 1, &[]);
        stage.make("out", 1, &[]);
        stage.make("lengths", 1, &[]);
        stage.write_keys("in", 0, "k", 2 * KEYS, KEYS);
        stage.run(&two_stores(&stage));
        // What is restored at once lies in files, and not only in the log.
        fs::remove_dir_all(stage.state()).unwrap();
        stage.write_keys("in", 0, "other", 1, 1);
        stage.run(&two_stores(&stage));
        damage.inflict(&stage.state().join("0_0/rocksdb"));
        stage.write_keys("in", 0, "k", KEYS, KEYS);
        let rebuilt = stage.run(&two_stores(&stage));
        let counts: BTreeMap<_, _> = stage.counts("out");
        let exact = |(key, counts): (&String, &Vec<i64>)| *counts == one_to(if key == "other0" { 1 } else { 3 });
        assert!(counts.len() == KEYS + 1 && counts.iter().all(exact), "{damage:?}: {:?}", counts.get("k0"));
        assert!((1..=2).contains(&rebuilt), "{damage:?}");
    }
}
