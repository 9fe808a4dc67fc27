//! How an optimiser is written in a configuration file.

use super::optimiser::{AdamForm, Decay, Optimiser, OptimiserError, Rule};
use serde::{Deserialize, Serialize};

/// [`Optimiser`] as a flat table, every setting optional except rule and learning rate.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    rule: RuleName,
    learning_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epsilon: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<AdamForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoupled_decay: Option<f64>,
}

/// What a group of parameters does otherwise than the optimiser that all share: a flat table as [`Optimiser`]'s, in which
/// everything may be left out. With a `rule` of its own a group takes nothing over but the learning rate and decay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleName>,
    /// Step size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epsilon: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<AdamForm>,
    /// L2 in the gradient; 0 for none where the shared optimiser has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoupled_decay: Option<f64>,
}

impl Override {
    /// The shared optimiser with these changes. Fails as an optimiser that is written out does.
    pub fn on(&self, shared: &Optimiser) -> Result<Optimiser, OptimiserError> {
        let shared = Config::from(*shared);
        let kept = if self.rule.is_none_or(|rule| rule == shared.rule) { Some(&shared) } else { None };
        let decays = self.l2.is_none() && self.decoupled_decay.is_none();
        Optimiser::try_from(Config {
            rule: self.rule.unwrap_or(shared.rule),
            learning_rate: self.learning_rate.unwrap_or(shared.learning_rate),
            initial: self.initial.or(kept.and_then(|kept| kept.initial)),
            beta1: self.beta1.or(kept.and_then(|kept| kept.beta1)),
            beta2: self.beta2.or(kept.and_then(|kept| kept.beta2)),
            epsilon: self.epsilon.or(kept.and_then(|kept| kept.epsilon)),
            form: self.form.or(kept.and_then(|kept| kept.form)),
            l2: if decays { shared.l2 } else { self.l2.filter(|l2| *l2 != 0.0) },
            decoupled_decay: if decays { shared.decoupled_decay } else { self.decoupled_decay },
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleName {
    Sgd,
    Adagrad,
    Adam,
}

impl TryFrom<Config> for Optimiser {
    type Error = OptimiserError;

    fn try_from(config: Config) -> Result<Optimiser, OptimiserError> {
        let optimiser = Optimiser { rule: config.rule()?, decay: config.decay()?, learning_rate: config.learning_rate };
        optimiser.check()?;
        Ok(optimiser)
    }
}

impl Config {
    fn rule(&self) -> Result<Rule, OptimiserError> {
        Ok(match self.rule {
            RuleName::Sgd => {
                self.refuse("sgd", &["initial", "epsilon", "beta1", "beta2", "form"])?;
                Rule::Sgd
            }
            RuleName::Adagrad => {
                self.refuse("adagrad", &["beta1", "beta2", "form"])?;
                let Rule::Adagrad { initial, epsilon } = Rule::ADAGRAD else { unreachable!("it is Adagrad") };
                Rule::Adagrad { initial: self.initial.unwrap_or(initial), epsilon: self.epsilon.unwrap_or(epsilon) }
            }
            RuleName::Adam => {
                self.refuse("adam", &["initial"])?;
                let Rule::Adam { beta1, beta2, epsilon, form } = Rule::ADAM else { unreachable!("it is Adam") };
                Rule::Adam {
                    beta1: self.beta1.unwrap_or(beta1),
                    beta2: self.beta2.unwrap_or(beta2),
                    epsilon: self.epsilon.unwrap_or(epsilon),
                    form: self.form.unwrap_or(form),
                }
            }
        })
    }

    fn refuse(&self, rule: &'static str, settings: &[&'static str]) -> Result<(), OptimiserError> {
        let given = [
            ("initial", self.initial.is_some()),
            ("beta1", self.beta1.is_some()),
            ("beta2", self.beta2.is_some()),
            ("epsilon", self.epsilon.is_some()),
            ("form", self.form.is_some()),
        ];
        match given.iter().find(|(setting, given)| *given && settings.contains(setting)) {
            Some(&(setting, _)) => Err(OptimiserError::NotOfRule { rule, setting }),
            None => Ok(()),
        }
    }

    fn decay(&self) -> Result<Decay, OptimiserError> {
        match (self.l2, self.decoupled_decay) {
            (None, None) => Ok(Decay::None),
            (Some(l2), None) => Ok(Decay::Coupled(l2)),
            (None, Some(decoupled)) => Ok(Decay::Decoupled(decoupled)),
            (Some(l2), Some(decoupled)) => Err(OptimiserError::TwoDecays { l2, decoupled }),
        }
    }
}

impl From<Optimiser> for Config {
    fn from(optimiser: Optimiser) -> Config {
        let mut config = Config {
            rule: RuleName::Sgd,
            learning_rate: optimiser.learning_rate,
            initial: None,
            beta1: None,
            beta2: None,
            epsilon: None,
            form: None,
            l2: None,
            decoupled_decay: None,
        };
        match optimiser.rule {
            Rule::Sgd => {}
            Rule::Adagrad { initial, epsilon } => {
                config.rule = RuleName::Adagrad;
                (config.initial, config.epsilon) = (Some(initial), Some(epsilon));
            }
            Rule::Adam { beta1, beta2, epsilon, form } => {
                config.rule = RuleName::Adam;
                (config.beta1, config.beta2) = (Some(beta1), Some(beta2));
                (config.epsilon, config.form) = (Some(epsilon), Some(form));
            }
        }
        match optimiser.decay {
            Decay::None => {}
            Decay::Coupled(l2) => config.l2 = Some(l2),
            Decay::Decoupled(decay) => config.decoupled_decay = Some(decay),
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Optimiser, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn reads_what_it_writes() {
        let all = [
            Optimiser::new(Rule::Sgd, 0.1).with_decay(Decay::Coupled(0.01)),
            Optimiser::new(Rule::ADAGRAD, 0.1),
            Optimiser::new(Rule::ADAM, 1e-3).with_decay(Decay::Decoupled(0.1)),
        ];
        for optimiser in all {
            assert_eq!(read(&toml::to_string(&optimiser).unwrap()), Ok(optimiser));
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(read("rule = \"adam\"\nlearning_rate = 0.001"), Ok(Optimiser::new(Rule::ADAM, 1e-3)));
        assert_eq!(read("rule = \"adagrad\"\nlearning_rate = 0.1"), Ok(Optimiser::new(Rule::ADAGRAD, 0.1)));
        let hat = read("rule = \"adam\"\nlearning_rate = 0.001\nform = \"epsilon_hat\"").unwrap();
        assert!(matches!(hat.rule, Rule::Adam { form: AdamForm::EpsilonHat, .. }));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str, expected: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "got: {error}");
        };
        refused("rule = \"adam\"", "missing field `learning_rate`");
        refused("rule = \"adam\"\nlearning_rate = 1\nbeta = 0.9", "unknown field `beta`");
        refused("rule = \"sgd\"\nlearning_rate = 1\nbeta1 = 0.9", "\"sgd\" has no setting \"beta1\"");
        refused("rule = \"adam\"\nlearning_rate = 1\nbeta1 = 1.0", "beta1 must be at least 0 and below 1");
        refused("rule = \"sgd\"\nlearning_rate = 1\nl2 = 1\ndecoupled_decay = 0.1", "choose one");
    }

    #[test]
    fn a_group_changes_what_it_says() {
        let shared = Optimiser::new(Rule::ADAM, 1e-3).with_decay(Decay::Coupled(0.01));
        let on = |text: &str| toml::from_str::<Override>(text).unwrap().on(&shared);
        assert_eq!(on(""), Ok(shared));
        assert_eq!(on("l2 = 0"), Ok(Optimiser::new(Rule::ADAM, 1e-3)));
        assert_eq!(on("l2 = 0.5"), Ok(shared.with_decay(Decay::Coupled(0.5))));
        assert_eq!(on("decoupled_decay = 0.5"), Ok(shared.with_decay(Decay::Decoupled(0.5))));
        assert_eq!(on("learning_rate = 0.1"), Ok(Optimiser { learning_rate: 0.1, ..shared }));
        assert_eq!(on("rule = \"adagrad\""), Ok(Optimiser { rule: Rule::ADAGRAD, ..shared }));
        let Rule::Adam { beta1, epsilon, form, .. } = Rule::ADAM else { unreachable!("it is Adam") };
        let slower = Rule::Adam { beta1, beta2: 0.9, epsilon, form };
        assert_eq!(on("beta2 = 0.9"), Ok(Optimiser { rule: slower, ..shared }));
        assert!(on("initial = 1").is_err() && on("rule = \"sgd\"\nbeta1 = 0.5").is_err());
        assert!(on("l2 = 1\ndecoupled_decay = 1").is_err() && on("learning_rate = -1").is_err());
        assert!(toml::from_str::<Override>("learning_rat = 1").is_err());
    }
}
