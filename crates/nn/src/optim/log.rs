//! The steps that a row missed.

use super::optimiser::{Decay, Optimiser};
use super::step::{Adam, Kind, Scale, Step, power};

/// A log of steps, by which values that saw no gradient for a while catch up with those that were updated at every
/// step: bit for bit ([`StepLog::replay`]), or by the product of their decays ([`StepLog::shrink_since`]).
///
/// It holds at most 70 bytes a step. Positions count steps since the log was made or cleared.
#[derive(Debug, Clone)]
pub struct StepLog {
    optimiser: Optimiser,
    scales: Vec<Scale>,
    /// Sum of the logarithms of the factors of all steps before.
    shrinks: Vec<f64>,
    rates: SuffixMax,
    /// Negated, since the smallest is sought.
    keeps: SuffixMax,
    stretches: SuffixMax,
}

/// Values replayed together; a row longer than this is replayed in parts.
const LANES: usize = 64;
/// Steps replayed between two tests whether the rest can be left out: one test costs about as much as two steps.
const BLOCK: usize = 32;

impl StepLog {
    /// An empty log of steps of `optimiser`.
    pub fn new(optimiser: Optimiser) -> StepLog {
        StepLog {
            optimiser,
            scales: Vec::new(),
            shrinks: vec![0.0],
            rates: SuffixMax::default(),
            keeps: SuffixMax::default(),
            stretches: SuffixMax::default(),
        }
    }

    /// The optimiser whose steps are logged.
    pub fn optimiser(&self) -> Optimiser {
        self.optimiser
    }

    /// Whether steps without gradients leave values alone whose slots were never written: there is no decay.
    pub fn leaves_fresh_rows(&self) -> bool {
        self.optimiser.decay == Decay::None
    }

    /// Number of steps logged.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether no step is logged.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Forgets all steps.
    pub fn clear(&mut self) {
        *self = StepLog::new(self.optimiser);
    }

    /// Logs a step. Panics if it is one of another optimiser.
    pub fn push(&mut self, step: &Step) {
        let own = self.optimiser.step(1, 0.0);
        assert!(own.kind == step.kind && own.l2 == step.l2, "a step of {:?} logged as one of {own:?}", step.kind);
        let scale = step.scale;
        self.scales.push(scale);
        self.shrinks.push(self.shrinks[self.len() - 1] + shrink(step).ln());
        self.rates.push(scale.rate);
        self.keeps.push(-scale.keep);
        self.stretches.push(-scale.stretch);
    }

    /// The product of the factors by which all steps from position `from` on shrink a value that has no gradient and
    /// no momentum: decoupled decay, and L2 under SGD. It differs from multiplying step by step by at most
    /// `steps + 2` roundings (2^-24 each).
    pub fn shrink_since(&self, from: usize) -> f32 {
        (self.shrinks[self.len()] - self.shrinks[from]).exp() as f32
    }

    /// Applies all steps from position `from` on with gradients of zero. Values and slots end with the bits that
    /// applying each of the steps would give.
    ///
    /// Costs as much as the steps, but stops where the rest cannot change a value any more. With decay in the
    /// gradient under Adam that hardly ever happens: such a table costs as much as a dense one.
    pub fn replay(&self, from: usize, values: &mut [f32], slots: [&mut [f32]; 2]) {
        let [first, second] = slots;
        let mut first = first.chunks_mut(LANES);
        let mut second = second.chunks_mut(LANES);
        for values in values.chunks_mut(LANES) {
            let slots = [first.next().unwrap_or_default(), second.next().unwrap_or_default()];
            self.replay_part(from, values, slots);
        }
    }

    fn replay_part(&self, from: usize, values: &mut [f32], [first, second]: [&mut [f32]; 2]) {
        let zeros = &[0.0; LANES][..values.len()];
        let mut step = self.optimiser.step(1, 0.0);
        let mut at = from;
        while at < self.len() {
            if self.rest_is_still(at, values, first, second) {
                return decay_slots(&step, self.len() - at, first, second);
            }
            let until = self.len().min(at + BLOCK);
            for &scale in &self.scales[at..until] {
                step.scale = scale;
                step.update_inlined(values, zeros, [&mut *first, &mut *second]);
            }
            at = until;
        }
    }

