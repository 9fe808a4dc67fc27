//! Rows that are generated for a batch against whole models, and slopes against differences.

use super::mixture::{Granularity, Mixture, lanes, mix};
use super::{Sequence, Through, Transferring, Unrolled};
use crate::descent::Gradients;
use crate::pass::Pass;
use crate::{Learned, TrainingConfig};
use perennial_core::{Column, Encoded, FeatureSet, Schema, Spans, Stream};
use perennial_model::generator::{
    Activity, Feature, Generator, GeneratorConfig, Output, Reading, Shares, Sharing, Snapshot, StateFormat, States,
};
use perennial_model::transfer::{Matrices, Transfer, TransferConfig, Wanted};
use perennial_model::{Backbone, Encoder, Objective, Params, TableId};
use perennial_nn::cell::CellKind;
use perennial_nn::optim::{Optimiser, Rule};
use perennial_nn::{Gelu, Workers};

const STEPS: usize = 3;
const SHARES: [f64; STEPS] = [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0];

/// Three random models of 30 users and 30 items, and examples of a few of them.
struct Fixture {
    backbone: Backbone,
    snapshots: Vec<Snapshot>,
    sets: Vec<Encoded>,
    workers: Workers,
}

fn fixture() -> Fixture {
    let schema = Schema::parse(
        r#"
        name = "toy"
        field = [
          { name = "user", kind = "id", role = "user", id = "int" },
          { name = "item", kind = "id", role = "item", id = "int" },
          { name = "when", kind = "timestamp", unit = "s" },
          { name = "liked", kind = "label" },
        ]"#,
    )
    .unwrap();
    let training = TrainingConfig::default();
    let encoder = Encoder::new(FeatureSet::of(&schema, true), Default::default());
    let mut learned = Learned::new(&Default::default(), encoder, &training, 1).unwrap();
    let keys: Vec<u64> = (0..30).collect();
    let backbone = learned.servable.backbone.clone();
    learned.servable.params.grow(backbone.spec(), &[keys.clone(), keys]);
    let snapshots = (0..STEPS as u64).map(|seed| snapshot(learned.servable.params.values_only(), seed));
    let sets = (10..10 + STEPS as u64).map(examples);
    Fixture { snapshots: snapshots.collect(), sets: sets.collect(), backbone, workers: Workers::new(1) }
}

fn snapshot(mut params: Params, seed: u64) -> Snapshot {
    let mut stream = Stream::new(&[seed]);
    params.dense.iter_mut().flat_map(|dense| &mut dense.values).for_each(|x| *x += 0.1 * stream.normal() as f32);
    let mut activity = Vec::new();
    for table in &mut params.tables {
        (1..table.rows()).for_each(|row| table.row_mut(row).iter_mut().for_each(|x| *x = 0.5 * stream.normal() as f32));
        activity.push(Activity::default().next((0..table.rows()).map(|_| stream.below(3) as u32).collect()));
    }
    Snapshot { params, activity }
}

/// Twenty examples of nine users and nine items, with histories; other rows of the tables are not read.
fn examples(seed: u64) -> Encoded {
    let mut stream = Stream::new(&[seed]);
    let mut ids = |n: usize| (0..n).map(|_| 5 + stream.below(9) as u32).collect::<Vec<u32>>();
    let spans = Spans { start: (0..20).map(|i| 2 * i).collect(), len: (0..20).map(|i| i % 3).collect() };
    let columns = vec![Column::Id(ids(20)), Column::Id(ids(20)), Column::bag(spans, ids(42), None)];
    let label = (0..20).map(|_| stream.below(2) as f32).collect();
    Encoded { columns, label, weight: vec![1.0; 20], ..Encoded::default() }
}

