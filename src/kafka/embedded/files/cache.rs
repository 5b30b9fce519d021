//! Blocks read back from segments, kept for the next reader.

use std::sync::{Arc, Mutex};

use hashbrown::HashMap;

use crate::kafka::LogError;
use crate::kafka::embedded::block::Block;
use crate::kafka::embedded::lock;

/// Which file, and where in it the block begins.
pub(super) type Place = (u64, u64);

/// As many blocks as fit into a number of bytes, those used last.
#[derive(Debug)]
pub(super) struct BlockCache {
    budget: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: HashMap<Place, (Arc<Block>, u64)>,
    bytes: usize,
    uses: u64,
}

impl BlockCache {
    pub(super) fn new(budget: usize) -> Self {
        BlockCache { budget, kept: Mutex::default() }
    }

    /// The block of a place that ends at `end`: a longer or shorter one of the same place is another block.
    pub(super) fn get(&self, place: Place, end: i64, load: impl FnOnce() -> Result<Block, LogError>) -> Result<Arc<Block>, LogError> {
        if let Some(block) = lock(&self.kept).used(place).filter(|block| block.end() == end) {
            return Ok(block);
        }
        let block = Arc::new(load()?);
        lock(&self.kept).keep(place, block.clone(), self.budget);
        Ok(block)
    }
}

impl Kept {
    fn used(&mut self, place: Place) -> Option<Arc<Block>> {
        self.uses += 1;
        let (block, used) = self.blocks.get_mut(&place)?;
        *used = self.uses;
        Some(block.clone())
    }

    fn keep(&mut self, place: Place, block: Arc<Block>, budget: usize) {
        self.uses += 1;
        self.bytes += block.weight();
        if let Some((replaced, _)) = self.blocks.insert(place, (block, self.uses)) {
            self.bytes -= replaced.weight();
        }
        while self.bytes > budget && self.blocks.len() > 1 {
            let oldest = self.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(place, _)| *place).expect("more than one");
            let (dropped, _) = self.blocks.remove(&oldest).expect("just found");
            self.bytes -= dropped.weight();
        }
    }
}
