//! A toy world with a known answer: users like items of their own parity, and from the third period on it is the other
//! way round.

use perennial_core::{Column, Examples, FeatureSet, Schema, Spans, Stream, Timestamp};
use perennial_learn::{Archive, Env, LearnError, Learned, StrategyConfig, TrainingConfig, pretrain};
use perennial_model::{BackboneConfig, Encoder, EncoderConfig};
use perennial_nn::Workers;
use perennial_nn::optim::{Optimiser, Rule};
use perennial_stream::SeenPeriod;
use perennial_table::RowMode;
use std::sync::Arc;

/// Items need `min_count` observations for a row.
pub(crate) fn schema(min_count: u32) -> Schema {
    let text = format!(
        r#"
        name = "parity"
        field = [
          {{ name = "user", kind = "id", role = "user", id = "int" }},
          {{ name = "item", kind = "id", role = "item", id = "int", vocabulary = {{ open = {{ min_count = {min_count} }} }} }},
          {{ name = "when", kind = "timestamp", unit = "s" }},
          {{ name = "liked", kind = "label" }},
        ]"#
    );
    Schema::parse(&text).unwrap()
}

pub(crate) const FLIP: u32 = 3;

pub(crate) fn likes(period: u32, user: u64, item: u64) -> bool {
    (user + item).is_multiple_of(2) != (period >= FLIP)
}

/// 600 examples of 20 users and 20 items, `first..` by key; histories are empty.
pub(crate) fn examples(period: u32, first: u64, label: impl Fn(u64, u64) -> bool) -> Examples {
    let mut stream = Stream::new(&[u64::from(period)]);
    let n = 600;
    let users: Vec<u32> = (0..n).map(|_| stream.below(20) as u32).collect();
    let items: Vec<u32> = (0..n).map(|_| stream.below(20) as u32).collect();
    let keys: Vec<u64> = (first..first + 20).collect();
    let labels = users.iter().zip(&items).map(|(&u, &i)| label(keys[u as usize], keys[i as usize]).into());
    let empty = Spans { start: vec![0; n], len: vec![0; n] };
    Examples {
        label: labels.map(|liked: u8| f32::from(liked)).collect(),
        weight: vec![1.0; n],
        time: vec![Timestamp(i64::from(period)); n],
        observable: vec![Timestamp(i64::from(period)); n],
        event: (0..n as u64).collect(),
        user: users.iter().map(|&u| keys[u as usize]).collect(),
        item: items.iter().map(|&i| keys[i as usize]).collect(),
        columns: vec![Column::Id(users), Column::Id(items), Column::bag(empty, Vec::new(), None)],
        keys: vec![keys.clone(), keys],
        ..Examples::default()
    }
}

pub(crate) fn seen(period: u32, part: Examples) -> SeenPeriod {
    SeenPeriod::pretraining(period as usize, Timestamp(i64::MAX), vec![Arc::new(part)]).0
}

pub(crate) fn period(period: u32) -> SeenPeriod {
    seen(period, examples(period, 0, |user, item| likes(period, user, item)))
}

/// All periods of the toy world.
pub(crate) struct World;

impl Archive for World {
    fn seen(&self, index: u32) -> Result<SeenPeriod, LearnError> {
        Ok(period(index))
    }
}

pub(crate) fn training(rows: RowMode) -> TrainingConfig {
    TrainingConfig {
        batch_size: 50,
        pretrain_epochs: 8,
        epochs: 8,
        optimiser: Optimiser::new(Rule::ADAM, 0.02),
        rows,
        ..TrainingConfig::default()
    }
}

pub(crate) struct Loop {
    pub(crate) training: TrainingConfig,
    pub(crate) workers: Workers,
    pub(crate) seed: u64,
    pub(crate) min_count: u32,
    pub(crate) backbone: BackboneConfig,
}

impl Loop {
    pub(crate) fn new(rows: RowMode, workers: usize) -> Loop {
        let (training, workers) = (training(rows), Workers::new(workers));
        Loop { training, workers, seed: 7, min_count: 1, backbone: BackboneConfig::default() }
    }

    pub(crate) fn blank(&self) -> Learned {
        let encoder = Encoder::new(FeatureSet::of(&schema(self.min_count), true), EncoderConfig::default());
        Learned::new(&self.backbone, encoder, &self.training, self.seed).unwrap()
    }

    pub(crate) fn with_env<R>(&self, pretrained: &Learned, work: impl FnOnce(&Env<'_>) -> R) -> R {
        work(&Env {
            training: &self.training,
            seed: self.seed,
            pretrained,
            blank: &|| Ok(self.blank()),
            pretraining: &|| Ok(period(0)),
            archive: &World,
            workers: &self.workers,
            progress: &|_, _| true,
        })
    }

    pub(crate) fn pretrain(&self) -> Learned {
        let blank = self.blank();
        self.with_env(&blank, |env| pretrain(blank.clone(), &period(0), env)).unwrap().0
    }

    pub(crate) fn update(
        &self,
        strategy: &StrategyConfig,
        pretrained: &Learned,
        learned: Learned,
        seen: &SeenPeriod,
    ) -> Learned {
        self.with_env(pretrained, |env| strategy.update(learned, seen, env)).unwrap().0
    }

    /// Updates on periods `1..=last`.
    pub(crate) fn run(&self, strategy: &StrategyConfig, last: u32) -> Learned {
        let pretrained = self.pretrain();
        let all = 1..=last;
        all.fold(pretrained.clone(), |learned, at| self.update(strategy, &pretrained, learned, &period(at)))
    }

    /// Share of examples of a period that the model puts on the right side.
    pub(crate) fn accuracy(&self, learned: &Learned, at: u32) -> f64 {
        let part = examples(at, 0, |user, item| likes(at, user, item));
        let logits = learned.serving().score(&part.keys, &part.columns, part.len(), &self.workers).unwrap();
        let right = logits.iter().zip(&part.label).filter(|(z, y)| (**z > 0.0) == (**y > 0.5)).count();
        right as f64 / part.len() as f64
    }
}

pub(crate) fn empty_columns() -> Vec<Column> {
    vec![Column::Id(vec![]), Column::Id(vec![]), Column::bag(Spans::default(), vec![], None)]
}
