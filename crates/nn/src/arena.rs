//! One growing buffer from which the tape cuts its matrices.

use crate::Real;
use bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};
use std::marker::PhantomData;
use std::ops::Range;

/// A buffer that is rewound instead of freed. Stretches start at cache lines, so that vectors of rows whose length is
/// a multiple of a line never straddle two.
#[derive(Debug, Default)]
pub(crate) struct Arena<T> {
    lines: Vec<Line>,
    /// In elements.
    used: usize,
    elements: PhantomData<T>,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl<T: Real> Arena<T> {
    const PER_LINE: usize = size_of::<Line>() / size_of::<T>();

    /// Forgets all stretches; their memory is kept.
    pub(crate) fn rewind(&mut self) {
        self.used = 0;
    }

    /// Elements taken so far.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Forgets what was taken since [`Arena::used`] gave `used`.
    pub(crate) fn rewind_to(&mut self, used: usize) {
        debug_assert!(used <= self.used && used.is_multiple_of(Self::PER_LINE));
        self.used = used;
    }

    /// A new stretch, holding whatever was there before.
    pub(crate) fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.used;
        self.used = (start + len).next_multiple_of(Self::PER_LINE);
        let lines = self.used / Self::PER_LINE;
        if self.lines.len() < lines {
            self.lines.resize(lines, Line::zeroed());
        }
        start..start + len
    }

    /// The whole buffer.
    pub(crate) fn all(&self) -> &[T] {
        cast_slice(&self.lines)
    }

    pub(crate) fn get(&self, stretch: Range<usize>) -> &[T] {
        &self.all()[stretch]
    }

    pub(crate) fn get_mut(&mut self, stretch: Range<usize>) -> &mut [T] {
        &mut cast_slice_mut(&mut self.lines)[stretch]
    }

    /// The buffer before and from `start`.
    pub(crate) fn split_at_mut(&mut self, start: usize) -> (&mut [T], &mut [T]) {
        cast_slice_mut(&mut self.lines).split_at_mut(start)
    }
}
