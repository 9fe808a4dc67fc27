//! Memory of one page.

use bytemuck::{Pod, Zeroable};
use memmap2::MmapMut;

/// Floats, aligned to cache lines; large ones in memory of their own that asks for huge pages.
#[derive(Debug)]
pub(crate) enum Buffer {
    Heap(Vec<Line>),
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
    /// At least `len` floats, each of them `value`.
    pub(crate) fn new(len: usize, value: f32) -> Buffer {
        let bytes = len * size_of::<f32>();
        match (bytes * 2 > HUGE).then(|| map(bytes)).flatten() {
            None => Buffer::Heap(vec![Line([value; LINE]); len.div_ceil(LINE)]),
            Some(map) => {
                let mut buffer = Buffer::Mapped(map);
                if value.to_bits() != 0 {
                    buffer.floats_mut().fill(value);
                }
                buffer
            }
        }
    }

    /// Grows to at least `len` floats; new ones are `value`. Mapped memory keeps its length, which is that of a whole
    /// page.
    pub(crate) fn grow(&mut self, len: usize, value: f32) {
        if let Buffer::Heap(lines) = self {
            lines.resize(len.div_ceil(LINE), Line([value; LINE]));
        }
    }

    #[inline(always)]
    pub(crate) fn floats(&self) -> &[f32] {
        match self {
            Buffer::Heap(lines) => bytemuck::cast_slice(lines),
            Buffer::Mapped(map) => bytemuck::cast_slice(map),
        }
    }

    #[inline(always)]
    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Buffer::Heap(lines) => bytemuck::cast_slice_mut(lines),
            Buffer::Mapped(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let mut copy = Buffer::new(self.floats().len(), 0.0);
        copy.floats_mut()[..self.floats().len()].copy_from_slice(self.floats());
        copy
    }
}

/// Zeroed memory that asks for huge pages: random rows of a table of gigabytes otherwise wait for its page tables as
/// often as for the rows. `None` where the system refuses; asking for huge pages may fail without harm.
#[cfg(target_os = "linux")]
fn map(bytes: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(bytes).ok()?;
    map.advise(memmap2::Advice::HugePage).ok();
    Some(map)
}

/// Other systems choose the size of pages themselves.
#[cfg(not(target_os = "linux"))]
fn map(_bytes: usize) -> Option<MmapMut> {
    None
}
