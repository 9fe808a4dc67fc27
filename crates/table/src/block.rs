//! Memory of small pages, cut from huge ones.
//!
//! Rows of a batch lie anywhere in their tables. With a page of memory for every few of them, a processor looks for the page as
//! often as for the row: a table of 40,000 rows, whose planes are too small for huge pages of their own, shares them with others.

use crate::buffer::{HUGE, Line, map};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Lines that are ours alone until they are dropped; then the next block of as many lines is made of them.
#[derive(Debug)]
pub(crate) struct Block(&'static mut [Line]);

/// What is not in use, by number of lines. It grows to the most that was ever in use at once, and is not given back to the
/// system: what one version needs the next one will.
static FREE: Mutex<BTreeMap<usize, Vec<&'static mut [Line]>>> = Mutex::new(BTreeMap::new());

/// Memory to take from the system at once. Not each huge page of it may be had, but all except its ends.
const SLAB: usize = 4 * HUGE;

impl Block {
    /// So many lines, each of them `line`; `None` where the system has no memory of this kind, and for blocks that would fill
    /// much of a huge page.
    pub(crate) fn new(lines: usize, line: Line) -> Option<Block> {
        if lines == 0 || lines * size_of::<Line>() * 8 > HUGE {
            return None;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let free = free.entry(lines).or_default();
        if free.is_empty() {
            let slab: &'static mut [u8] = &mut *Box::leak(Box::new(map(SLAB)?));
            free.extend(bytemuck::cast_slice_mut::<u8, Line>(slab).chunks_exact_mut(lines).rev());
        }
        let block = free.pop()?;
        block.fill(line);
        Some(Block(block))
    }

    #[inline(always)]
    pub(crate) fn lines(&self) -> &[Line] {
        self.0
    }

    #[inline(always)]
    pub(crate) fn lines_mut(&mut self) -> &mut [Line] {
        self.0
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.0);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(block.len()).or_default().push(block);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    /// 77 lines: a size that no other test has.
    #[test]
    fn blocks_are_apart_and_used_again() {
        let zero = Line::zeroed();
        let mut blocks: Vec<Block> = (0..3000).map(|_| Block::new(77, zero).unwrap()).collect();
        let mut starts: Vec<usize> = blocks.iter().map(|block| block.lines().as_ptr() as usize).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 77 * size_of::<Line>()));
        bytemuck::cast_slice_mut::<Line, f32>(blocks[7].lines_mut()).fill(1.0);
        assert!(blocks[6].lines().iter().chain(blocks[8].lines()).all(|line| *line == zero));
        let start = blocks[7].lines().as_ptr();
        drop(blocks.remove(7));
        let again = Block::new(77, zero).unwrap();
        assert_eq!((again.lines().as_ptr(), again.lines()[0]), (start, zero));
    }

    #[test]
    fn large_ones_are_not_made() {
        assert!(Block::new(HUGE / size_of::<Line>(), Line::zeroed()).is_none());
        assert!(Block::new(0, Line::zeroed()).is_none());
    }
}
