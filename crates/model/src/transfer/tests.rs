//! Gradients through networks and backbone, and what must hold of whole models.

use super::*;
use crate::BackboneConfig;
use crate::backbone::conformance::{Fixture, bce, differentiate, fixture, shaken, values};
use crate::backbone::{EmbeddingMlpConfig, MfConfig};
use perennial_core::Stream;
use perennial_nn::optim::Rule;
use perennial_nn::{Workers, check_gradient};

fn backbones() -> [BackboneConfig; 2] {
    let mlp = EmbeddingMlpConfig { dim: 3, hidden: vec![4, 2], ..EmbeddingMlpConfig::default() };
    [BackboneConfig::Mf(MfConfig { dim: 2, ..MfConfig::default() }), BackboneConfig::EmbeddingMlp(mlp)]
}

fn configs() -> Vec<TransferConfig> {
    let small = TransferConfig {
        tables: Widths { first: 2, second: 2, hidden: Some(3) },
        dense: Widths { first: 2, second: 1, hidden: Some(2) },
        output: Output::Plain,
        ..TransferConfig::default()
    };
    vec![
        small.clone(),
        TransferConfig { output: Output::Residual, gelu: Gelu::Sigmoid, ..small.clone() },
        TransferConfig { matrices: Matrices::Rows, ..small },
    ]
}

fn optimiser() -> Optimiser {
    Optimiser::new(Rule::ADAM, 1e-2)
}

/// Networks whose weights are all drawn.
fn drawn(config: &TransferConfig, spec: &ModelSpec) -> Transfer {
    let mut transfer = Transfer::new(config, spec, &optimiser(), 1).unwrap();
    let mut stream = Stream::new(&[5]);
    transfer.weights.iter_mut().flat_map(|dense| &mut dense.values).for_each(|x| *x = 0.5 * stream.normal() as f32);
    transfer
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The slow twin in f64: every parameter is made, by a tape for each part, and the backbone's own twin does the rest.
struct Chain<'a> {
    fixture: &'a Fixture,
    transfer: &'a Transfer,
    previous: Vec<Vec<f64>>,
}

impl Chain<'_> {
    /// The loss on what is made, and its gradient by all weights and by the updated version.
    fn differentiate(&self, weights: &[Vec<f64>], updated: &[Vec<f64>]) -> (f64, Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let mut parts: Vec<(Tape<f64>, [Var; TENSORS], Var, Var)> =
            (0..updated.len()).map(|part| self.make(part, weights, updated)).collect();
        let made: Vec<Vec<f64>> = parts.iter().map(|(tape, .., y)| tape.value(*y).to_vec()).collect();
        let twin = differentiate(self.fixture, &made, false, |tape, logits, _| bce(self.fixture, tape, logits));
        let (mut by_weights, mut by_updated) = (Vec::new(), Vec::new());
        for ((tape, weights, updated, y), dy) in parts.iter_mut().zip(&twin.grads) {
            tape.backward_from(*y, dy);
            by_weights.extend(weights.iter().map(|&weight| tape.grad(weight).to_vec()));
            by_updated.push(tape.grad(*updated).to_vec());
        }
        (twin.loss, by_weights, by_updated)
    }

    fn make(&self, part: usize, weights: &[Vec<f64>], updated: &[Vec<f64>]) -> (Tape<f64>, [Var; TENSORS], Var, Var) {
        let (network, mut tape) = (self.transfer.parts[part].network, Tape::new());
        let placed = std::array::from_fn(|nth| {
            let Dense { rows, cols, .. } = self.transfer.weights[part * TENSORS + nth];
            tape.leaf_of(rows, cols, &weights[part * TENSORS + nth])
        });
        let q = tape.leaf_of(updated[part].len() / network.width, network.width, &updated[part]);
        let y = network.forward(self.transfer.config(), &mut tape, placed, &self.previous[part], q);
        (tape, placed, q, y)
    }
}

/// Some 300 weights and parameters, one by one.
#[test]
fn gradients_through_the_whole_chain_equal_differences() {
    for backbone in backbones() {
        let fixture = fixture(&backbone, 9);
        for config in configs() {
            let transfer = drawn(&config, fixture.backbone.spec());
            let chain = Chain { fixture: &fixture, transfer: &transfer, previous: values(&fixture) };
            let weights: Vec<Vec<f64>> = transfer.weights.iter().map(|dense| wide(&dense.values)).collect();
            let updated = shaken(&fixture);
            let worst = check_gradient(&weights, |weights| {
                let (loss, by_weights, _) = chain.differentiate(weights, &updated);
                (loss, by_weights)
            });
            assert!(worst.error < 1e-8, "by weights, {config:?}: {worst}");
            let worst = check_gradient(&updated, |updated| {
                let (loss, _, by_updated) = chain.differentiate(&weights, updated);
                (loss, by_updated)
            });
            assert!(worst.error < 1e-8, "by the updated version, {config:?}: {worst}");
        }
    }
}

/// With the product held, the slope is that of a network whose product is given: what is left out is the product's part.
#[test]
fn a_held_product_passes_no_gradient() {
    let slope = |detach_product: bool, mix: f64| {
        let config = TransferConfig { detach_product, ..configs().remove(0) };
        let network = Network::new(config.tables, 2, 4);
        let mut tape = Tape::<f64>::new();
        let weights = network.tensors().map(|tensor| tape.leaf(tensor.rows, tensor.cols, |w| w.fill(0.3)));
        // Filters that see the product only, or the updated row only.
        let filters = tape.leaf_of(3, 2, &[0.0, 0.0, 1.0 - mix, 1.0 - mix, mix, mix]);
        let weights = [filters, weights[1], weights[2], weights[3], weights[4], weights[5]];
        let q = tape.leaf_of(1, 2, &[0.5, -0.25]);
        let y = network.forward(&config, &mut tape, weights, &[1.0, 2.0], q);
        tape.backward_from(y, &[1.0, 1.0]);
        tape.grad(q).to_vec()
    };
    assert_eq!(slope(true, 1.0), [0.0, 0.0]);
    assert!(slope(false, 1.0).iter().all(|g| *g != 0.0));
    assert_eq!(slope(true, 0.0), slope(false, 0.0));
}

