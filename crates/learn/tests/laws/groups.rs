//! Groups of parameters with optimisers of their own.

use crate::world::{Loop, schema};
use perennial_core::FeatureSet;
use perennial_learn::{LearnError, Learned, StrategyConfig};
use perennial_model::backbone::{FieldsConfig, MlpConfig, WideDeepConfig};
use perennial_model::encoder::UNKNOWN_ROW;
use perennial_model::{BackboneConfig, EmbeddingInit, Encoder, EncoderConfig, Group};
use perennial_nn::optim::{Decay, Optimiser, Override, Rule};
use perennial_table::RowMode;

fn world(workers: usize, optimiser: Optimiser, groups: &[(Group, &str)]) -> Loop {
    let fields = FieldsConfig { dim: 6, init: EmbeddingInit::Normal { std: 0.1 }, ..FieldsConfig::default() };
    let mlp = MlpConfig { hidden: vec![16, 8], ..MlpConfig::default() };
    let backbone = BackboneConfig::WideDeep(WideDeepConfig { fields, mlp });
    let mut world = Loop { backbone, ..Loop::new(RowMode::DenseParity, workers) };
    world.training.optimiser = optimiser;
    world.training.groups = groups.iter().map(|(group, text)| (*group, group_of(text))).collect();
    world
}

fn group_of(text: &str) -> Override {
    serde_json::from_str(text).unwrap()
}

fn adam() -> Optimiser {
    Optimiser::new(Rule::ADAM, 0.02)
}

fn trained(world: &Loop) -> Learned {
    world.run(&StrategyConfig::Incremental, 2)
}

/// The values of the unknown row of a table, which no example of the toy world reads.
fn untouched(learned: &Learned, table: usize) -> Vec<f32> {
    learned.servable.params.tables[table].row(UNKNOWN_ROW).to_vec()
}

fn tables_of(world: &Loop, group: Group) -> Vec<usize> {
    let blank = world.blank();
    let tables = blank.servable.backbone.spec().tables.iter().enumerate();
    tables.filter(|(_, spec)| Group::of_table(spec) == group).map(|(id, _)| id).collect()
}

/// L2 over whole tables: a row that no batch reads moves as a dense optimiser moves it, whose gradient is L2 times the value,
/// bit for bit; the tables of other groups stand still there.
#[test]
fn embeddings_decay_alone_as_a_dense_optimiser_would_have_it() {
    let world = world(1, adam(), &[(Group::Embeddings, r#"{"l2": 0.05}"#)]);
    let (blank, learned) = (world.blank(), trained(&world));
    let decaying = adam().with_decay(Decay::Coupled(0.05));
    for table in tables_of(&world, Group::Embeddings) {
        let mut values = untouched(&blank, table);
        let (mut first, mut second) = (vec![0.0; values.len()], vec![0.0; values.len()]);
        let zeros = vec![0.0; values.len()];
        for step in 1..=learned.step {
            let step = decaying.step(step, decaying.learning_rate);
            step.update(&mut values, &zeros, [&mut first, &mut second]);
        }
        assert_ne!(values, untouched(&blank, table));
        assert_eq!(values, untouched(&learned, table), "table {table}");
    }
    for table in tables_of(&world, Group::Linear) {
        assert_eq!(untouched(&blank, table), untouched(&learned, table));
    }
}

/// What one group does otherwise is what the others do not do.
#[test]
fn a_setting_of_one_group_is_one_that_the_others_refuse() {
    let embeddings = world(1, adam(), &[(Group::Embeddings, r#"{"l2": 0.05}"#)]);
    let off = [(Group::Linear, r#"{"l2": 0}"#), (Group::Deep, r#"{"l2": 0}"#)];
    let complement = world(1, adam().with_decay(Decay::Coupled(0.05)), &off);
    let all = world(1, adam().with_decay(Decay::Coupled(0.05)), &[]);
    let plain = world(1, adam(), &[]);
    let [embeddings, complement, all, plain] =
        [embeddings, complement, all, plain].map(|world| trained(&world).digest());
    assert_eq!(embeddings, complement);
    assert!(embeddings != all && embeddings != plain);
}

#[test]
fn groups_of_other_rules_learn_alike_on_any_number_of_workers() {
    let groups =
        [(Group::Linear, r#"{"rule": "adagrad", "learning_rate": 0.1}"#), (Group::Deep, r#"{"learning_rate": 0.01}"#)];
    let digests = [1, 2, 3].map(|workers| {
        let world = world(workers, adam(), &groups);
        let learned = trained(&world);
        assert!(world.accuracy(&learned, 2) > 0.9);
        let slots: Vec<usize> = learned.servable.params.dense.iter().map(|dense| dense.slots.len()).collect();
        assert!(slots.contains(&1) && slots.contains(&2), "{slots:?}");
        learned.digest()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn a_group_that_the_model_has_not_is_named() {
    let mut world = world(1, adam(), &[(Group::Linear, r#"{"learning_rate": 0.1}"#)]);
    world.backbone = BackboneConfig::default();
    let encoder = Encoder::new(FeatureSet::of(&schema(1), true), EncoderConfig::default());
    let blank = Learned::new(&world.backbone, encoder, &world.training, 1);
    let Err(LearnError::Config { key, problem }) = blank else { panic!("accepted") };
    assert_eq!((key.as_str(), problem.contains("embeddings, deep")), ("training.groups.linear", true), "{problem}");
}
