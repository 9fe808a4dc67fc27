//! What to optimise with.

use super::config::Config;
use super::step::Step;
use serde::{Deserialize, Serialize};

/// An update rule with its learning rate and weight decay.
///
/// In TOML a flat table: `rule = "adam"`, `learning_rate = 0.001`, and where the defaults do not suit `beta1`,
/// `beta2`, `epsilon`, `form = "epsilon_hat"`, `initial`, and either `l2` or `decoupled_decay`. A setting that the
/// rule does not have is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Config", into = "Config")]
pub struct Optimiser {
    /// The rule.
    pub rule: Rule,
    /// What pulls values towards zero.
    pub decay: Decay,
    /// Step size before any schedule. There is no default: the right one depends on rule, model and batch.
    pub learning_rate: f64,
}

/// How a gradient becomes a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `p -= lr * g`.
    Sgd,
    /// Adagrad (Duchi, Hazan and Singer, JMLR 2011): `a += g^2; p -= lr * g / (sqrt(a) + epsilon)`.
    Adagrad {
        /// First value of `a`. Default 0.1, as in TensorFlow: with 0 each first step has length `lr` whatever `g` is.
        initial: f64,
        /// Default 1e-10, as in PyTorch: it matters only where `initial` is 0.
        epsilon: f64,
    },
    /// Adam (Kingma and Ba, ICLR 2015).
    Adam {
        /// Decay of the mean of gradients. Default 0.9, from the paper.
        beta1: f64,
        /// Decay of the mean of their squares. Default 0.999, from the paper.
        beta2: f64,
        /// Default 1e-8, from the paper.
        epsilon: f64,
        /// Where `epsilon` stands.
        form: AdamForm,
    },
}

/// The two published forms of Adam, which differ in where `epsilon` stands; with `m` and `v` the running means and
/// `c1 = 1 - beta1^t`, `c2 = 1 - beta2^t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdamForm {
    /// `p -= lr / c1 * m / (sqrt(v / c2) + epsilon)`: the paper's algorithm 1. The default, since most figures
    /// published today were made with it.
    #[default]
    #[serde(rename = "pytorch")]
    PyTorch,
    /// `p -= lr * sqrt(c2) / c1 * m / (sqrt(v) + epsilon)`: the paper's remark at the end of section 2, and
    /// TensorFlow's Adam. Early steps are shorter, by up to 30 times for tiny gradients.
    EpsilonHat,
}

/// What pulls values towards zero. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Decay {
    /// Nothing.
    #[default]
    None,
    /// L2: adds this times the value to its gradient, before the rule sees it.
    Coupled(f64),
    /// Multiplies the value by `1 - lr * this` before the rule moves it (Loshchilov and Hutter, ICLR 2019).
    Decoupled(f64),
}

/// A number that a rule keeps for each value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// What the rule calls it.
    pub name: SlotName,
    /// What it holds before the first step.
    pub initial: f32,
}

/// Names of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotName {
    /// Adagrad's sum of squares.
    Accumulator,
    /// Adam's mean of gradients.
    Mean,
    /// Adam's mean of squares.
    Square,
}

/// A setting of an optimiser that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimiserError {
    /// A number outside its range.
    #[error("the optimiser's {setting} must be {expected}, got {got}")]
    OutOfRange {
        /// Name of the setting.
        setting: &'static str,
        /// The range.
        expected: &'static str,
        /// The number.
        got: f64,
    },
    /// A setting of another rule.
    #[error("the rule \"{rule}\" has no setting \"{setting}\"; remove it or choose another rule")]
    NotOfRule {
        /// The rule chosen.
        rule: &'static str,
        /// The setting given.
        setting: &'static str,
    },
    /// Both kinds of decay.
    #[error("l2 = {l2} and decoupled_decay = {decoupled} were both given; choose one")]
    TwoDecays {
        /// L2 in the gradient.
        l2: f64,
        /// Decoupled.
        decoupled: f64,
    },
}

