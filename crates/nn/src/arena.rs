//! One growing buffer from which the tape cuts its matrices.

use crate::Real;
use std::ops::Range;

/// A buffer that is rewound instead of freed. Stretches start at multiples of [`Arena::STEP`] elements.
#[derive(Debug, Default)]
pub(crate) struct Arena<T> {
    data: Vec<T>,
    used: usize,
}

impl<T: Real> Arena<T> {
    const STEP: usize = 16;

    /// Forgets all stretches; their memory is kept.
    pub(crate) fn rewind(&mut self) {
        self.used = 0;
    }

    /// A new stretch, holding whatever was there before.
    pub(crate) fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.used;
        self.used = (start + len).next_multiple_of(Self::STEP);
        if self.data.len() < self.used {
            self.data.resize(self.used, T::ZERO);
        }
        start..start + len
    }

    pub(crate) fn all(&self) -> &[T] {
        &self.data
    }

    pub(crate) fn get(&self, stretch: Range<usize>) -> &[T] {
        &self.data[stretch]
    }

    pub(crate) fn get_mut(&mut self, stretch: Range<usize>) -> &mut [T] {
        &mut self.data[stretch]
    }

    /// The buffer before and from `start`.
    pub(crate) fn split_at_mut(&mut self, start: usize) -> (&mut [T], &mut [T]) {
        self.data.split_at_mut(start)
    }
}
