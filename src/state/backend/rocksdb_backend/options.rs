//! How databases are opened, and what they share.

use std::ffi::c_int;

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options, WriteBufferManager};

use super::failed;
use super::load::LoadBudget;
use crate::error::StoreError;

/// What one family collects before it goes to a file: larger ones fall out of the processor's caches.
const WRITE_BUFFER: usize = 16 << 20;
/// What a family takes of memory at least. Many are nearly empty.
const ARENA_BLOCK: usize = 64 << 10;
/// Bytes of log that a start may have to go through. A family that is seldom written is written out when its rows hold up the log.
const LOG_SIZE: u64 = 64 << 20;
/// Open files that one database keeps at hand.
const OPEN_FILES: c_int = 64;
/// More makes files no better.
const LARGEST_LOAD: usize = 256 << 20;
const BLOOM_BITS: f64 = 10.0;
/// Bytes of a part of an index or a filter.
const PART: usize = 16 << 10;

/// What the databases of an instance share: one cache, of which blocks, filters, indexes and write buffers all take their part.
#[derive(Clone)]
pub(crate) struct Budget {
    cache: Cache,
    buffers: WriteBufferManager,
    pub(super) load: LoadBudget,
}

impl Budget {
    /// So many bytes in all; at most half of it for what is not in a file yet. Stores that are being restored take as much again
    /// as may not be in a file yet: larger files leave nothing to be merged later.
    pub(crate) fn of(memory: u64) -> Self {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let cache = Cache::new_lru_cache(memory);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(memory / 2, false, cache.clone());
        Budget { cache, buffers, load: LoadBudget::of((memory / 2).min(LARGEST_LOAD)) }
    }

    /// Of a database.
    pub(super) fn database(&self) -> Result<Options, StoreError> {
        // The crate has no method for this one: a log whose predecessor is missing, after damage to the manifest, is an error.
        let mut options = Options::default().get_options_from_string("track_and_verify_wals=true").map_err(|error| failed("*", error))?;
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_write_buffer_manager(&self.buffers);
        options.set_max_total_wal_size(LOG_SIZE);
        options.set_max_open_files(OPEN_FILES);
        options.set_max_background_jobs(2);
        options.set_stats_dump_period_sec(0);
        options.set_log_level(LogLevel::Error);
        options.set_keep_log_file_num(1);
        Ok(options)
    }

    /// Of a column family.
    pub(super) fn family(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_cache_index_and_filter_blocks(true);
        // In parts: a filter that is larger than a shard of the cache would be read from its file at every look-up.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(PART);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_size(WRITE_BUFFER);
        options.set_arena_block_size(ARENA_BLOCK);
        options.set_compression_type(DBCompressionType::Lz4);
        options
    }
}
