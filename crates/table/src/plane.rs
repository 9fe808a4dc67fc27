//! Rows of floats in pages that are copied on write.

use crate::buffer::{Buffer, HUGE};
use crate::prefetch::prefetch;
use std::sync::Arc;

/// One vector per row, for the rows of one shard.
///
/// A page that was never written is not allocated; its rows hold the initial value. Pages are small at first, so that
/// small tables stay small and their snapshots share much. A plane that outgrows a huge page moves to huge pages: a
/// table so large is used all over in every period, and waiting for its page tables would cost more than small pages
/// save. All pages of a plane have one size at any time, which keeps look-ups free of branches that go either way.
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
    Owned(Buffer),
    /// Shared with snapshots, until the first write takes it back or copies it.
    Shared(Arc<Buffer>),
}

/// Size of a small page, at most. Smaller ones let snapshots share more, but need more look-ups.
const SMALL: usize = 32 * 1024;

impl Plane {
    /// A plane without rows.
    pub(crate) fn new(dim: usize, initial: f32) -> Plane {
        Plane { dim, rows: 0, initial, page_bits: bits_of(SMALL, dim), pages: Vec::new() }
    }

    /// What rows hold before they are written.
    pub(crate) fn initial(&self) -> f32 {
        self.initial
    }

    /// Appends rows with the initial value.
    pub(crate) fn grow_to(&mut self, rows: usize) {
        if rows > 1 << bits_of(HUGE, self.dim) {
            self.move_to_huge_pages();
        }
        self.rows = rows;
        let last = self.pages.len().checked_sub(1);
        self.pages.resize_with(rows.div_ceil(1 << self.page_bits), || Page::Unset);
        if let Some(last) = last.filter(|&last| !matches!(self.pages[last], Page::Unset)) {
            let (len, initial, whole) = (self.page_rows(last) * self.dim, self.initial, self.is_whole(last));
            self.owned(last).grow(len, initial, whole);
        }
    }

    /// Before it outgrows a huge page, all of a plane fits into one.
    fn move_to_huge_pages(&mut self) {
        let small_len = self.dim << self.page_bits;
        let huge_bits = bits_of(HUGE, self.dim);
        if self.page_bits == huge_bits {
            return;
        }
        self.page_bits = huge_bits;
        let small = std::mem::take(&mut self.pages);
        if small.iter().all(|page| matches!(page, Page::Unset)) {
            return;
        }
        let mut huge = Buffer::new(self.dim << huge_bits, self.initial, true);
        for (page, out) in small.iter().zip(huge.floats_mut().chunks_mut(small_len)) {
            let len = page.floats().len().min(out.len());
            out[..len].copy_from_slice(&page.floats()[..len]);
        }
        self.pages.push(Page::Owned(huge));
    }

    /// A row; `None` where its page was never written.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Option<&[f32]> {
        let (page, from) = self.locate(row);
        let buffer = match &self.pages[page] {
            Page::Owned(buffer) => buffer,
            Page::Shared(buffer) => buffer,
            Page::Unset => return None,
        };
        Some(&buffer.floats()[from..from + self.dim])
    }

    /// Starts loading a row that will be needed soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize) {
        if let Some(values) = self.row(row) {
            prefetch(values);
        }
    }

    /// A row to be written.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let ((page, from), dim) = (self.locate(row), self.dim);
        &mut self.owned(page).floats_mut()[from..from + dim]
    }

    /// A plane with the same content that shares all pages; from now on both copy what they write.
    pub(crate) fn share(&mut self) -> Plane {
        let pages = self.pages.iter_mut().map(Page::share).collect();
        Plane { pages, ..*self }
    }

    /// Bytes of allocated pages, shared ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().map(|page| size_of_val(page.floats())).sum()
    }

    /// Number of allocated pages and how many of them are the same memory in `other`.
    pub(crate) fn pages_shared_with(&self, other: &Plane) -> (usize, usize) {
        let allocated = self.pages.iter().filter(|page| !page.floats().is_empty()).count();
        let same =
            |(mine, theirs): &(&Page, &Page)| !mine.floats().is_empty() && std::ptr::eq(mine.floats(), theirs.floats());
        (allocated, self.pages.iter().zip(&other.pages).filter(same).count())
    }

    /// Page of a row, and where in it the row starts.
    #[inline(always)]
    fn locate(&self, row: usize) -> (usize, usize) {
        (row >> self.page_bits, (row & ((1 << self.page_bits) - 1)) * self.dim)
    }

    /// Rows that a page must have room for: all it can hold, unless it is a small one and the last.
    fn page_rows(&self, page: usize) -> usize {
        match self.page_bits == bits_of(HUGE, self.dim) {
            true => 1 << self.page_bits,
            false => (self.rows - (page << self.page_bits)).min(1 << self.page_bits),
        }
    }

    fn is_whole(&self, page: usize) -> bool {
        self.page_rows(page) == 1 << self.page_bits
    }

    #[inline(always)]
    fn owned(&mut self, page: usize) -> &mut Buffer {
        if !matches!(self.pages[page], Page::Owned(_)) {
            self.own(page);
        }
        match &mut self.pages[page] {
            Page::Owned(buffer) => buffer,
            _ => unreachable!("it was made owned a line above"),
        }
    }

    #[cold]
    #[inline(never)]
    fn own(&mut self, page: usize) {
        let buffer = match std::mem::replace(&mut self.pages[page], Page::Unset) {
            Page::Unset => Buffer::new(self.page_rows(page) * self.dim, self.initial, self.is_whole(page)),
            Page::Owned(buffer) => buffer,
            Page::Shared(shared) => Arc::unwrap_or_clone(shared),
        };
        self.pages[page] = Page::Owned(buffer);
    }
}

/// Rows of width `dim` that fit into `bytes`, as a power of two.
fn bits_of(bytes: usize, dim: usize) -> u32 {
    (bytes / (dim * size_of::<f32>())).max(1).ilog2()
}

impl Page {
    fn share(&mut self) -> Page {
        let shared = match std::mem::replace(self, Page::Unset) {
            Page::Unset => return Page::Unset,
            Page::Owned(buffer) => Arc::new(buffer),
            Page::Shared(buffer) => buffer,
        };
        *self = Page::Shared(Arc::clone(&shared));
        Page::Shared(shared)
    }

    fn floats(&self) -> &[f32] {
        match self {
            Page::Unset => &[],
            Page::Owned(buffer) => buffer.floats(),
            Page::Shared(buffer) => buffer.floats(),
        }
    }
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
        assert_eq!(plane.bytes(), SMALL);
    }

    #[test]
    fn rows_survive_growth() {
        for dim in [1, 3, 8, 20] {
            let mut plane = Plane::new(dim, 0.0);
            let mut rows = 0;
            for more in [1, 1, 700, 3, 70_000, 1, 70_000] {
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
        let before = plane.pages[2].floats().as_ptr();
        plane.row_mut(5).fill(-1.0);
        assert_eq!(plane.pages_shared_with(&snapshot), (3, 2));
        assert_eq!((plane.row(5).unwrap()[0], snapshot.row(5).unwrap()[0]), (-1.0, 5.0));
        drop(snapshot);
        plane.row_mut(2999).fill(-1.0);
        assert_eq!(plane.pages[2].floats().as_ptr(), before, "nobody else had it: no copy");
    }
}
