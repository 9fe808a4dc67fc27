//! What training on a static split found: the content of its `results.json`.
//!
//! UTF-8 JSON of one [`SplitResults`]; every field of the types below under its own name. `format` comes first and is
//! [`SPLIT_FORMAT`]. Numbers are written so that they read back bit for bit.

use crate::{Criterion, Error, Metric, PeriodMetrics, Summary};
use perennial_core::Digest;
use serde::{Deserialize, Serialize};

/// The format that this version writes and reads.
pub const SPLIT_FORMAT: u32 = 1;

/// Everything measured on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitResults {
    /// [`SPLIT_FORMAT`].
    pub format: u32,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the schema.
    pub data: String,
    /// How many examples each part holds.
    pub rows: SplitRows,
    /// By what the best epoch was chosen, on the validation examples.
    pub watch: Criterion,
    /// Epochs, from 1, that tables show beside the best and the last one.
    pub report_epochs: Vec<u32>,
    /// The methods in the order of the experiment.
    pub methods: Vec<SplitMethodResults>,
}

/// How many examples each part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRows {
    /// Trained on.
    pub train: u64,
    /// Chosen by.
    pub valid: u64,
    /// Judged by.
    pub test: u64,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitMethodResults {
    /// Name, unique among the methods.
    pub name: String,
    /// The loss.
    pub objective: String,
    /// Where the earlier scores came from that the loss compares with; `None` if it does not.
    pub previous: Option<String>,
    /// One run per seed.
    pub seeds: Vec<SplitRun>,
}

/// One run of a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRun {
    /// The seed.
    pub seed: u64,
    /// Numbers that training may move: dense tensors and rows, that of unknown ids included.
    pub parameters: u64,
    /// The best epoch by validation, from 1.
    pub best: u32,
    /// All epochs, in order.
    pub epochs: Vec<SplitEpoch>,
    /// Digest of the model that was kept.
    pub digest: Digest,
    /// Seconds of all of it, models for earlier scores included.
    pub seconds: f64,
}

/// How good a model was after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitEpoch {
    /// Which, from 1.
    pub epoch: u32,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Mean loss over it; `None` without examples.
    pub loss: Option<f64>,
    /// On the validation examples.
    pub valid: PeriodMetrics,
    /// On the test examples.
    pub test: PeriodMetrics,
}

/// A moment of a run that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitMoment {
    /// After this epoch, from 1.
    Epoch(u32),
    /// The best epoch by validation.
    Best,
    /// The last epoch.
    Last,
}

impl SplitRun {
    /// The epoch of a moment; `None` if the run did not come so far.
    pub fn at(&self, moment: SplitMoment) -> Option<&SplitEpoch> {
        let wanted = match moment {
            SplitMoment::Epoch(epoch) => epoch,
            SplitMoment::Best => self.best,
            SplitMoment::Last => return self.epochs.last(),
        };
        self.epochs.iter().find(|epoch| epoch.epoch == wanted)
    }
}

impl SplitMethodResults {
    /// Mean over seeds of a metric of the test examples, over the runs that came so far and have a value.
    pub fn summary(&self, metric: &Metric, moment: SplitMoment) -> Option<Summary> {
        let values = self.seeds.iter().filter_map(|run| run.at(moment)?.test.get(metric.name));
        Summary::of(&values.collect::<Vec<_>>())
    }
}

impl SplitResults {
    /// The moments that tables show, in order of time.
    pub fn moments(&self) -> Vec<SplitMoment> {
        let chosen = self.report_epochs.iter().map(|&epoch| SplitMoment::Epoch(epoch));
        chosen.chain([SplitMoment::Best, SplitMoment::Last]).collect()
    }

    /// The content of `results.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("results are plain data with text keys")
    }

    /// Reads `results.json`. Errs on another format and on unknown fields.
    pub fn from_json(text: &str) -> Result<SplitResults, Error> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        match serde_json::from_str::<Header>(text)?.format {
            SPLIT_FORMAT => Ok(serde_json::from_str(text)?),
            got => Err(Error::Format { expected: SPLIT_FORMAT, got }),
        }
    }

    /// Digest of all but the durations.
    pub fn digest(&self) -> Digest {
        let mut timeless = self.clone();
        timeless.methods.iter_mut().flat_map(|method| &mut method.seeds).for_each(|run| run.seconds = 0.0);
        Digest::of_bytes(timeless.to_json().as_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two methods, of which the second stops early with its second seed.
    pub(crate) fn sample() -> SplitResults {
        let metrics = |auc: f64| PeriodMetrics {
            rows: 10,
            positives: 3,
            values: [("auc".to_owned(), auc), ("log_loss".to_owned(), 1.0 - auc)].into(),
            ..PeriodMetrics::default()
        };
        let run = |seed, best, aucs: &[f64]| SplitRun {
            seed,
            parameters: 54_321,
            best,
            epochs: (1..)
                .zip(aucs)
                .map(|(epoch, &auc)| SplitEpoch {
                    epoch,
                    learning_rate: 0.001,
                    loss: Some(0.5),
                    valid: metrics(auc),
                    test: metrics(auc),
                })
                .collect(),
            digest: Digest::of_bytes(&[seed as u8]),
            seconds: 1.5,
        };
        let method = |name: &str, seeds| SplitMethodResults {
            name: name.into(),
            objective: "bce".into(),
            previous: None,
            seeds,
        };
        SplitResults {
            format: SPLIT_FORMAT,
            experiment: "toy".into(),
            data: "clicks".into(),
            rows: SplitRows { train: 80, valid: 10, test: 10 },
            watch: Criterion::Auc,
            report_epochs: vec![3],
            methods: vec![
                method("fm", vec![run(1, 2, &[0.6, 0.8, 0.7]), run(2, 3, &[0.6, 0.7, 0.75])]),
                method("lr", vec![run(1, 1, &[0.55, 0.5, 0.52]), run(2, 1, &[0.57, 0.5])]),
            ],
        }
    }

    #[test]
    fn reads_back_what_it_wrote_and_no_other_format() {
        let results = sample();
        assert_eq!(SplitResults::from_json(&results.to_json()).unwrap(), results);
        let other = SplitResults { format: 9, ..results };
        assert!(SplitResults::from_json(&other.to_json()).unwrap_err().to_string().contains("format 9"));
    }

    #[test]
    fn moments_are_of_the_epochs_they_name() {
        let results = sample();
        let auc = |method: usize, moment| results.methods[method].summary(Criterion::Auc.metric(), moment);
        let near = |summary: Option<Summary>, mean: f64, seeds: usize| {
            let summary = summary.unwrap();
            assert!((summary.mean - mean).abs() < 1e-12 && summary.seeds == seeds, "{summary:?}, {mean} of {seeds}");
        };
        near(auc(0, SplitMoment::Epoch(3)), (0.7 + 0.75) / 2.0, 2);
        near(auc(0, SplitMoment::Best), (0.8 + 0.75) / 2.0, 2);
        near(auc(1, SplitMoment::Last), (0.52 + 0.5) / 2.0, 2);
        near(auc(1, SplitMoment::Epoch(3)), 0.52, 1);
        assert_eq!(auc(1, SplitMoment::Epoch(4)), None);
    }

    #[test]
    fn the_digest_leaves_durations_out_and_nothing_else() {
        let mut other = sample();
        other.methods[0].seeds[0].seconds = 9.0;
        assert_eq!(other.digest(), sample().digest());
        other.methods[0].seeds[0].epochs[0].learning_rate = 9.0;
        assert_ne!(other.digest(), sample().digest());
    }
}