/// By hand, for a row of one number: p = 2, q = 3, s = 2 * 3 / 2 = 3, or 0 where p is 0.
#[test]
fn rows_meet_their_product_over_the_length() {
    let config = TransferConfig::default();
    let network = Network::new(Widths { first: 1, second: 1, hidden: Some(1) }, 1, 1);
    let mut tape = Tape::<f64>::new();
    let q = tape.leaf_of(2, 1, &[3.0, 4.0]);
    let x = network.channels(&config, &mut tape, &[2.0, 0.0], q);
    for (got, expected) in tape.value(x).iter().zip([2.0, 3.0, 3.0, 0.0, 4.0, 0.0]) {
        // The length is 1e-15 more than it is.
        assert!((got - expected).abs() < 1e-14, "{got}, expected {expected}");
    }
}

/// ASMG's spec, test 11: a transfer that is forced to return the updated version.
#[test]
fn an_untrained_residual_network_returns_the_updated_version() {
    for backbone in backbones() {
        let fixture = fixture(&backbone, 9);
        let transfer = Transfer::new(&TransferConfig::default(), fixture.backbone.spec(), &optimiser(), 1).unwrap();
        let mut previous = fixture.params.clone();
        previous.dense.iter_mut().flat_map(|dense| &mut dense.values).for_each(|x| *x += 1.0);
        let made = transfer.make(&previous, &fixture.params, &Workers::new(1));
        assert_eq!(made.digest(), fixture.params.values_only().digest());
    }
}

/// Rows of a table share their network: ids may change places.
#[test]
fn what_is_made_of_a_row_does_not_depend_on_its_place() {
    let mut fixture = fixture(&backbones()[0], 9);
    fixture.scatter(0.5);
    for config in configs() {
        let transfer = drawn(&config, fixture.backbone.spec());
        let mut swapped = fixture.params.clone();
        let [a, b] = [2, 5].map(|row| fixture.params.tables[1].row(row).to_vec());
        swapped.tables[1].row_mut(2).copy_from_slice(&b);
        swapped.tables[1].row_mut(5).copy_from_slice(&a);
        let make = |params: &Params, workers| transfer.make(params, params, &Workers::new(workers));
        let (first, second) = (make(&fixture.params, 1), make(&swapped, 1));
        assert_eq!(first.tables[1].row(2), second.tables[1].row(5));
        assert_eq!(first.tables[1].row(5), second.tables[1].row(2));
        assert_eq!(first.tables[1].row(perennial_table::PAD), [0.0; 3]);
        assert_eq!(make(&fixture.params, 3).digest(), first.digest(), "three workers");
    }
}

#[test]
fn newborn_rows_are_made_of_their_first_values() {
    let mut fixture = fixture(&backbones()[0], 9);
    let transfer = drawn(&configs()[0], fixture.backbone.spec());
    let made = transfer.make(&fixture.params, &fixture.params, &Workers::new(1));
    transfer.make_newborn(&mut fixture.params, &[4, 7]);
    for (table, first) in [(0, 4), (1, 7)] {
        let (newborn, made) = (&fixture.params.tables[table], &made.tables[table]);
        assert!((first..newborn.rows()).all(|row| newborn.row(row) == made.row(row)));
        assert_ne!(newborn.row(first - 1), made.row(first - 1));
    }
}

/// 40-20-10-1 with rows of 8: hidden units of ASMG's code, 80, 40, 40, 20, 20, 2 for the MLP.
#[test]
fn sizes_are_those_of_the_comparison() {
    let config = TransferConfig::default();
    let dense = [(40, 20), (1, 20), (20, 10), (1, 10), (10, 1), (1, 1)];
    let units = dense
        .map(|(rows, cols)| config.of_dense(&DenseSpec { name: String::new(), rows, cols, init: DenseInit::Zero }).2);
    assert_eq!(units, [80, 40, 40, 20, 20, 2]);
    // 3 * 10 + 10 * 5 + (5 * 8 + 1) * 20 + (20 + 1) * 8 = 1068.
    assert_eq!(Network::new(config.tables, 8, 16).size(), 1068);
}

#[test]
fn what_cannot_be_is_refused() {
    let wide = DenseSpec { name: "mlp.0.weight".into(), rows: 4000, cols: 400, init: DenseInit::Zero };
    let spec = ModelSpec { dense: vec![wide], ..ModelSpec::default() };
    let new = |config: &TransferConfig| Transfer::new(config, &spec, &optimiser(), 1);
    assert!(new(&TransferConfig::default()).unwrap_err().to_string().contains("mlp.0.weight"));
    let by_rows = TransferConfig { matrices: Matrices::Rows, ..TransferConfig::default() };
    let transfer = new(&by_rows).unwrap();
    assert!(Transfer::with_weights(&by_rows, &spec, transfer.weights[1..].to_vec()).is_err());
    let nothing = TransferConfig { dense: Widths { first: 0, second: 1, hidden: None }, ..by_rows };
    assert!(nothing.check().unwrap_err().to_string().contains("dense"));
}
