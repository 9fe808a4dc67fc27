//! Snapshots are cheap and stand alone.

use crate::workbench::{Batch, bits, step, table, train};
use perennial_core::Column;
use perennial_nn::optim::{Optimiser, Rule};
use perennial_table::{Init, Pool, RowMode, Table, TableSpec};

/// A table of many pages, trained on a few of its rows.
fn trained(rows: u32) -> (Table, Optimiser) {
    let mut table = table(8, rows);
    let optimiser = Optimiser::new(Rule::ADAM, 0.05);
    table.train_with(&optimiser, RowMode::Lazy).unwrap();
    touch(&mut table, &optimiser, 1, rows - 1);
    (table, optimiser)
}

fn touch(table: &mut Table, optimiser: &Optimiser, number: u64, row: u32) {
    let mut batch = Batch::random(8, 2, 1, number);
    (batch.column, batch.pool) = (Column::Id(vec![row]), Pool::Sum);
    train(table, &batch, &step(optimiser, number));
}

#[test]
fn only_what_is_written_is_copied() {
    let (mut table, optimiser) = trained(100_000);
    let snapshot = table.snapshot();
    let digest = snapshot.digest();
    let (pages, shared) = table.pages_shared_with(&snapshot);
    assert!(pages > 100 && shared == pages, "{shared} of {pages}");
    touch(&mut table, &optimiser, 2, 99_999);
    assert_eq!(table.pages_shared_with(&snapshot), (pages, pages - 2), "one page of values and one of slots");
    assert_eq!(snapshot.digest(), digest);
    assert_ne!(table.digest(), digest);
}

#[test]
fn a_snapshot_trains_on_as_the_table_would() {
    let (mut table, optimiser) = trained(3000);
    let mut snapshot = table.snapshot();
    touch(&mut table, &optimiser, 2, 17);
    let after = table.digest();
    touch(&mut snapshot, &optimiser, 2, 17);
    assert_eq!(snapshot.digest(), after);
}

#[test]
fn growth_leaves_snapshots_alone() {
    let (mut table, optimiser) = trained(50);
    let snapshot = table.snapshot();
    let digest = snapshot.digest();
    let new = table.grow(&[1000, 1001, 1002]);
    touch(&mut table, &optimiser, 2, new.start);
    assert_eq!((snapshot.rows(), table.rows()), (50, 53));
    assert_eq!(snapshot.digest(), digest);
}

#[test]
fn first_values_do_not_depend_on_order_of_arrival() {
    let mut left = table(8, 2);
    let mut right = table(8, 2);
    left.grow(&[5, 6]);
    right.grow(&[6]);
    right.grow(&[5]);
    assert_eq!(bits(left.row(2)), bits(right.row(3)));
    assert_eq!(bits(left.row(3)), bits(right.row(2)));
    assert_ne!(bits(left.row(2)), bits(left.row(3)));
}

#[test]
fn scoring_needs_values_only() {
    let (mut table, _) = trained(50);
    let values = table.snapshot_values();
    assert!(values.slots().is_empty() && !table.slots().is_empty());
    assert!((0..50).all(|row| bits(values.row(row)) == bits(table.row(row))));
    assert!(values.bytes() < table.bytes());
}

#[test]
fn slots_are_kept_for_the_same_rule_and_made_anew_for_another() {
    let (mut table, optimiser) = trained(50);
    let digest = table.digest();
    table.train_with(&optimiser, RowMode::Lazy).unwrap();
    assert_eq!(table.digest(), digest, "training continues where it stopped");
    table.train_with(&Optimiser::new(Rule::Sgd, 0.1), RowMode::Lazy).unwrap();
    table.train_with(&optimiser, RowMode::Lazy).unwrap();
    assert_ne!(table.digest(), digest, "what was dropped is gone");
}

#[test]
#[should_panic(expected = "the pad row")]
fn the_pad_row_is_not_to_be_written() {
    table(2, 5).row_mut(0);
}

#[test]
fn a_width_of_nothing_is_refused() {
    let spec = TableSpec { name: "t".into(), dim: 0, seed: 1, init: Init::Zero, zeros: 0 };
    assert!(Table::new(spec).unwrap_err().to_string().contains("between 1 and 65536, got 0"));
}

#[test]
fn the_last_values_of_a_row_may_start_at_zero() {
    let table = |zeros| {
        let init = Init::Normal { std: 1.0 };
        let mut table = Table::new(TableSpec { name: "t".into(), dim: 5 + zeros, seed: 1, init, zeros }).unwrap();
        table.grow(&[4, 9]);
        table
    };
    let (plain, padded) = (table(0), table(2));
    for row in 1..4 {
        assert_eq!((padded.row(row)[..5].to_vec(), &padded.row(row)[5..]), (plain.row(row).to_vec(), &[0.0; 2][..]));
    }
}

#[test]
fn a_broken_gradient_is_counted() {
    let (mut table, optimiser) = trained(50);
    let mut touches = perennial_table::Touches::default();
    table.touch(&Column::Id(vec![7, 8]), &[0, 1], Pool::Sum, &mut touches);
    let mut grads = vec![0.1; 16];
    grads[3] = f32::NAN;
    let mut broken = 0;
    for shard in table.shards_mut() {
        shard.accumulate(&touches, &grads, perennial_table::Place::alone(8));
        broken += shard.apply(&step(&optimiser, 2));
    }
    assert_eq!((broken, table.non_finite()), (1, 1));
}

#[test]
fn gradients_can_be_clipped_before_they_are_applied() {
    let (mut table, _) = trained(50);
    let mut touches = perennial_table::Touches::default();
    table.touch(&Column::Id(vec![7, 7]), &[0, 1], Pool::Sum, &mut touches);
    let shard = &mut table.shards_mut()[7];
    shard.accumulate(&touches, &[3.0; 16], perennial_table::Place::alone(8));
    assert_eq!((shard.touched(), shard.gradients()), (1, &[6.0f32; 8][..]));
    assert_eq!(shard.sum_of_squares(), 288.0);
    shard.scale(0.5);
    shard.clip_by_value(2.0);
    assert_eq!(shard.gradients(), [2.0; 8]);
}
