//! Lazy rows make up for the decay that they missed.

use crate::workbench::{Batch, planes, step, table, train};
use perennial_core::Column;
use perennial_nn::optim::{Decay, Optimiser, Rule};
use perennial_table::{Pool, RowMode, TableError};

/// The twin decays every untouched row at every step, and nothing else of it moves.
fn check(optimiser: Optimiser) {
    let (dim, rows, steps) = (8, 40, 200);
    let mut lazy = table(dim, rows);
    let mut twin = table(dim, rows);
    lazy.train_with(&optimiser, RowMode::Lazy).unwrap();
    let plain = Optimiser::new(optimiser.rule, optimiser.learning_rate);
    twin.train_with(&plain, RowMode::Lazy).unwrap();
    for number in 1..=steps {
        let mut batch = Batch::random(dim, rows, 2, number);
        (batch.column, batch.pool) = (Column::Id(vec![1 + number as u32 % 7, 2 + number as u32 % 30]), Pool::Sum);
        train(&mut lazy, &batch, &step(&optimiser, number));
        let rate = optimiser.learning_rate / (1.0 + number as f64 * 0.01);
        let (Decay::Coupled(decay) | Decay::Decoupled(decay)) = optimiser.decay else { unreachable!("decay is given") };
        for row in 1..rows {
            twin.row_mut(row).iter_mut().for_each(|x| *x *= (1.0 - rate * decay) as f32);
        }
        train(&mut twin, &batch, &step(&plain, number));
    }
    lazy.settle();
    for (got, expected) in planes(&lazy)[0].iter().zip(&planes(&twin)[0]) {
        // Both sides round at most thrice a step, the move included; values stay below 1.
        let tolerance = 3.0 * steps as f32 * f32::EPSILON;
        assert!((got - expected).abs() < tolerance, "{optimiser:?}: got {got}, expected {expected}");
    }
}

#[test]
fn missed_decay_is_made_up_for() {
    check(Optimiser::new(Rule::Sgd, 0.02).with_decay(Decay::Coupled(0.1)));
    check(Optimiser::new(Rule::Sgd, 0.02).with_decay(Decay::Decoupled(0.1)));
    check(Optimiser::new(Rule::ADAGRAD, 0.02).with_decay(Decay::Decoupled(0.1)));
}

#[test]
fn l2_that_would_move_every_row_is_refused() {
    for rule in [Rule::ADAGRAD, Rule::ADAM] {
        let optimiser = Optimiser::new(rule, 0.02).with_decay(Decay::Coupled(0.1));
        let refused = table(4, 10).train_with(&optimiser, RowMode::Lazy);
        assert_eq!(refused, Err(TableError::LazyL2 { table: "t".into() }));
        assert_eq!(table(4, 10).train_with(&optimiser, RowMode::DenseParity), Ok(()));
    }
}
