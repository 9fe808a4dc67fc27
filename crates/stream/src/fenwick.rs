//! Weights of numbered things with fast prefix sums (Fenwick, Software: Practice and Experience 1994).

/// Integer weights of things 0, 1, 2 ...; adding, changing and finding cost a logarithm of their number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fenwick {
    /// Entry i - 1 holds the sum of the `i & -i` weights that end with thing i - 1.
    sums: Vec<u64>,
    total: u64,
}

impl Fenwick {
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Adds a thing.
    pub(crate) fn push(&mut self, weight: u64) {
        let place = self.sums.len() + 1;
        let (mut sum, mut below) = (weight, place - 1);
        while below > place - lowest_bit(place) {
            sum += self.sums[below - 1];
            below -= lowest_bit(below);
        }
        self.sums.push(sum);
        self.total += weight;
    }

    pub(crate) fn increase(&mut self, thing: usize, by: u64) {
        self.total += by;
        self.each_above(thing, |sum| *sum += by);
    }

    /// The weight must be at least `by`.
    pub(crate) fn decrease(&mut self, thing: usize, by: u64) {
        self.total -= by;
        self.each_above(thing, |sum| *sum -= by);
    }

    /// Sum of the weights of the things before this one.
    pub(crate) fn before(&self, thing: usize) -> u64 {
        let (mut sum, mut place) = (0, thing);
        while place > 0 {
            sum += self.sums[place - 1];
            place -= lowest_bit(place);
        }
        sum
    }

    /// The thing in whose stretch `point` lies when weights are laid end to end. `point` must be below the total.
    pub(crate) fn find(&self, mut point: u64) -> usize {
        assert!(point < self.total, "point {point} lies beyond the total {}", self.total);
        let mut place = 0;
        let mut step = self.sums.len().next_power_of_two();
        while step > 0 {
            if let Some(&sum) = self.sums.get(place + step - 1)
                && sum <= point
            {
                place += step;
                point -= sum;
            }
            step /= 2;
        }
        place
    }

    fn each_above(&mut self, thing: usize, mut change: impl FnMut(&mut u64)) {
        let mut place = thing + 1;
        while let Some(sum) = self.sums.get_mut(place - 1) {
            change(sum);
            place += lowest_bit(place);
        }
    }
}

fn lowest_bit(place: usize) -> usize {
    place & place.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The naive twin is a list of weights.
        #[test]
        fn agrees_with_a_list(start in proptest::collection::vec(0u64..4, 1..40),
                              changes in proptest::collection::vec((0usize..40, 0u64..5), 0..20)) {
            let mut weights = start;
            let mut fenwick = Fenwick::default();
            weights.iter().for_each(|&weight| fenwick.push(weight));
            for (thing, weight) in changes {
                let thing = thing % weights.len();
                fenwick.decrease(thing, weights[thing]);
                fenwick.increase(thing, weight);
                weights[thing] = weight;
            }
            let laid_out: Vec<usize> =
                weights.iter().enumerate().flat_map(|(thing, &weight)| vec![thing; weight as usize]).collect();
            prop_assert_eq!(fenwick.total(), laid_out.len() as u64);
            for (point, &thing) in laid_out.iter().enumerate() {
                prop_assert_eq!(fenwick.find(point as u64), thing);
            }
            for thing in 0..weights.len() {
                prop_assert_eq!(fenwick.before(thing), weights[..thing].iter().sum::<u64>());
            }
        }
    }
}
