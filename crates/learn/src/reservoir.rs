//! A uniform sample of a stream in fixed memory (Vitter, "Random sampling with a reservoir", TOMS 1985, algorithm R).

use crate::LearnError;
use crate::memory::{Pieces, damaged};
use perennial_core::{Examples, FeatureSet, Stream};
use perennial_stream::{examples_from_bytes, examples_to_bytes};

/// Where an example lies: in which part, at which place.
pub(crate) type Place = (usize, u32);

/// A sample of all examples offered so far, each in it with the same chance. Holds the examples themselves: the periods
/// that they came from are not needed again. Their order means nothing.
#[derive(Debug, Clone)]
pub(crate) struct Reservoir {
    /// The sample. As large as it was made for ever.
    pub(crate) examples: Examples,
    /// Number of examples offered so far.
    seen: u64,
}

impl Reservoir {
    /// A sample of `size` of the examples at `places`.
    pub(crate) fn new(
        parts: &[&Examples],
        places: &[Place],
        size: usize,
        features: &FeatureSet,
        stream: &mut Stream,
    ) -> Reservoir {
        let drawn = draw(&vec![1.0; places.len()], size, stream);
        let drawn: Vec<Place> = drawn.into_iter().map(|at| places[at as usize]).collect();
        let mut examples = Examples::empty(features);
        append(&mut examples, parts, &drawn, features);
        Reservoir { examples, seen: places.len() as u64 }
    }

    /// Lets the examples at `places` enter in the place of others: the j-th (from 0) with a chance of
    /// `size / (seen + j + 1)`, in that of one drawn uniformly, which may have entered a moment before.
    pub(crate) fn offer(&mut self, parts: &[&Examples], places: &[Place], features: &FeatureSet, stream: &mut Stream) {
        let mut entrants: Vec<Option<Place>> = vec![None; self.examples.len()];
        for &place in places {
            self.seen += 1;
            let drawn = stream.below(self.seen);
            if let Some(entrant) = usize::try_from(drawn).ok().and_then(|slot| entrants.get_mut(slot)) {
                *entrant = Some(place);
            }
        }
        let stay: Vec<u32> =
            (0u32..).zip(&entrants).filter(|(_, entrant)| entrant.is_none()).map(|(at, _)| at).collect();
        let mut entered: Vec<Place> = entrants.into_iter().flatten().collect();
        entered.sort_unstable();
        let mut examples = Examples::empty(features);
        examples.append(&self.examples, &stay, features);
        append(&mut examples, parts, &entered, features);
        self.examples = examples;
    }

    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_json("seen", &self.seen);
        pieces.put_bytes("examples", examples_to_bytes(&self.examples));
        pieces
    }

    /// What [`Reservoir::pieces`] stored.
    pub(crate) fn from_pieces(mut pieces: Pieces) -> Result<Reservoir, LearnError> {
        let bytes = pieces.take_bytes("examples")?;
        let examples = examples_from_bytes("the reservoir", &bytes);
        let examples = examples.map_err(|error| damaged("examples", &error.to_string()))?;
        Ok(Reservoir { examples, seen: pieces.take_json("seen")? })
    }
}

/// Draws `count` of as many things as there are weights, or all, without replacement and in proportion to the weights,
/// which are positive. Returns their indices in ascending order.
///
/// By the smallest of exponential arrival times (Efraimidis and Spirakis, 2006), which is the same as drawing one by one.
pub(crate) fn draw(weights: &[f64], count: usize, stream: &mut Stream) -> Vec<u32> {
    let arrival = |weight: &f64| -(1.0 - stream.unit_f64()).ln() / weight;
    let mut arrivals: Vec<(f64, u32)> = weights.iter().map(arrival).zip(0u32..).collect();
    arrivals.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut drawn: Vec<u32> = arrivals.into_iter().take(count).map(|(_, index)| index).collect();
    drawn.sort_unstable();
    drawn
}

