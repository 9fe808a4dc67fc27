//! One step of an optimiser, ready to be applied to any values.

use super::optimiser::{AdamForm, Decay, Optimiser, Rule};

/// An optimiser's constants for one step: what depends on the learning rate and on the step's number is worked out
/// once, in f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub(super) kind: Kind,
    /// Added to each gradient, times the value.
    pub(super) l2: f32,
    pub(super) scale: Scale,
}

/// What differs from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// Length of the move.
    pub(super) rate: f32,
    /// Times the value, before it moves.
    pub(super) keep: f32,
    /// Times the root of Adam's mean of squares.
    pub(super) stretch: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Sgd,
    Adagrad { epsilon: f32 },
    Adam(Adam),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Adam {
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    epsilon: f32,
}

/// Runs `work` with the widest vector instructions of this processor. Code inlined into `work` is compiled for
/// them; [`Step::update_inlined`] is meant to be.
#[inline]
pub fn dispatch<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

impl Step {
    pub(super) fn new(optimiser: &Optimiser, number: u64, learning_rate: f64) -> Step {
        assert!(number > 0, "steps are counted from 1");
        assert!(learning_rate.is_finite() && learning_rate >= 0.0, "a learning rate of {learning_rate} is no length");
        let (l2, keep) = match optimiser.decay {
            Decay::None => (0.0, 1.0),
            Decay::Coupled(l2) => (l2, 1.0),
            Decay::Decoupled(decay) => (0.0, 1.0 - learning_rate * decay),
        };
        assert!(keep > 0.0, "decoupled decay turns values round at a learning rate of {learning_rate}");
        let (kind, rate, stretch) = match optimiser.rule {
            Rule::Sgd => (Kind::Sgd, learning_rate, 1.0),
            Rule::Adagrad { epsilon, .. } => (Kind::Adagrad { epsilon: epsilon as f32 }, learning_rate, 1.0),
            Rule::Adam { beta1, beta2, epsilon, form } => {
                let (c1, c2) = (1.0 - power(beta1, number), 1.0 - power(beta2, number));
                let (rate, stretch) = match form {
                    AdamForm::PyTorch => (learning_rate / c1, 1.0 / c2.sqrt()),
                    AdamForm::EpsilonHat => (learning_rate * c2.sqrt() / c1, 1.0),
                };
                (Kind::Adam(Adam::new(beta1, beta2, epsilon)), rate, stretch)
            }
        };
        let scale = Scale { rate: rate as f32, keep: keep as f32, stretch: stretch as f32 };
        Step { kind, l2: l2 as f32, scale }
    }

    /// Updates `values` from `grads`, and the slots of the rule (unused ones empty), all of one length.
    ///
    /// Panics if lengths differ. NaN and infinite gradients spread to values and slots.
    pub fn update(&self, values: &mut [f32], grads: &[f32], slots: [&mut [f32]; 2]) {
        dispatch(
            #[inline(always)]
            || self.update_inlined(values, grads, slots),
        );
    }

    /// [`Step::update`] for callers that are already inside [`dispatch`]: one row of a table among many.
    #[inline(always)]
    pub fn update_inlined(&self, values: &mut [f32], grads: &[f32], slots: [&mut [f32]; 2]) {
        let [first, second] = slots;
        assert_eq!(values.len(), grads.len(), "one gradient per value");
        let Step { l2, scale, .. } = *self;
        match self.kind {
            Kind::Sgd => {
                for (p, &g) in values.iter_mut().zip(grads) {
                    *p = *p * scale.keep - scale.rate * (g + l2 * *p);
                }
            }
            Kind::Adagrad { epsilon } => {
                assert_eq!(values.len(), first.len(), "one accumulator per value");
                for ((p, &g), a) in values.iter_mut().zip(grads).zip(first) {
                    let g = g + l2 * *p;
                    *a += g * g;
                    *p = *p * scale.keep - scale.rate * g / (a.sqrt() + epsilon);
                }
            }
            Kind::Adam(adam) => {
                assert_eq!(values.len(), first.len(), "one mean per value");
                assert_eq!(values.len(), second.len(), "one mean square per value");
                for (((p, &g), m), v) in values.iter_mut().zip(grads).zip(first).zip(second) {
                    let g = g + l2 * *p;
                    *m = adam.mean(*m, g);
                    *v = adam.square(*v, g);
                    *p = *p * scale.keep - adam.movement(scale, *m, *v);
                }
            }
        }
    }
}

impl Adam {
    fn new(beta1: f64, beta2: f64, epsilon: f64) -> Adam {
        Adam {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            one_minus_beta1: (1.0 - beta1) as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
            epsilon: epsilon as f32,
        }
    }

    #[inline(always)]
    pub(super) fn mean(&self, m: f32, g: f32) -> f32 {
        self.beta1 * m + self.one_minus_beta1 * g
    }

    #[inline(always)]
    pub(super) fn square(&self, v: f32, g: f32) -> f32 {
        self.beta2 * v + self.one_minus_beta2 * (g * g)
    }

    #[inline(always)]
    pub(super) fn movement(&self, scale: Scale, m: f32, v: f32) -> f32 {
        scale.rate * m / (v.sqrt() * scale.stretch + self.epsilon)
    }
}

