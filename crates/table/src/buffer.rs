//! Memory of one page.

use crate::block::Block;
use bytemuck::{Pod, Zeroable};
use memmap2::MmapMut;

/// Floats, aligned to cache lines; large ones in memory of their own that asks for huge pages, whole small pages in a block of
/// such memory.
#[derive(Debug)]
pub(crate) enum Buffer {
    Heap(Vec<Line>),
    Block(Block),
    Mapped(MmapMut),
}

/// A cache line of floats: rows of 8 or 16 floats never straddle two.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; LINE]);

const LINE: usize = 16;

/// Size of a huge page on most machines.
pub(crate) const HUGE: usize = 2 << 20;

impl Buffer {
    /// At least `len` floats, each of them `value`; `whole` where they fill their page, so that they will not grow.
    pub(crate) fn new(len: usize, value: f32, whole: bool) -> Buffer {
        let (bytes, lines, line) = (len * size_of::<f32>(), len.div_ceil(LINE), Line([value; LINE]));
        match (bytes * 2 > HUGE).then(|| map(bytes)).flatten() {
            None => match whole.then(|| Block::new(lines, line)).flatten() {
                Some(block) => Buffer::Block(block),
                None => Buffer::Heap(vec![line; lines]),
            },
            Some(map) => {
                let mut buffer = Buffer::Mapped(map);
                if value.to_bits() != 0 {
                    buffer.floats_mut().fill(value);
                }
                buffer
            }
        }
    }

    /// Grows to at least `len` floats; new ones are `value`. Other memory than the heap's keeps its length, which is that of a
    /// whole page; what becomes one moves there.
    pub(crate) fn grow(&mut self, len: usize, value: f32, whole: bool) {
        let Buffer::Heap(lines) = self else { return };
        match whole && lines.len() < len.div_ceil(LINE) {
            false => lines.resize(len.div_ceil(LINE), Line([value; LINE])),
            true => {
                let mut grown = Buffer::new(len, value, true);
                grown.floats_mut()[..lines.len() * LINE].copy_from_slice(bytemuck::cast_slice(lines));
                *self = grown;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn floats(&self) -> &[f32] {
        match self {
            Buffer::Heap(lines) => bytemuck::cast_slice(lines),
            Buffer::Block(block) => bytemuck::cast_slice(block.lines()),
            Buffer::Mapped(map) => bytemuck::cast_slice(map),
        }
    }

    #[inline(always)]
    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Buffer::Heap(lines) => bytemuck::cast_slice_mut(lines),
            Buffer::Block(block) => bytemuck::cast_slice_mut(block.lines_mut()),
            Buffer::Mapped(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let mut copy = Buffer::new(self.floats().len(), 0.0, matches!(self, Buffer::Block(_)));
        copy.floats_mut()[..self.floats().len()].copy_from_slice(self.floats());
        copy
    }
}

/// Zeroed memory that asks for huge pages: random rows of a table of gigabytes otherwise wait for its page tables as
/// often as for the rows. `None` where the system refuses; asking for huge pages may fail without harm.
#[cfg(target_os = "linux")]
pub(crate) fn map(bytes: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(bytes).ok()?;
    map.advise(memmap2::Advice::HugePage).ok();
    Some(map)
}

/// Other systems choose the size of pages themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn map(_bytes: usize) -> Option<MmapMut> {
    None
}