    /// Whether no step from `at` on can change a value.
    ///
    /// Every operation rounds monotonically, so a step that is at least as strong as each that is left (longest
    /// move, largest momentum, smallest denominator) and yet changes no bit proves that none of them does. Decay and
    /// move are tried one at a time, lest they cancel.
    fn rest_is_still(&self, at: usize, values: &[f32], first: &[f32], second: &[f32]) -> bool {
        let mut strongest = self.optimiser.step(1, 0.0);
        strongest.scale =
            Scale { rate: self.rates.since(at), keep: -self.keeps.since(at), stretch: -self.stretches.since(at) };
        let keep = strongest.scale.keep;
        if strongest.l2 != 0.0 {
            return nothing_changes(&strongest, values, first, second);
        }
        match strongest.kind {
            Kind::Sgd | Kind::Adagrad { .. } => values.iter().all(|&p| same(p, p * keep)),
            Kind::Adam(adam) => {
                let left = floor_of_decay(&adam, self.len() - at);
                values.iter().zip(first).zip(second).all(|((&p, &m), &v)| {
                    let lowest = (f64::from(v) * left) as f32;
                    let lowest = if lowest < f32::MIN_POSITIVE { 0.0 } else { lowest };
                    p.is_finite() && same(p, p * keep) && same(p, p - adam.movement(strongest.scale, m, lowest))
                })
            }
        }
    }
}

/// A lower bound of what `steps` roundings of `beta2 * v` leave of `v`, as long as they stay above denormals.
fn floor_of_decay(adam: &Adam, steps: usize) -> f64 {
    power(f64::from(adam.beta2) * (1.0 - 2f64.powi(-23)), steps as u64) * (1.0 - 1e-6)
}

/// With L2 the gradient depends on the value: only a step that leaves values and slots as they are repeats itself.
fn nothing_changes(step: &Step, values: &[f32], first: &[f32], second: &[f32]) -> bool {
    let mut after = [[0f32; LANES]; 3];
    let [p, m, v] = &mut after;
    let (p, m, v) = (&mut p[..values.len()], &mut m[..first.len()], &mut v[..second.len()]);
    p.copy_from_slice(values);
    m.copy_from_slice(first);
    v.copy_from_slice(second);
    step.update_inlined(p, &[0.0; LANES][..values.len()], [&mut *m, &mut *v]);
    let unchanged = |before: &[f32], after: &[f32]| before.iter().zip(after).all(|(&x, &y)| same(x, y));
    unchanged(values, p) && unchanged(first, m) && unchanged(second, v)
}

/// What `steps` gradients of zero make of slots once values stand still.
fn decay_slots(step: &Step, steps: usize, first: &mut [f32], second: &mut [f32]) {
    // With L2 the test has shown that slots stand still too; without, only Adam's move when there is no gradient.
    if let (Kind::Adam(adam), true) = (step.kind, step.l2 == 0.0) {
        repeat(first, steps, |m| adam.mean(m, 0.0));
        repeat(second, steps, |v| adam.square(v, 0.0));
    }
}

/// Applies `change` to every value `times` times, or until it changes nothing (decay stops at the smallest
/// denormals: 0.9 times four of them rounds to four).
#[inline(always)]
fn repeat(values: &mut [f32], times: usize, change: impl Fn(f32) -> f32) {
    let mut left = times;
    while left > 0 && values.iter().any(|&x| !same(x, change(x))) {
        for _ in 0..left.min(BLOCK) {
            for x in values.iter_mut() {
                *x = change(*x);
            }
        }
        left -= left.min(BLOCK);
    }
}

/// By how much a step shrinks a value that has neither gradient nor momentum.
fn shrink(step: &Step) -> f64 {
    match step.kind {
        Kind::Sgd => f64::from(step.scale.keep) * (1.0 - f64::from(step.scale.rate) * f64::from(step.l2)),
        Kind::Adagrad { .. } | Kind::Adam(_) => f64::from(step.scale.keep),
    }
}

#[inline(always)]
fn same(x: f32, y: f32) -> bool {
    x.to_bits() == y.to_bits()
}

/// The largest of a sequence's values from any position to its end: a stack of those not exceeded later.
#[derive(Debug, Clone, Default)]
struct SuffixMax {
    /// Positions ascend, values descend.
    peaks: Vec<(usize, f32)>,
    len: usize,
}

impl SuffixMax {
    fn push(&mut self, value: f32) {
        while self.peaks.pop_if(|(_, peak)| *peak <= value).is_some() {}
        self.peaks.push((self.len, value));
        self.len += 1;
    }

    fn since(&self, from: usize) -> f32 {
        self.peaks[self.peaks.partition_point(|&(position, _)| position < from)].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamForm, Rule};
    use perennial_core::Stream;

