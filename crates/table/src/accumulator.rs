//! Gradients of the rows that a batch touched, summed by row.

/// Sums by row, in order of first touch, and the place of each row among them.
///
/// The place is found through a small open-addressing table of the touched rows, not through an array over all rows:
/// it stays in the nearest cache however large the table grows.
#[derive(Debug, Clone)]
pub(crate) struct Accumulator {
    dim: usize,
    rows: Vec<u32>,
    sums: Vec<f32>,
    /// Position in `rows` plus one; 0 is free. Its length is a power of two, at most half of it in use.
    places: Vec<u32>,
}

impl Accumulator {
    pub(crate) fn new(dim: usize) -> Accumulator {
        Accumulator { dim, rows: Vec::new(), sums: Vec::new(), places: vec![0; 64] }
    }

    /// The touched rows, in order of first touch.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// `[rows, dim]` sums.
    pub(crate) fn sums(&self) -> &[f32] {
        &self.sums
    }

    pub(crate) fn sums_mut(&mut self) -> &mut [f32] {
        &mut self.sums
    }

    /// Adds `weight * gradient` to the row's sum.
    #[inline(always)]
    pub(crate) fn add(&mut self, row: u32, weight: f32, gradient: &[f32]) {
        let place = self.place(row);
        let sum = &mut self.sums[place * gradient.len()..][..gradient.len()];
        for (sum, &g) in sum.iter_mut().zip(gradient) {
            *sum += weight * g;
        }
    }

    /// Forgets all rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.sums.clear();
        self.places.fill(0);
    }

    #[inline(always)]
    fn place(&mut self, row: u32) -> usize {
        let mask = self.places.len() - 1;
        let mut at = start(row) & mask;
        loop {
            match self.places[at & mask] {
                0 => return self.insert(row, at & mask),
                place if self.rows[place as usize - 1] == row => return place as usize - 1,
                _ => at += 1,
            }
        }
    }

    #[inline]
    fn insert(&mut self, row: u32, at: usize) -> usize {
        self.rows.push(row);
        self.sums.resize(self.sums.len() + self.dim, 0.0);
        self.places[at] = self.rows.len() as u32;
        if self.rows.len() * 2 > self.places.len() {
            self.widen();
        }
        self.rows.len() - 1
    }

    #[cold]
    fn widen(&mut self) {
        let mask = self.places.len() * 2 - 1;
        self.places.clear();
        self.places.resize(mask + 1, 0);
        for (place, &row) in (1..).zip(&self.rows) {
            let mut at = start(row) & mask;
            while self.places[at] != 0 {
                at = (at + 1) & mask;
            }
            self.places[at] = place;
        }
    }
}

/// Where to look for a row first (Knuth's multiplicative hash, high bits folded down).
#[inline(always)]
fn start(row: u32) -> usize {
    let hash = row.wrapping_mul(0x9e37_79b1);
    (hash ^ (hash >> 15)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::Stream;

    #[test]
    fn sums_are_those_of_a_map() {
        let mut accumulator = Accumulator::new(2);
        for round in 0..3 {
            let mut stream = Stream::new(&[round]);
            let mut twin = std::collections::HashMap::<u32, [f32; 2]>::new();
            let mut order = Vec::new();
            for _ in 0..3000 {
                let row = stream.below(900) as u32 * 16;
                let (weight, gradient) = (stream.unit_f32(), [stream.unit_f32(), stream.unit_f32()]);
                accumulator.add(row, weight, &gradient);
                let sum = twin.entry(row).or_insert_with(|| {
                    order.push(row);
                    [0.0; 2]
                });
                *sum = [sum[0] + weight * gradient[0], sum[1] + weight * gradient[1]];
            }
            assert_eq!(accumulator.rows(), order);
            let expected: Vec<f32> = order.iter().flat_map(|row| twin[row]).collect();
            assert_eq!(accumulator.sums(), expected);
            accumulator.clear();
            assert!(accumulator.rows().is_empty() && accumulator.sums().is_empty());
        }
    }
}