impl Fixture {
    fn readings(&self) -> Vec<Reading<'_>> {
        let before = |at: usize| at.checked_sub(1).map(|before| &self.snapshots[before]);
        (0..STEPS).map(|at| Reading { now: &self.snapshots[at], before: before(at) }).collect()
    }

    /// The loss and its slopes by the generator's weights, by rows that the batches read.
    fn sparse(&self, generator: &Generator, start: &[States], copies: bool) -> (f64, Vec<Vec<f32>>) {
        let readings = self.readings();
        let sequence = Sequence { readings: &readings, start, copies };
        let sets: Vec<Option<&Encoded>> = self.sets.iter().map(Some).collect();
        let batch: Vec<u32> = (0..20).collect();
        let batches = [batch.as_slice(); STEPS];
        let mut unrolled = Unrolled::new(2, 2);
        let workers = &self.workers;
        let objective = Objective::BCE;
        let loss =
            unrolled.differentiate(generator, &self.backbone, sequence, &sets, &batches, &SHARES, objective, workers);
        (loss, unrolled.gradients)
    }

    /// The same loss by whole models.
    fn full(&self, generator: &Generator, start: &[States], copies: bool) -> f64 {
        let mut states = start.to_vec();
        let mut loss = 0.0;
        for ((reading, set), share) in self.readings().iter().zip(&self.sets).zip(SHARES) {
            let copied = |table: usize, row: u32| copies && !reading.now.activity[table].is_active(row as usize);
            let params = generator.step(reading, &mut states, true, copied, &self.workers).unwrap();
            loss += self.loss(&params, set, share);
        }
        loss
    }

    fn loss(&self, params: &Params, set: &Encoded, share: f64) -> f64 {
        let mut pass = Pass::new(2);
        let weight = pass.split(set, &(0..20).collect::<Vec<_>>(), &Objective::BCE);
        pass.differentiate(&self.backbone, params, &set.columns, Objective::BCE, weight / share, None, &self.workers)
    }
}

fn configs() -> Vec<(GeneratorConfig, bool)> {
    let plain = GeneratorConfig::default();
    let share = |matrices, tables| Shares { matrices, tables, vectors: matrices, everything: false };
    vec![
        (plain.clone(), false),
        (plain.clone(), true),
        (GeneratorConfig { cell: CellKind::Lstm, output: Output::Residual, ..plain.clone() }, false),
        (
            GeneratorConfig { cell: CellKind::Vanilla, share: share(Sharing::Row, Sharing::Column), ..plain.clone() },
            false,
        ),
        (GeneratorConfig { share: share(Sharing::Column, Sharing::Tensor), ..plain.clone() }, true),
        (GeneratorConfig { share: Shares { everything: true, ..Shares::default() }, ..plain.clone() }, false),
        (GeneratorConfig { features: vec![Feature::Change, Feature::Frequency, Feature::Age], ..plain }, false),
    ]
}

/// Weights that are not those of the start, and states that are not zero.
fn trained(config: &GeneratorConfig, fixture: &Fixture) -> (Generator, Vec<States>) {
    let spec = fixture.backbone.spec();
    let mut generator = Generator::new(config, spec, &Optimiser::new(Rule::ADAM, 1e-2), 1);
    let mut stream = Stream::new(&[77]);
    generator.weights.iter_mut().flat_map(|dense| &mut dense.values).for_each(|x| *x = 0.4 * stream.normal() as f32);
    let mut states = generator.zero_states(StateFormat::F32, &fixture.snapshots[0].params);
    generator.step(&fixture.readings()[0], &mut states, false, |_, _| false, &fixture.workers);
    (generator, states)
}

/// ASMG's spec, test 7.
#[test]
fn rows_generated_for_a_batch_are_those_of_the_whole_model() {
    let fixture = fixture();
    for (config, copies) in configs() {
        let (generator, start) = trained(&config, &fixture);
        let (sparse, full) = (fixture.sparse(&generator, &start, copies).0, fixture.full(&generator, &start, copies));
        assert_eq!(sparse, full, "{config:?}, {copies}");
    }
}

/// ASMG's spec, test 8, through backbone, batch and sequence: slopes by weights of every part against central
/// differences of the whole models' loss. In f32: rounding of the loss, some 1e-7 over steps of 2e-3, bounds what can be
/// asked.
#[test]
fn slopes_of_the_generator_equal_differences() {
    let fixture = fixture();
    for (config, copies) in configs() {
        let (mut generator, start) = trained(&config, &fixture);
        let slopes = fixture.sparse(&generator, &start, copies).1;
        for (part, slopes) in slopes.iter().enumerate() {
            let len = generator.weights[part].values.len();
            for at in (0..len).step_by(len.div_ceil(6)) {
                let weight = generator.weights[part].values[at];
                let mut moved = |by: f32| {
                    generator.weights[part].values[at] = weight + by;
                    fixture.full(&generator, &start, copies)
                };
                let numeric = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                moved(0.0);
                let slope = f64::from(slopes[at]);
                let tolerance = 1e-3 + 0.02 * numeric.abs();
                assert!(
                    (numeric - slope).abs() < tolerance,
                    "{config:?}, part {part}, weight {at}: {slope}, {numeric}"
                );
            }
        }
    }
}