impl Rule {
    /// Adagrad with its defaults.
    pub const ADAGRAD: Rule = Rule::Adagrad { initial: 0.1, epsilon: 1e-10 };
    /// Adam with its defaults.
    pub const ADAM: Rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, form: AdamForm::PyTorch };

    /// The numbers that it keeps for each value: none, one or two.
    pub fn slots(&self) -> Vec<Slot> {
        match *self {
            Rule::Sgd => vec![],
            Rule::Adagrad { initial, .. } => vec![Slot { name: SlotName::Accumulator, initial: initial as f32 }],
            Rule::Adam { .. } => {
                vec![Slot { name: SlotName::Mean, initial: 0.0 }, Slot { name: SlotName::Square, initial: 0.0 }]
            }
        }
    }
}

impl Optimiser {
    /// An optimiser without decay. Call [`Optimiser::check`] on settings that come from outside.
    pub fn new(rule: Rule, learning_rate: f64) -> Optimiser {
        Optimiser { rule, decay: Decay::None, learning_rate }
    }

    /// The same with `decay`.
    pub fn with_decay(self, decay: Decay) -> Optimiser {
        Optimiser { decay, ..self }
    }

    /// The step with this number, counted from 1 over the whole life of the parameters: Adam corrects its means by
    /// it. A schedule passes its own `learning_rate`.
    ///
    /// Panics on step 0 and on a learning rate that is negative, not finite or so large that decoupled decay would
    /// turn values round.
    pub fn step(&self, number: u64, learning_rate: f64) -> Step {
        Step::new(self, number, learning_rate)
    }

    /// Refuses settings outside their ranges.
    pub fn check(&self) -> Result<(), OptimiserError> {
        range("learning_rate", self.learning_rate, "finite and not negative", |x| x >= 0.0)?;
        match self.decay {
            Decay::None => {}
            Decay::Coupled(l2) => range("l2", l2, "finite and not negative", |x| x >= 0.0)?,
            Decay::Decoupled(decay) => {
                let expected = "at least 0 and below 1 / learning_rate";
                range("decoupled_decay", decay, expected, |x| x >= 0.0 && x * self.learning_rate < 1.0)?;
            }
        }
        self.rule.check()
    }
}

impl Rule {
    fn check(&self) -> Result<(), OptimiserError> {
        match *self {
            Rule::Sgd => Ok(()),
            Rule::Adagrad { initial, epsilon } => {
                range("initial", initial, "finite and not negative", |x| x >= 0.0)?;
                range("epsilon", epsilon, "positive, or 0 if initial is positive", |x| {
                    x >= 0.0 && (x as f32 > 0.0 || initial as f32 > 0.0)
                })
            }
            Rule::Adam { beta1, beta2, epsilon, .. } => {
                range("beta1", beta1, "at least 0 and below 1", |x| (0.0..1.0).contains(&x))?;
                range("beta2", beta2, "at least 0 and below 1", |x| (0.0..1.0).contains(&x))?;
                range("epsilon", epsilon, "positive", |x| x as f32 > 0.0)
            }
        }
    }
}

fn range(
    setting: &'static str,
    got: f64,
    expected: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), OptimiserError> {
    if got.is_finite() && holds(got) { Ok(()) } else { Err(OptimiserError::OutOfRange { setting, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_named() {
        let refused = |optimiser: Optimiser| optimiser.check().unwrap_err().to_string();
        assert!(refused(Optimiser::new(Rule::Sgd, -1.0)).contains("learning_rate must be finite"));
        assert!(refused(Optimiser::new(Rule::Sgd, f64::NAN)).contains("got NaN"));
        assert!(refused(Optimiser::new(Rule::Adagrad { initial: 0.0, epsilon: 0.0 }, 0.1)).contains("epsilon"));
        let turning = Optimiser::new(Rule::Sgd, 0.5).with_decay(Decay::Decoupled(2.0));
        assert!(refused(turning).contains("below 1 / learning_rate"));
        assert_eq!(Optimiser::new(Rule::ADAM, 1e-3).with_decay(Decay::Coupled(0.01)).check(), Ok(()));
    }
}
