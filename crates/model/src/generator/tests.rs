use super::*;
use crate::{DenseInit, DenseSpec, EmbeddingInit, TableSpec};
use perennial_core::VocabId;
use perennial_nn::Workers;
use perennial_nn::optim::Rule;
use perennial_table::{Init, Table};

fn spec() -> ModelSpec {
    let dense = |name: &str, rows, cols| DenseSpec { name: name.into(), rows, cols, init: DenseInit::Zero };
    ModelSpec {
        dense: vec![dense("kernel", 9, 11), dense("bias", 1, 5)],
        tables: vec![TableSpec { name: "ids".into(), vocab: VocabId(0), dim: 6, init: EmbeddingInit::Zero }],
        statistics: Vec::new(),
    }
}

/// Parameters drawn at random, `ids` rows beside the reserved ones.
fn params(ids: u64, seed: u64) -> Params {
    let mut stream = Stream::new(&[seed]);
    let mut draw = |n: usize| (0..n).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
    let dense = spec().dense.into_iter().map(|spec| Dense {
        name: spec.name,
        rows: spec.rows,
        cols: spec.cols,
        values: draw(spec.rows * spec.cols),
        slots: Vec::new(),
    });
    let dense = dense.collect();
    let table = perennial_table::TableSpec { name: "ids".into(), dim: 6, seed, init: Init::Normal { std: 1.0 } };
    let mut table = Table::new(table).unwrap();
    table.grow(&(0..ids).collect::<Vec<_>>());
    Params { dense, tables: vec![table], statistics: Vec::new() }
}

fn snapshot(ids: u64, seed: u64) -> Snapshot {
    Snapshot { params: params(ids, seed), activity: vec![Activity::default()] }
}

fn generator(config: &GeneratorConfig) -> Generator {
    Generator::new(config, &spec(), &Optimiser::new(Rule::ADAM, 1e-2), 3)
}

fn every_sharing() -> Vec<GeneratorConfig> {
    let all = [Sharing::Coordinate, Sharing::Row, Sharing::Column, Sharing::Tensor];
    let shares = all.map(|sharing| Shares {
        tables: if sharing == Sharing::Tensor { sharing } else { Sharing::Column },
        matrices: sharing,
        vectors: sharing,
        everything: false,
    });
    let everything = Shares { everything: true, ..Shares::default() };
    shares
        .into_iter()
        .chain([everything])
        .map(|share| GeneratorConfig { share, ..GeneratorConfig::default() })
        .collect()
}

fn run(generator: &Generator, models: &[&Snapshot], workers: usize) -> Params {
    let mut states = generator.zero_states(StateFormat::F32, &models[0].params);
    let workers = Workers::new(workers);
    let mut made = None;
    for (at, now) in models.iter().enumerate() {
        let reading = Reading { now, before: at.checked_sub(1).map(|before| models[before]) };
        made = generator.step(&reading, &mut states, true, |_, _| false, &workers);
    }
    made.unwrap()
}

/// 3 d^2 + 4 d + 1 = 65 for d = 4 (ASMG's spec, section 2.1): one per scalar of dense tensors, one per dimension of a
/// table.
#[test]
fn a_generator_has_the_size_of_the_paper() {
    let generator = generator(&GeneratorConfig::default());
    // The 99 coordinates of the kernel are padded to two rows of 64 lanes.
    assert_eq!(generator.size(), 65 * (128 + 5 + 6));
    let shared = GeneratorConfig { share: Shares { everything: true, ..Shares::default() }, ..Default::default() };
    assert_eq!(self::generator(&shared).size(), 65);
}

#[test]
fn a_residual_generator_starts_as_the_base_model() {
    for config in every_sharing() {
        let config = GeneratorConfig { output: Output::Residual, ..config };
        let (old, new) = (snapshot(20, 1), snapshot(20, 2));
        assert_eq!(run(&generator(&config), &[&old, &new], 1).digest(), new.params.digest(), "{config:?}");
    }
}

