//! Which library keeps rows on disk: RocksDB, or in a build without it fjall.

use std::path::Path;

use crate::error::StoreError;
use crate::state::backend::{StoreBackend, fjall_backend};
use crate::state::home::FileList;

#[cfg(feature = "rocksdb")]
use crate::state::backend::rocksdb_backend;

/// A library that this build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Pure Rust, in every build.
    #[cfg_attr(not(feature = "rocksdb"), default)]
    #[cfg_attr(all(feature = "rocksdb", not(test)), expect(dead_code, reason = "a build with both keeps rows with the other one"))]
    Fjall,
    /// C++.
    #[cfg(feature = "rocksdb")]
    #[default]
    RocksDb,
}

/// A folder of rows as any build may have left it.
pub(crate) struct Kept {
    /// Its name in the folder of a task.
    pub(crate) folder: &'static str,
    /// Who wrote it.
    pub(crate) by: &'static str,
    /// The file in it that is locked while somebody uses it.
    pub(crate) lock: &'static str,
}

/// How each library's rows are kept, of this build's and others'.
pub(crate) const KEPT: [Kept; 2] =
    [Kept { folder: "db", by: "fjall", lock: "lock" }, Kept { folder: "rocksdb", by: "RocksDB", lock: "held" }];

impl Engine {
    /// All that this build has.
    #[cfg(test)]
    pub(in crate::state) const ALL: &[Engine] = &[
        Engine::Fjall,
        #[cfg(feature = "rocksdb")]
        Engine::RocksDb,
    ];

    /// How its rows are kept.
    pub(crate) fn kept(self) -> &'static Kept {
        match self {
            Engine::Fjall => &KEPT[0],
            #[cfg(feature = "rocksdb")]
            Engine::RocksDb => &KEPT[1],
        }
    }
    /// The file in which the library lists those of a folder, if it has such a one.
    pub(crate) fn list(self, folder: &Path) -> Option<FileList> {
        match self {
            Engine::Fjall => {
                let _ = folder; // nothing in it is one
                None
            }
            #[cfg(feature = "rocksdb")]
            Engine::RocksDb => {
                let name = std::fs::read_to_string(folder.join("CURRENT")).ok()?.trim().to_owned();
                let bytes = std::fs::metadata(folder.join(&name)).ok()?.len();
                Some(FileList { name, bytes })
            }
        }
    }
    /// Shares out so many bytes of memory among databases to be opened.
    pub(crate) fn budget(self, memory: u64) -> Budget {
        match self {
            Engine::Fjall => Budget::Fjall(fjall_backend::Budget::of(memory)),
            #[cfg(feature = "rocksdb")]
            Engine::RocksDb => Budget::RocksDb(rocksdb_backend::Budget::of(memory)),
        }
    }
}

/// What the databases of an instance may use together.
#[derive(Clone)]
pub(crate) enum Budget {
    /// Of fjall.
    Fjall(fjall_backend::Budget),
    /// Of RocksDB.
    #[cfg(feature = "rocksdb")]
    RocksDb(rocksdb_backend::Budget),
}

impl Budget {
    /// Opens the database in the folder, or makes it. What the folder holds may be damaged, which is an error like any other.
    pub(crate) fn open(&self, folder: &Path) -> Result<Box<dyn TaskDatabase>, StoreError> {
        Ok(match self {
            Budget::Fjall(budget) => Box::new(fjall_backend::FjallDatabase::open(folder, budget)?),
            #[cfg(feature = "rocksdb")]
            Budget::RocksDb(budget) => Box::new(rocksdb_backend::RocksDatabase::open(folder, budget)?),
        })
    }
}

/// The stores of one task on disk.
pub(crate) trait TaskDatabase: Send {
    /// The rows of a store.
    fn store(&self, name: &str) -> Result<Box<dyn StoreBackend>, StoreError>;
    /// The same without the rows that were there.
    fn store_wiped(&self, name: &str) -> Result<Box<dyn StoreBackend>, StoreError>;
    /// Everything applied so far survives a power loss from here on.
    fn sync(&self) -> Result<(), StoreError>;
}

/// Whether a failed write says that files are damaged, of whatever store of the task.
pub(crate) fn is_damage(error: &StoreError) -> bool {
    match error {
        #[cfg(feature = "rocksdb")]
        StoreError::Backend { source, .. } => rocksdb_backend::is_damage(&**source),
        _ => false,
    }
}

/// The database could not be opened because it is open elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("the database is open elsewhere")]
pub(super) struct InUse;

/// Whether the database could not be opened for want of something that has nothing to do with what it holds: space, open files, rights.
pub(crate) fn is_want(error: &StoreError) -> bool {
    use std::error::Error;
    use std::io::ErrorKind::{OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let StoreError::Backend { source, .. } = error else { return false };
    #[cfg(feature = "rocksdb")]
    if rocksdb_backend::is_want(&**source) {
        return true;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&**source);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied | OutOfMemory);
        }
        cause = error.source();
    }
    false
}

/// Whether the database could not be opened because it is open elsewhere.
pub(crate) fn is_in_use(error: &StoreError) -> bool {
    matches!(error, StoreError::Backend { source, .. } if source.is::<InUse>())
}