#[test]
fn slopes_are_the_same_on_any_number_of_workers() {
    let mut fixture = fixture();
    for (config, copies) in configs() {
        let (generator, start) = trained(&config, &fixture);
        let alone = fixture.sparse(&generator, &start, copies);
        fixture.workers = Workers::new(3);
        assert_eq!(fixture.sparse(&generator, &start, copies), alone, "{config:?}");
        fixture.workers = Workers::new(1);
    }
}

#[test]
fn slopes_of_a_mixture_equal_differences() {
    let fixture = fixture();
    let spec = fixture.backbone.spec();
    let models: Vec<&Snapshot> = fixture.snapshots.iter().collect();
    let set = &fixture.sets[2];
    let batch: Vec<u32> = (0..20).collect();
    for granularity in [Granularity::Tensor, Granularity::Coordinate] {
        let mut stream = Stream::new(&[5]);
        let parts = 0..spec.dense.len() + spec.tables.len();
        let mut draw = |part| (0..STEPS * lanes(granularity, spec, part)).map(|_| stream.unit_f32()).collect();
        let mut weights: Vec<Vec<f32>> = parts.map(&mut draw).collect();
        let mut mixture = Mixture::new(2, spec);
        let data = (set, batch.as_slice());
        let (loss, slopes) =
            mixture.differentiate(&models, &weights, &fixture.backbone, data, Objective::BCE, &fixture.workers);
        let slopes: Vec<Vec<f32>> = slopes.iter().map(|slopes| slopes.to_vec()).collect();
        let whole = |weights: &Vec<Vec<f32>>| fixture.loss(&mix(&models, weights, spec, &fixture.workers), set, 1.0);
        assert_eq!(loss, whole(&weights), "rows of a batch are those of the whole model");
        for (part, slopes) in slopes.iter().enumerate() {
            for at in (0..weights[part].len()).step_by(weights[part].len().div_ceil(5)) {
                let weight = weights[part][at];
                let mut moved = |by: f32| {
                    weights[part][at] = weight + by;
                    whole(&weights)
                };
                let numeric = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                moved(0.0);
                let slope = f64::from(slopes[at]);
                let tolerance = 1e-3 + 0.02 * numeric.abs();
                assert!((numeric - slope).abs() < tolerance, "{granularity:?}, part {part}, {at}: {slope}, {numeric}");
            }
        }
    }
}

fn transfers() -> Vec<TransferConfig> {
    let plain = TransferConfig { output: Output::Plain, ..TransferConfig::default() };
    vec![
        plain.clone(),
        TransferConfig { matrices: Matrices::Rows, output: Output::Residual, ..plain.clone() },
        TransferConfig { gelu: Gelu::Sigmoid, detach_product: true, ..plain },
    ]
}

/// Networks whose last layers are not zero.
fn networks(config: &TransferConfig, fixture: &Fixture) -> Transfer {
    let mut transfer = Transfer::new(config, fixture.backbone.spec(), &Optimiser::new(Rule::ADAM, 1e-2), 1).unwrap();
    let mut stream = Stream::new(&[78]);
    transfer.weights.iter_mut().flat_map(|dense| &mut dense.values).for_each(|x| *x += 0.1 * stream.normal() as f32);
    transfer
}

impl Fixture {
    /// The loss of what is made of the first two models for the rows of a batch, with its gradients.
    fn transferring(&self, transfer: &Transfer, wanted: Wanted) -> (f64, Transferring) {
        let [previous, updated] = [0, 1].map(|at| &self.snapshots[at].params);
        let mut transferring = Transferring::new(2, 2);
        let batch: Vec<u32> = (0..20).collect();
        transferring.select(&self.backbone, &updated.tables, &self.sets[2], &batch);
        let through = Through { transfer, previous, updated, backbone: &self.backbone };
        let data = (&self.sets[2], batch.as_slice());
        let loss = transferring.differentiate(through, data, Objective::BCE, wanted, None, &self.workers);
        (loss, transferring)
    }