    fn optimisers() -> Vec<Optimiser> {
        let hat = Rule::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, form: AdamForm::EpsilonHat };
        let mut all = Vec::new();
        for rule in [Rule::Sgd, Rule::ADAGRAD, Rule::Adagrad { initial: 0.0, epsilon: 1e-10 }, Rule::ADAM, hat] {
            for decay in [Decay::None, Decay::Coupled(0.02), Decay::Decoupled(0.02)] {
                all.push(Optimiser::new(rule, 0.01).with_decay(decay));
            }
        }
        all
    }

    /// Values of all sizes, with slots as a few steps would leave them: zeros, denormals and large ones among them.
    fn state(optimiser: &Optimiser, count: usize) -> [Vec<f32>; 3] {
        let mut stream = Stream::new(&[5]);
        let mut values: Vec<f32> = (0..count).map(|_| (stream.normal() * 0.1) as f32).collect();
        for (value, odd) in values.iter_mut().zip([0.0, -0.0, 1e-40, 1e30, -1e-12]) {
            *value = odd;
        }
        let mut slots = optimiser.rule.slots().into_iter().map(|slot| vec![slot.initial; count]);
        let mut state = [values, slots.next().unwrap_or_default(), slots.next().unwrap_or_default()];
        for number in 1..4 {
            let grads: Vec<f32> = (0..count)
                .map(|i| if i % 7 == 6 { 0.0 } else { 10f64.powf(-9.0 * stream.unit_f64()) as f32 })
                .collect();
            let [values, first, second] = &mut state;
            optimiser.step(number, 0.01).update(values, &grads, [first, second]);
        }
        state
    }

    fn bits(state: &[Vec<f32>; 3]) -> Vec<u32> {
        state.iter().flatten().map(|x| x.to_bits()).collect()
    }

    /// The twin: every step, one by one. Checked at several lengths, the longest past the stagnation of momentum.
    #[test]
    fn replay_gives_the_bits_of_every_step() {
        for optimiser in optimisers() {
            let mut log = StepLog::new(optimiser);
            let mut twin = state(&optimiser, 70);
            let before = twin.clone();
            let zeros = [0.0; 70];
            for number in 4..1700 {
                // A schedule that falls and rises again: the rest must not be left out too early.
                let rate = if (600..700).contains(&number) { 1e-9 } else { 0.01 / (1.0 + number as f64 * 1e-3) };
                let step = optimiser.step(number, rate);
                log.push(&step);
                let [values, first, second] = &mut twin;
                step.update(values, &zeros, [first, second]);
                if [4, 5, 40, 650, 1300, 1699].contains(&number) {
                    let mut caught_up = before.clone();
                    let [values, first, second] = &mut caught_up;
                    log.replay(0, values, [first, second]);
                    assert_eq!(bits(&caught_up), bits(&twin), "{optimiser:?} after {} steps", log.len());
                }
            }
        }
    }

    #[test]
    fn replay_can_start_anywhere() {
        let optimiser = Optimiser::new(Rule::ADAM, 0.01);
        let mut log = StepLog::new(optimiser);
        (4..204).for_each(|number| log.push(&optimiser.step(number, 0.01)));
        let [mut values, mut first, mut second] = state(&optimiser, 9);
        for step in 4..104 {
            optimiser.step(step, 0.01).update(&mut values, &[0.0; 9], [&mut first, &mut second]);
        }
        log.replay(100, &mut values, [&mut first, &mut second]);
        let mut whole = state(&optimiser, 9);
        let [v, m, s] = &mut whole;
        log.replay(0, v, [m, s]);
        assert_eq!(bits(&[values, first, second]), bits(&whole));
    }

    /// Tolerance: one rounding a step, two for the closed form itself and one for the product with it.
    #[test]
    fn decay_has_a_closed_form() {
        let decays = [
            Optimiser::new(Rule::Sgd, 0.05).with_decay(Decay::Coupled(0.1)),
            Optimiser::new(Rule::Sgd, 0.05).with_decay(Decay::Decoupled(0.1)),
            Optimiser::new(Rule::ADAM, 0.05).with_decay(Decay::Decoupled(0.1)),
        ];
        for optimiser in decays {
            let mut log = StepLog::new(optimiser);
            let mut value = [0.7f32];
            let (mut first, mut second) =
                if optimiser.rule == Rule::Sgd { (vec![], vec![]) } else { (vec![0.0], vec![0.0]) };
            for number in 1..=1000u32 {
                let step = optimiser.step(u64::from(number), 0.05 / f64::from(number).sqrt());
                log.push(&step);
                step.update(&mut value, &[0.0], [&mut first, &mut second]);
                let closed = 0.7 * log.shrink_since(0);
                let tolerance = 0.7 * (number + 3) as f32 * (f32::EPSILON / 2.0);
                assert!((closed - value[0]).abs() <= tolerance, "{optimiser:?}, step {number}: {closed} {}", value[0]);
            }
            assert_eq!(log.shrink_since(1000), 1.0, "nothing missed, nothing shrunk");
        }
    }

    #[test]
    fn suffix_maxima_are_those_of_the_plain_search() {
        let mut stream = Stream::new(&[3]);
        let values: Vec<f32> = (0..200).map(|_| stream.below(50) as f32).collect();
        let mut maxima = SuffixMax::default();
        values.iter().for_each(|&value| maxima.push(value));
        for from in 0..values.len() {
            let plain = values[from..].iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(maxima.since(from), plain, "from {from}");
        }
    }
}
