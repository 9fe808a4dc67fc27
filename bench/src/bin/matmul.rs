//! The rate of the project's own matrix product, forward, in GFLOP/s, as JSON lines.

use perennial_bench::timing::Timing;
use perennial_nn::{Act, Tape, Var};

/// `[rows, inner] x [inner, cols]`: a large square for the machine's limit, then those of a training step.
const SHAPES: [(usize, usize, usize); 3] = [(1024, 1024, 1024), (256, 24, 200), (256, 200, 80)];

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() {
    for (rows, inner, cols) in SHAPES {
        let flop = 2.0 * rows as f64 * inner as f64 * cols as f64;
        let times = (2e9 / flop).clamp(8.0, 200.0) as usize;
        let mut tape = Tape::<f32>::new();
        let mut timing = Timing::default();
        for round in 0..12 {
            tape.reset();
            let (x, weight) = (matrix(&mut tape, rows, inner), matrix(&mut tape, inner, cols));
            let mut products = || {
                for _ in 0..times {
                    tape.linear(x, weight, None, Act::Identity);
                }
            };
            match round {
                // The tape grows to its size.
                0 => products(),
                _ => timing.add(times, products),
            }
        }
        let row = serde_json::json!({
            "rows": rows, "inner": inner, "cols": cols, "kernels": perennial_nn::kernel_set(),
            "gflops_max": flop / timing.min() / 1e9, "gflops_median": flop / timing.median() / 1e9,
        });
        println!("{row}");
    }
}

fn matrix(tape: &mut Tape<f32>, rows: usize, cols: usize) -> Var {
    tape.constant(rows, cols, |x| x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 17) as f32 - 8.0))
}