/// ASMG's spec, test 9: ids share their generators, dimensions do not.
#[test]
fn permuting_ids_permutes_what_is_generated() {
    let generator = generator(&GeneratorConfig::default());
    let (mut model, mut permuted, mut turned) = (snapshot(20, 1), snapshot(20, 1), snapshot(20, 1));
    let row = |model: &Snapshot, row: u32| model.params.tables[0].row(row).to_vec();
    let (five, nine) = (row(&model, 5), row(&model, 9));
    permuted.params.tables[0].row_mut(5).copy_from_slice(&nine);
    permuted.params.tables[0].row_mut(9).copy_from_slice(&five);
    turned.params.tables[0].row_mut(5).reverse();
    let [made, swapped, turned] = [&mut model, &mut permuted, &mut turned].map(|model| run(&generator, &[&*model], 1));
    assert_eq!(made.tables[0].row(5), swapped.tables[0].row(9));
    assert_eq!(made.tables[0].row(9), swapped.tables[0].row(5));
    let mut reversed = made.tables[0].row(5).to_vec();
    reversed.reverse();
    assert_ne!(turned.tables[0].row(5), reversed);
}

#[test]
fn a_step_gives_the_same_bits_on_any_number_of_workers() {
    let model = snapshot(3000, 1);
    for config in every_sharing() {
        let generator = generator(&config);
        let alone = run(&generator, &[&model, &model], 1).digest();
        assert_eq!(run(&generator, &[&model, &model], 3).digest(), alone, "{config:?}");
    }
}

#[test]
fn the_pad_row_is_never_generated() {
    let model = snapshot(4, 1);
    let made = run(&generator(&GeneratorConfig::default()), &[&model], 1);
    assert_eq!(made.tables[0].row(perennial_table::PAD), [0.0; 6]);
    assert_ne!(made.tables[0].row(3), model.params.tables[0].row(3));
}

/// An id that is born at scoring gets what it would have got if it had had its first value all along.
#[test]
fn a_newborn_id_is_generated_from_its_first_value() {
    for features in [vec![], vec![Feature::Change, Feature::Frequency, Feature::Age]] {
        let generator = generator(&GeneratorConfig { features, ..GeneratorConfig::default() });
        let (old, all) = (snapshot(4, 1), snapshot(9, 1));
        let expected = run(&generator, &[&all, &all, &all], 1);
        let newborn = Newborn::Recurrent(Recurrent { generator: generator.into(), past: Vec::new(), steps: 3 });
        let mut grown = old.params.clone();
        grown.tables[0].grow(&[4, 5, 6, 7, 8]);
        newborn.generate(&mut grown, &[6]);
        assert_eq!(grown.tables[0].row(8), expected.tables[0].row(8));
        assert_eq!(grown.tables[0].row(5), old.params.tables[0].row(5), "known rows stay");
    }
}

/// Rows that are born later, as if they had been there from the start: states carried by other weights before.
#[test]
fn a_newborn_id_may_have_evolved_for_ever() {
    let old = generator(&GeneratorConfig::default());
    let new = Generator::new(old.config(), &spec(), &Optimiser::new(Rule::ADAM, 1e-2), 4);
    let (small, all, workers) = (snapshot(4, 1), snapshot(9, 1), Workers::new(1));
    let reading = Reading { now: &all, before: None };
    let mut states = old.zero_states(StateFormat::F32, &all.params);
    old.step(&reading, &mut states, false, |_, _| false, &workers);
    old.step(&reading, &mut states, false, |_, _| false, &workers);
    let expected = new.step(&reading, &mut states.clone(), true, |_, _| false, &workers).unwrap();

    let past: Vec<std::sync::Arc<Generator>> = vec![old.with_table_weights(old.table_weights()).into(); 2];
    let mut state = vec![0.0; 24];
    evolved(&past, &reading, 2, 9, &mut state);
    let mut carried = vec![0.0; 24];
    states[2].read(9, &mut carried);
    assert_eq!(state, carried);
    let newborn = Newborn::Recurrent(Recurrent { generator: new.into(), past, steps: 1 });
    let mut grown = small.params.clone();
    grown.tables[0].grow(&[4, 5, 6, 7, 8]);
    newborn.generate(&mut grown, &[6]);
    assert_eq!(grown.tables[0].row(9), expected.tables[0].row(9));
}

#[test]
fn weights_are_those_of_the_model_or_refused() {
    let generator = generator(&GeneratorConfig::default());
    let again = Generator::with_weights(generator.config(), &spec(), generator.weights.clone()).unwrap();
    assert_eq!(again, generator);
    let fewer = generator.weights[1..].to_vec();
    assert!(Generator::with_weights(generator.config(), &spec(), fewer).is_err());
}