/// Appends examples that lie in several parts; places are in order of parts.
pub(crate) fn append(to: &mut Examples, parts: &[&Examples], places: &[Place], features: &FeatureSet) {
    for of_part in places.chunk_by(|a, b| a.0 == b.0) {
        let index: Vec<u32> = of_part.iter().map(|place| place.1).collect();
        to.append(parts[of_part[0].0], &index, features);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::{Column, Schema, Timestamp};

    fn features() -> FeatureSet {
        let schema = r#"
            name = "x"
            field = [
              { name = "u", kind = "id", role = "user", id = "int" },
              { name = "t", kind = "timestamp", unit = "s" },
              { name = "y", kind = "label" },
            ]"#;
        FeatureSet::of(&Schema::parse(schema).unwrap(), false)
    }

    /// Examples that are named by their event, as is their only user.
    fn part(events: std::ops::Range<u64>) -> Examples {
        let n = events.clone().count();
        Examples {
            keys: vec![events.clone().collect()],
            columns: vec![Column::Id((0..n as u32).collect())],
            label: vec![1.0; n],
            weight: vec![1.0; n],
            time: vec![Timestamp(0); n],
            observable: vec![Timestamp(0); n],
            event: events.clone().collect(),
            user: events.clone().collect(),
            item: events.collect(),
            ..Examples::default()
        }
    }

    fn places(part: &Examples) -> Vec<Place> {
        (0..part.len() as u32).map(|row| (0, row)).collect()
    }

    /// 30 examples, of which 10 are kept, then six more periods of 10: each of the 90 is in the sample with a chance of
    /// 1/9, whenever it came.
    ///
    /// Of the 90 counts, whose sum is fixed, sum (O - E)^2 / (E (1 - 1/9) 90/89) is near chi-square of k = 89 degrees of
    /// freedom, which is above k (1 - 2/(9k) + 3.0902 sqrt(2/(9k)))^3 = 136.0 with probability 0.001 (Wilson and
    /// Hilferty, 1931).
    #[test]
    fn whenever_an_example_came_its_chance_is_the_same() {
        let (features, trials) = (features(), 3_000u64);
        let mut counts = vec![0u32; 90];
        for trial in 0..trials {
            let first = part(0..30);
            let mut stream = Stream::new(&[trial]);
            let mut reservoir = Reservoir::new(&[&first], &places(&first), 10, &features, &mut stream);
            for period in 0..6 {
                let next = part(30 + 10 * period..40 + 10 * period);
                reservoir.offer(&[&next], &places(&next), &features, &mut stream);
            }
            assert_eq!(reservoir.examples.len(), 10);
            reservoir.examples.event.iter().for_each(|&event| counts[event as usize] += 1);
        }
        let expected = trials as f64 / 9.0;
        let squares: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2)).sum();
        let chi = squares / (expected * (1.0 - 1.0 / 9.0) * 90.0 / 89.0);
        assert!(chi < 136.0, "chi-square {chi}: {counts:?}");
    }

    #[test]
    fn memory_stays_as_small_as_what_it_holds() {
        let (features, first) = (features(), part(0..30));
        let mut stream = Stream::new(&[1]);
        let mut reservoir = Reservoir::new(&[&first], &places(&first), 10, &features, &mut stream);
        for period in 0..50 {
            let next = part(100 * period..100 * period + 90);
            reservoir.offer(&[&next], &places(&next), &features, &mut stream);
            assert!(reservoir.examples.keys[0].len() <= 10);
        }
        let stored = Reservoir::from_pieces(reservoir.pieces()).unwrap();
        assert_eq!((&stored.examples, stored.seen), (&reservoir.examples, 30 + 50 * 90));
        let Column::Id(ids) = &stored.examples.columns[0] else { panic!("an id") };
        let users: Vec<u64> = ids.iter().map(|&id| stored.examples.keys[0][id as usize]).collect();
        assert_eq!(users, stored.examples.event, "an example keeps what it says");
    }

    #[test]
    fn an_empty_reservoir_stays_empty() {
        let (features, some) = (features(), part(0..9));
        let mut reservoir = Reservoir::new(&[&some], &places(&some), 0, &features, &mut Stream::new(&[1]));
        reservoir.offer(&[&some], &places(&some), &features, &mut Stream::new(&[2]));
        assert!(reservoir.examples.is_empty());
    }

    /// One draw hits with a chance in proportion to the weight. Two degrees of freedom: chi-square above 13.82 has
    /// probability 0.001.
    #[test]
    fn heavier_things_are_drawn_more_often() {
        let (weights, draws) = ([1.0, 2.0, 5.0], 20_000u64);
        let mut counts = [0u32; 3];
        (0..draws).for_each(|at| counts[draw(&weights, 1, &mut Stream::new(&[at]))[0] as usize] += 1);
        let expected = weights.map(|weight| draws as f64 * weight / 8.0);
        let chi: f64 = counts.iter().zip(expected).map(|(&count, e)| (f64::from(count) - e).powi(2) / e).sum();
        assert!(chi < 13.82, "chi-square {chi}: {counts:?}");
        assert_eq!(draw(&weights, 9, &mut Stream::new(&[1])), [0, 1, 2], "no more than there are");
    }
}