/// `base^exponent` by squaring: the same bits everywhere, which the platform's own `powi` does not promise.
pub(super) fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Rule, Slot};
    use perennial_core::Stream;

    const ALL: [Rule; 4] = [
        Rule::Sgd,
        Rule::ADAGRAD,
        Rule::ADAM,
        Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, form: AdamForm::EpsilonHat },
    ];

    /// Values and two slots, unused ones empty.
    fn start(optimiser: &Optimiser, values: &[f32]) -> [Vec<f32>; 3] {
        let mut slots = optimiser.rule.slots().into_iter().map(|Slot { initial, .. }| vec![initial; values.len()]);
        [values.to_vec(), slots.next().unwrap_or_default(), slots.next().unwrap_or_default()]
    }

    fn update(optimiser: &Optimiser, number: u64, [values, first, second]: &mut [Vec<f32>; 3], grads: &[f32]) {
        optimiser.step(number, optimiser.learning_rate).update(values, grads, [first, second]);
    }

    fn randoms(count: usize, scale: f64, key: u64) -> Vec<f32> {
        let mut stream = Stream::new(&[key]);
        (0..count).map(|_| (stream.normal() * scale) as f32).collect()
    }

    #[derive(serde::Deserialize)]
    struct Fixture {
        start: Vec<f32>,
        grads: Vec<Vec<f32>>,
        paths: std::collections::BTreeMap<String, Vec<Vec<f64>>>,
    }

    /// Expected values: fixtures/optim.py.
    #[test]
    fn agrees_with_pytorch() {
        let fixture: Fixture = serde_json::from_str(include_str!("fixtures/optim.json")).unwrap();
        let coupled = Decay::Coupled(0.05);
        let from_zero = Rule::Adagrad { initial: 0.0, epsilon: 1e-10 };
        let cases = [
            ("sgd", Optimiser::new(Rule::Sgd, 0.1)),
            ("sgd_l2", Optimiser::new(Rule::Sgd, 0.1).with_decay(coupled)),
            ("adagrad", Optimiser::new(Rule::ADAGRAD, 0.1)),
            ("adagrad_from_zero", Optimiser::new(from_zero, 0.1)),
            ("adagrad_l2", Optimiser::new(Rule::ADAGRAD, 0.1).with_decay(coupled)),
            ("adam", Optimiser::new(Rule::ADAM, 0.01)),
            ("adam_l2", Optimiser::new(Rule::ADAM, 0.01).with_decay(coupled)),
            ("adam_decoupled", Optimiser::new(Rule::ADAM, 0.01).with_decay(Decay::Decoupled(0.05))),
        ];
        assert_eq!(cases.len(), fixture.paths.len(), "every path is checked");
        for (name, optimiser) in cases {
            let mut state = start(&optimiser, &fixture.start);
            for ((number, grads), expected) in (1..).zip(&fixture.grads).zip(&fixture.paths[name]) {
                update(&optimiser, number, &mut state, grads);
                for (got, expected) in state[0].iter().zip(expected) {
                    let difference = (f64::from(*got) - expected).abs();
                    assert!(difference < 3e-7, "{name}, step {number}: got {got}, expected {expected}");
                }
            }
        }
    }

    /// TensorFlow's documented formula, in f64.
    #[test]
    fn epsilon_hat_is_tensorflows_formula() {
        let optimiser = Optimiser::new(ALL[3], 0.01);
        let mut state = start(&optimiser, &[0.5]);
        let (mut p, mut m, mut v) = (0.5f64, 0f64, 0f64);
        // Gradients as small as epsilon tell the two forms apart.
        for (t, &g) in (1..).zip(&[1e-8f32, -3e-8, 2e-9, 0.0, 0.1, -0.2]) {
            update(&optimiser, t, &mut state, &[g]);
            let (g, t) = (f64::from(g), t as i32);
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let rate = 0.01 * (1.0 - 0.999f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
            p -= rate * m / (v.sqrt() + 1e-8);
            assert!((f64::from(state[0][0]) - p).abs() < 1e-7, "step {t}: got {}, expected {p}", state[0][0]);
        }
    }

    /// A row's rule is the dense rule: any cut of a tensor, at any offset, gives the bits of the whole.
    #[test]
    fn parts_give_the_bits_of_the_whole() {
        for decay in [Decay::None, Decay::Coupled(0.01), Decay::Decoupled(0.01)] {
            for optimiser in ALL.map(|rule| Optimiser::new(rule, 0.01).with_decay(decay)) {
                let grads = randoms(83, 0.1, 2);
                let mut whole = start(&optimiser, &randoms(83, 0.3, 1));
                let before = whole.clone();
                update(&optimiser, 3, &mut whole, &grads);
                for len in 1..40 {
                    for from in [0, 1, 3, 7, 83 - len] {
                        let cut = |all: &Vec<f32>| if all.is_empty() { vec![] } else { all[from..from + len].to_vec() };
                        let mut part = before.each_ref().map(cut);
                        update(&optimiser, 3, &mut part, &grads[from..from + len]);
                        let expected = whole.each_ref().map(cut);
                        assert_eq!(part, expected, "{optimiser:?}, {len} values from {from}");
                    }
                }
            }
        }
    }

    #[test]
    fn powers_are_those_of_repeated_multiplication() {
        assert_eq!(power(0.9, 0), 1.0);
        assert_eq!(power(0.5, 10), 1.0 / 1024.0);
        assert!((power(0.999, 5000) / (5000.0 * 0.999f64.ln()).exp() - 1.0).abs() < 1e-12);
    }
}
