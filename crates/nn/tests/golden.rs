//! Values and gradients against PyTorch's, from `fixtures/ops.py`.

use perennial_nn::{Act, Real, Tape};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

/// The largest `|got - expected| / max(1, |expected|)` over logits, loss and all gradients.
fn worst_error<T: Real>() -> f64 {
    let golden: Value = serde_json::from_str(include_str!("fixtures/ops.json")).expect("the fixture is JSON");
    let mut tape = Tape::<T>::new();
    let mut leaves = Vec::new();
    let mut leaf = |tape: &mut Tape<T>, name: &'static str, rows, cols| {
        let values = numbers(&golden["inputs"][name]);
        let var = tape.leaf(rows, cols, |x| x.iter_mut().zip(values).for_each(|(x, v)| *x = T::from_f64(v)));
        leaves.push((name, var));
        var
    };
    let (x1, x2) = (leaf(&mut tape, "x1", 5, 3), leaf(&mut tape, "x2", 5, 2));
    let (w1, b1, w2) = (leaf(&mut tape, "w1", 3, 4), leaf(&mut tape, "b1", 1, 4), leaf(&mut tape, "w2", 2, 3));
    let (w3, b3, w4) = (leaf(&mut tape, "w3", 7, 6), leaf(&mut tape, "b3", 1, 6), leaf(&mut tape, "w4", 6, 1));
    let (labels, weights) = (numbers(&golden["labels"]), numbers(&golden["weights"]));
    let f32s = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<_>>();

    let left = tape.linear(x1, w1, Some(b1), Act::Relu);
    let right = tape.linear(x2, w2, None, Act::Sigmoid);
    let hidden = tape.concat(&[left, right]);
    let hidden = tape.linear(hidden, w3, Some(b3), Act::Tanh);
    let logits = tape.linear(hidden, w4, None, Act::Identity);
    let normaliser = golden["normaliser"].as_f64().expect("a number");
    let loss = tape.bce_with_logits(logits, &f32s(&labels), &f32s(&weights), normaliser);
    tape.backward(loss);

    let mut worst = error(tape.value(logits), &numbers(&golden["logits"]));
    worst = worst.max(error(tape.value(loss), &[golden["loss"].as_f64().expect("a number")]));
    for (name, var) in leaves {
        worst = worst.max(error(tape.grad(var), &numbers(&golden["gradients"][name])));
    }
    worst
}

fn error<T: Real>(got: &[T], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let errors = got.iter().zip(expected).map(|(got, x)| (got.to_f64() - x).abs() / x.abs().max(1.0));
    errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
}

#[test]
fn f64_equals_pytorch() {
    let error = worst_error::<f64>();
    assert!(error < 1e-13, "{error:e}");
}

#[test]
fn f32_equals_pytorch_up_to_rounding() {
    let error = worst_error::<f32>();
    assert!(error < 1e-5, "{error:e}");
}