    /// The same loss by whole models.
    fn transferred(&self, transfer: &Transfer, updated: &Params) -> f64 {
        let made = transfer.make(&self.snapshots[0].params, updated, &self.workers);
        self.loss(&made, &self.sets[2], 1.0)
    }
}

/// Row-sparse = full (ASMG's spec, test 7, for SML).
#[test]
fn rows_transferred_for_a_batch_are_those_of_the_whole_model() {
    let fixture = fixture();
    for config in transfers() {
        let transfer = networks(&config, &fixture);
        let (sparse, full) = (
            fixture.transferring(&transfer, Wanted::Nothing).0,
            fixture.transferred(&transfer, &fixture.snapshots[1].params),
        );
        assert_eq!(sparse, full, "{config:?}");
    }
}

/// Slopes by some weights of every tensor of every network, as above.
#[test]
fn slopes_of_the_transfer_equal_differences() {
    let fixture = fixture();
    for config in transfers() {
        let mut transfer = networks(&config, &fixture);
        let slopes = fixture.transferring(&transfer, Wanted::Transfer).1.by_weights().to_vec();
        assert_eq!(slopes.len(), transfer.weights.len());
        for (tensor, slopes) in slopes.iter().enumerate() {
            let len = transfer.weights[tensor].values.len();
            for at in (0..len).step_by(len.div_ceil(3)) {
                let weight = transfer.weights[tensor].values[at];
                let mut moved = |by: f32| {
                    transfer.weights[tensor].values[at] = weight + by;
                    fixture.transferred(&transfer, &fixture.snapshots[1].params)
                };
                // A step so small that no unit of the fixture's tower passes zero.
                let numeric = (moved(2.5e-4) - moved(-2.5e-4)) / 5e-4;
                moved(0.0);
                let (slope, name) = (f64::from(slopes[at]), &transfer.weights[tensor].name);
                let tolerance = 1e-3 + 0.02 * numeric.abs();
                assert!((numeric - slope).abs() < tolerance, "{config:?}, {name}, {at}: {slope}, {numeric}");
            }
        }
    }
}

/// What reaches the rows and tensors of the updated version.
#[test]
fn slopes_of_the_updated_version_equal_differences() {
    let fixture = fixture();
    let plain = transfers().into_iter().filter(|config| !config.detach_product);
    for transfer in plain.map(|config| networks(&config, &fixture)) {
        let (_, transferring) = fixture.transferring(&transfer, Wanted::Updated);
        let mut updated = fixture.snapshots[1].params.clone();
        let mut dense: Vec<Vec<f32>> = updated.dense.iter().map(|dense| vec![0.0; dense.values.len()]).collect();
        transferring.write_dense(&mut dense, &fixture.workers);
        let table = &mut updated.tables[1];
        // Shard 6 holds row 6, which is read, and row 22, which is not.
        let rows = &mut table.shards_mut()[6];
        transferring.add_rows(TableId(1), rows);
        assert_eq!(rows.touched(), 1);
        let by_row = rows.gradients().to_vec();
        let check = |slope: f32, value: &dyn Fn(&mut Params) -> &mut f32| {
            let moved = |by: f32| {
                let mut updated = fixture.snapshots[1].params.clone();
                *value(&mut updated) += by;
                fixture.transferred(&transfer, &updated)
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let tolerance = 1e-3 + 0.02 * numeric.abs();
            assert!((numeric - f64::from(slope)).abs() < tolerance, "{slope}, {numeric}");
        };
        for (at, slope) in by_row.iter().enumerate() {
            check(*slope, &|updated| &mut updated.tables[1].row_mut(6)[at]);
        }
        for (tensor, slopes) in dense.iter().enumerate() {
            check(slopes[0], &|updated| &mut updated.dense[tensor].values[0]);
        }
    }
}

#[test]
fn slopes_of_the_transfer_are_the_same_on_any_number_of_workers() {
    let mut fixture = fixture();
    let transfer = networks(&transfers()[0], &fixture);
    let alone = fixture.transferring(&transfer, Wanted::Transfer).1.by_weights().to_vec();
    fixture.workers = Workers::new(3);
    assert_eq!(fixture.transferring(&transfer, Wanted::Transfer).1.by_weights(), alone);
}
