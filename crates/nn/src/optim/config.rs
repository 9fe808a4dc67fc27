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

#[derive(Clone, Copy, Serialize, Deserialize)]
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
}
