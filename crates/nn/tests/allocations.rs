//! A step allocates nothing once its buffers have grown.
#![expect(unsafe_code, reason = "counting allocations takes a global allocator")]

use perennial_nn::{Act, Tape, Var};
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
    let logits = tape.row_sum(&[logits, pooled, products, crossed]);
    let loss = tape.bce_with_logits(logits, &labels[..rows], &labels[..rows], 9.0);
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
