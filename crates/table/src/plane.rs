//! Rows of floats in pages that are copied on write.

use bytemuck::{Pod, Zeroable};
use std::sync::Arc;

/// One float per row and dimension, for the rows of one shard.
///
/// A page that was never written is not allocated; its rows hold the initial value.
/// A clone shares the shared pages and copies the others.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    dim: usize,
    rows: usize,
    initial: f32,
    /// Rows per page, as a power of two.
    page_bits: u32,
    pages: Vec<Page>,
}

#[derive(Debug, Clone)]
enum Page {
    /// All rows hold the initial value.
    Unset,
    /// Ours alone: writing costs nothing more.
    Owned(Vec<Line>),
    /// Shared with snapshots, until the first write takes it back or copies it.
    Shared(Arc<Vec<Line>>),
}

/// A cache line of floats: rows of 8 or 16 floats never straddle two.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// Size of a page, at most. Small pages let snapshots share more, large ones need fewer look-ups.
const PAGE_BYTES: usize = 32 * 1024;

impl Plane {
    /// A plane without rows.
    pub(crate) fn new(dim: usize, initial: f32) -> Plane {
        let page_bits = (PAGE_BYTES / (dim * size_of::<f32>())).max(1).ilog2();
        Plane { dim, rows: 0, initial, page_bits, pages: Vec::new() }
    }

    /// What rows hold before they are written.
    pub(crate) fn initial(&self) -> f32 {
        self.initial
    }

    /// Appends rows with the initial value.
    pub(crate) fn grow_to(&mut self, rows: usize) {
        let (old, old_last) = (self.rows, self.pages.len().wrapping_sub(1));
        self.rows = rows;
        self.pages.resize_with(rows.div_ceil(1 << self.page_bits), || Page::Unset);
        if old > 0 && !matches!(self.pages[old_last], Page::Unset) {
            let lines = self.lines_of(old_last);
            let fill = Line([self.initial; LINE]);
            self.owned(old_last).resize(lines, fill);
        }
    }

    /// A row; `None` where its page was never written.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Option<&[f32]> {
        let lines = match &self.pages[row >> self.page_bits] {
            Page::Owned(lines) => lines,
            Page::Shared(lines) => lines,
            Page::Unset => return None,
        };
        let from = self.offset(row);
        Some(&floats(lines)[from..from + self.dim])
    }

    /// A row to be written.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let (from, dim) = (self.offset(row), self.dim);
        &mut floats_mut(self.owned(row >> self.page_bits))[from..from + dim]
    }

    /// A plane with the same content that shares all pages; from now on both copy what they write.
    pub(crate) fn share(&mut self) -> Plane {
        let pages = self.pages.iter_mut().map(Page::share).collect();
        Plane { pages, ..*self }
    }

    /// Bytes of allocated pages, shared ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().map(|page| size_of_val(page.lines())).sum()
    }

    /// Number of allocated pages and how many of them are the same memory in `other`.
    pub(crate) fn pages_shared_with(&self, other: &Plane) -> (usize, usize) {
        let allocated = self.pages.iter().filter(|page| !page.lines().is_empty()).count();
        let same =
            |(mine, theirs): &(&Page, &Page)| !mine.lines().is_empty() && std::ptr::eq(mine.lines(), theirs.lines());
        (allocated, self.pages.iter().zip(&other.pages).filter(same).count())
    }

    #[inline(always)]
    fn offset(&self, row: usize) -> usize {
        (row & ((1 << self.page_bits) - 1)) * self.dim
    }

    /// Lines of a page that hold rows; only the last page may have fewer than the others.
    fn lines_of(&self, page: usize) -> usize {
        let first = page << self.page_bits;
        let rows = (self.rows - first).min(1 << self.page_bits);
        (rows * self.dim).div_ceil(LINE)
    }

    #[inline(always)]
    fn owned(&mut self, page: usize) -> &mut Vec<Line> {
        if !matches!(self.pages[page], Page::Owned(_)) {
            self.own(page);
        }
        match &mut self.pages[page] {
            Page::Owned(lines) => lines,
            _ => unreachable!("it was made owned a line above"),
        }
    }

    #[cold]
    #[inline(never)]
    fn own(&mut self, page: usize) {
        let lines = match std::mem::replace(&mut self.pages[page], Page::Unset) {
            Page::Unset => vec![Line([self.initial; LINE]); self.lines_of(page)],
            Page::Owned(lines) => lines,
            Page::Shared(shared) => Arc::unwrap_or_clone(shared),
        };
        self.pages[page] = Page::Owned(lines);
    }
}

impl Page {
    fn share(&mut self) -> Page {
        let shared = match std::mem::replace(self, Page::Unset) {
            Page::Unset => return Page::Unset,
            Page::Owned(lines) => Arc::new(lines),
            Page::Shared(lines) => lines,
        };
        *self = Page::Shared(Arc::clone(&shared));
        Page::Shared(shared)
    }

    fn lines(&self) -> &[Line] {
        match self {
            Page::Unset => &[],
            Page::Owned(lines) => lines,
            Page::Shared(lines) => lines,
        }
    }
}

#[inline(always)]
fn floats(lines: &[Line]) -> &[f32] {
    bytemuck::cast_slice(lines)
}

#[inline(always)]
fn floats_mut(lines: &mut [Line]) -> &mut [f32] {
    bytemuck::cast_slice_mut(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritten_pages_cost_nothing_and_hold_the_initial_value() {
        let mut plane = Plane::new(8, 0.5);
        plane.grow_to(5000);
        assert_eq!((plane.row(4999), plane.bytes()), (None, 0));
        plane.row_mut(3000)[2] = 1.0;
        assert_eq!(plane.row(3000), Some(&[0.5, 0.5, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5][..]));
        assert_eq!(plane.row(3001), Some(&[0.5; 8][..]), "its page was written");
        assert_eq!(plane.bytes(), PAGE_BYTES);
    }

    #[test]
    fn rows_survive_growth() {
        for dim in [1, 3, 8, 20] {
            let mut plane = Plane::new(dim, 0.0);
            let mut rows = 0;
            for more in [1, 1, 700, 3, 20_000] {
                plane.grow_to(rows + more);
                (rows..rows + more).for_each(|row| plane.row_mut(row).fill(row as f32));
                rows += more;
            }
            assert!((0..rows).all(|row| plane.row(row) == Some(&vec![row as f32; dim][..])));
        }
    }

    #[test]
    fn a_page_is_copied_once_and_taken_back_when_alone() {
        let mut plane = Plane::new(8, 0.0);
        plane.grow_to(3000);
        (0..3000).for_each(|row| plane.row_mut(row).fill(row as f32));
        let snapshot = plane.share();
        assert_eq!(plane.pages_shared_with(&snapshot), (3, 3));
        let before = plane.pages[2].lines().as_ptr();
        plane.row_mut(5).fill(-1.0);
        assert_eq!(plane.pages_shared_with(&snapshot), (3, 2));
        assert_eq!((plane.row(5).unwrap()[0], snapshot.row(5).unwrap()[0]), (-1.0, 5.0));
        drop(snapshot);
        plane.row_mut(2999).fill(-1.0);
        assert_eq!(plane.pages[2].lines().as_ptr(), before, "nobody else had it: no copy");
    }
}
