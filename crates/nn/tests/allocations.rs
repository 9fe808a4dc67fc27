//! A step allocates nothing once its buffers have grown.
#![expect(unsafe_code, reason = "counting allocations takes a global allocator")]

use perennial_nn::{Act, CoActionShape, Tape, Var};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Forward and backward over every operation, with widths that are no multiple of a vector, one of them large.
fn step(tape: &mut Tape<f32>, rows: usize, labels: &[f32]) {
    tape.reset();
    let x = tape.leaf(rows, 611, |x| x.fill(0.5));
    let w = tape.leaf(611, 37, |w| w.fill(0.01));
    let b = tape.leaf(1, 37, |b| b.fill(0.1));
    let deep = tape.linear(x, w, Some(b), Act::Relu);
    let both = tape.concat(&[deep, x]);
    let v = tape.leaf(648, 1, |v| v.fill(0.001));
    let logits = tape.linear(both, v, None, Act::Identity);
    let [pooled, products, crossed] = pairs(tape, rows);
    let [layers, histories] = [layers(tape, deep), histories(tape, rows)];
    let logits = tape.row_sum(&[logits, pooled, products, crossed, layers, histories]);
    let loss = tape.bce_with_logits(logits, &[0.0; 64][..rows], &labels[..rows], 9.0);
    tape.backward(loss);
    assert!(tape.grad(w).iter().any(|&g| g != 0.0));
}

/// Operations on the vectors of fields.
fn pairs(tape: &mut Tape<f32>, rows: usize) -> [Var; 3] {
    let numbers = tape.leaf(rows, 7, |x| x.fill(0.5));
    let vectors = tape.leaf(7, 5, |v| v.fill(0.1));
    let x = tape.scaled_vectors(numbers, vectors);
    let (pooled, products) = (tape.bi_interaction(x, 5), tape.inner_products(x, 5));
    let (w, b) = (tape.leaf(35, 1, |w| w.fill(0.01)), tape.leaf(1, 35, |b| b.fill(0.01)));
    let crossed = tape.cross(x, x, w, b);
    let blocks = tape.leaf(21, 5, |m| m.fill(0.1));
    let matrix = tape.pair_matrix(blocks, 7, 5);
    let turned = tape.linear(crossed, matrix, None, Act::Identity);
    [pooled, products, tape.multiply_add(turned, x, Some(crossed))]
}

/// What stands between linear maps.
fn layers(tape: &mut Tape<f32>, x: Var) -> Var {
    let (rows, cols) = tape.shape(x);
    let [scale, shift, slope] = [1.0, 0.1, 0.2].map(|value| tape.leaf(1, cols, |x| x.fill(value)));
    let normalised = tape.batch_norm(x, Some((scale, shift)), 1e-5);
    let served = tape.normalise_by(x, normalised.mean, normalised.variance, None, 1e-5);
    let (prelu, dice) = (tape.prelu(normalised.y, slope), tape.dice(x, served, slope));
    let names: [u32; 64] = std::array::from_fn(|row| row as u32);
    let dropped = tape.dropout(prelu, 0.5, 3, &names[..rows]);
    let (exp, log) = (tape.activate(dice, Act::Exp), tape.log_magnitude(dropped, 1e-3));
    let held = tape.detach(exp);
    let one = tape.multiply_add(exp, log, Some(held));
    let turned = tape.transpose_vectors(one, cols);
    let (w, bias) = (tape.leaf(1, 3, |w| w.fill(0.1)), tape.leaf(1, 3, |b| b.fill(0.1)));
    let maps = tape.cin(turned, turned, w, bias);
    let sums = tape.sum_groups(maps, cols);
    tape.reshape(sums, rows, 3)
}

/// Histories of 0 to 4 entries.
fn histories(tape: &mut Tape<f32>, rows: usize) -> Var {
    let groups = tape.groups((0..rows).map(|row| row % 5));
    let entries = tape.group_sizes(groups).1;
    let (target, history) = (tape.leaf(rows, 6, |t| t.fill(0.3)), tape.leaf(entries, 6, |s| s.fill(0.2)));
    let compared = tape.attention_input(target, history, groups);
    let w = tape.leaf(24, 1, |w| w.fill(0.1));
    let scores = tape.linear(compared, w, None, Act::Identity);
    let interest = tape.attend(scores, history, groups, Some(0.5));
    let shape = CoActionShape { inputs: 6, widths: [3, 2, 0, 0], orders: 2, independent: false };
    let parameters = tape.leaf(rows, shape.parameters(), |p| p.fill(0.1));
    let acted = tape.co_action(parameters, history, groups, shape);
    tape.concat(&[interest, acted])
}

/// The only test of this file: another thread's allocations would be counted too.
#[test]
fn a_warm_step_allocates_nothing() {
    let (mut tape, labels) = (Tape::new(), [1.0; 64]);
    step(&mut tape, 64, &labels);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for rows in [64, 3, 50, 64] {
        step(&mut tape, rows, &labels);
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
