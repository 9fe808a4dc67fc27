//! What is stored comes back, and what does not fit is refused.

use crate::workbench::{Batch, step, table, train};
use perennial_nn::optim::{Optimiser, Rule, Slot, SlotName};
use perennial_table::{Chunk, Header, PlaneName, RowMode, Table, TableError};

fn optimiser() -> Optimiser {
    Optimiser::new(Rule::ADAM, 0.05)
}

fn trained() -> Table {
    let mut table = table(5, 9000);
    table.train_with(&optimiser(), RowMode::Lazy).unwrap();
    train(&mut table, &Batch::random(5, 9000, 50, 2), &step(&optimiser(), 1));
    table
}

#[test]
fn what_was_saved_loads_and_continues() {
    let mut table = trained();
    let mut chunks: Vec<Chunk> = table.chunks().collect();
    assert_eq!(chunks.len(), 3 * 3, "three planes of 9000 rows by 4096");
    chunks.reverse();
    let mut loaded = Table::from_chunks(table.header(), chunks).unwrap();
    assert_eq!(loaded.digest(), table.digest());
    loaded.train_with(&optimiser(), RowMode::Lazy).unwrap();
    let batch = Batch::random(5, 9000, 50, 3);
    for table in [&mut table, &mut loaded] {
        train(table, &batch, &step(&optimiser(), 2));
    }
    assert_eq!(loaded.digest(), table.digest(), "training continues with the same bits");
}

#[test]
fn values_load_without_slots() {
    let mut table = trained();
    let values = table.chunks().filter(|chunk| chunk.plane == PlaneName::Values);
    let loaded = Table::from_chunks(table.header().without_slots(), values).unwrap();
    assert_eq!(loaded.digest(), table.snapshot_values().digest());
}

#[test]
fn chunks_that_did_not_change_keep_their_bytes() {
    let mut table = trained();
    let before: Vec<Chunk> = table.chunks().collect();
    table.row_mut(5000)[0] += 1.0;
    table.grow(&[1]);
    let changed: Vec<_> = table.chunks().filter(|chunk| !before.contains(chunk)).collect();
    let names: Vec<_> = changed.iter().map(|chunk| (chunk.plane, chunk.index)).collect();
    let mean = PlaneName::Slot(SlotName::Mean);
    let square = PlaneName::Slot(SlotName::Square);
    assert_eq!(names, [(PlaneName::Values, 1), (PlaneName::Values, 2), (mean, 2), (square, 2)]);
}

fn refused(edit: impl FnOnce(&mut Header, &mut Vec<Chunk>), expected: &str) {
    let table = trained();
    let (mut header, mut chunks) = (table.header(), table.chunks().collect());
    edit(&mut header, &mut chunks);
    let error: TableError = Table::from_chunks(header, chunks).unwrap_err();
    assert!(error.to_string().contains(expected), "got: {error}");
}

#[test]
fn what_does_not_fit_is_named() {
    refused(|_, chunks| drop(chunks.remove(4)), "Slot(Mean), chunk 1: it is missing, and 0 more");
    refused(|_, chunks| chunks.push(chunks[0].clone()), "it was given before");
    refused(|_, chunks| chunks[0].index = u32::MAX, "the table has no such chunk");
    refused(|_, chunks| chunks[2].bytes.truncate(16_159), "Values, chunk 2: expected 16160 bytes, got 16159");
    refused(|_, chunks| chunks[0].bytes[3] = 1, "the pad row is not zero");
    refused(|header, _| header.rows = 1, "expected at least the 2 reserved rows, got 1");
    refused(|header, _| header.spec.dim = 70_000, "between 1 and 65536, got 70000");
    refused(|header, _| header.slots[1] = header.slots[0], "slots of different names");
    refused(|header, _| header.slots[1].initial = 1.0, "start from one value");
    refused(|header, _| header.slots.clear(), "the table has no such chunk");
    refused(|header, _| header.rows = u32::MAX, "expected 81920 bytes, got 16160");
}

#[test]
fn nan_is_let_in_and_counted() {
    let table = trained();
    let mut chunks: Vec<Chunk> = table.chunks().collect();
    chunks[0].bytes[20 * 4..20 * 4 + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(Table::from_chunks(table.header(), chunks).unwrap().non_finite(), 1);
}

#[test]
fn slots_of_any_rule_are_described() {
    let mut table = table(2, 5);
    table.train_with(&Optimiser::new(Rule::ADAGRAD, 0.1), RowMode::Lazy).unwrap();
    assert_eq!(table.slots(), [Slot { name: SlotName::Accumulator, initial: 0.1 }]);
    let loaded = Table::from_chunks(table.header(), table.chunks()).unwrap();
    assert_eq!(loaded.digest(), table.digest());
}
