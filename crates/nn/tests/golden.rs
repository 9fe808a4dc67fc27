//! Values and gradients against PyTorch's, from `fixtures/ops.py` and `fixtures/layers.py`.

use perennial_nn::{Act, CoActionShape, Real, Tape, Var};
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

/// How each case of `layers.json` is computed from its inputs, in the order of their names.
fn layer<T: Real>(name: &str, tape: &mut Tape<T>, x: &[Var]) -> Var {
    match (name, x) {
        ("batch_norm", &[scale, shift, x]) => tape.batch_norm(x, Some((scale, shift)), 1e-5).y,
        ("dice", &[slope, x]) => {
            let normalised = tape.batch_norm(x, None, 1e-5).y;
            tape.dice(x, normalised, slope)
        }
        ("prelu", &[slope, x]) => tape.prelu(x, slope),
        ("bi_interaction", &[x]) => tape.bi_interaction(x, 3),
        ("inner_products", &[x]) => tape.inner_products(x, 2),
        ("cross", &[b, w, x, x0]) => tape.cross(x0, x, w, b),
        ("fmfm", &[m, x]) => {
            let matrix = tape.pair_matrix(m, 3, 2);
            let turned = tape.linear(x, matrix, None, Act::Identity);
            let product = tape.multiply_add(turned, x, None);
            tape.row_sum(&[product])
        }
        ("cin", &[b, w, x]) => {
            let x = tape.transpose_vectors(x, 3);
            let maps = tape.cin(x, x, w, b);
            tape.sum_groups(maps, 3)
        }
        ("afn", &[a, b, x]) => {
            let x = tape.transpose_vectors(x, 2);
            let logs = tape.log_magnitude(x, 0.1);
            let products = tape.linear(logs, a, Some(b), Act::Exp);
            tape.reshape(products, 3, 4)
        }
        ("attention", &[s, t, w]) => {
            let groups = tape.groups([2, 0, 3]);
            let compared = tape.attention_input(t, s, groups);
            let scores = tape.linear(compared, w, None, Act::Identity);
            tape.attend(scores, s, groups, Some(0.5f64.sqrt()))
        }
        ("co_action", &[p, q]) => {
            let groups = tape.groups([2, 0, 3]);
            let shape = CoActionShape { inputs: 2, widths: [3, 2, 0, 0], orders: 3, independent: false };
            tape.co_action(p, q, groups, shape)
        }
        (name, x) => panic!("no layer {name} of {} inputs", x.len()),
    }
}

/// The largest error over the output of a case and all its gradients.
fn worst_of_layer<T: Real>(name: &str, case: &Value) -> f64 {
    let mut tape = Tape::<T>::new();
    let fill = |to: &mut [T], from: &Value| to.iter_mut().zip(numbers(from)).for_each(|(x, v)| *x = T::from_f64(v));
    let inputs = case["inputs"].as_object().expect("inputs by name");
    let leaves = inputs.values().map(|input| {
        let shape: Vec<usize> = numbers(&input["shape"]).into_iter().map(|size| size as usize).collect();
        tape.leaf(shape[0], shape[1], |x| fill(x, &input["values"]))
    });
    let leaves: Vec<Var> = leaves.collect();
    let y = layer(name, &mut tape, &leaves);
    let (rows, cols) = tape.shape(y);
    let flat = tape.reshape(y, 1, rows * cols);
    let probe = tape.constant(rows * cols, 1, |x| fill(x, &case["probe"]));
    let sum = tape.linear(flat, probe, None, Act::Identity);
    tape.backward(sum);
    let gradients = inputs.keys().zip(&leaves);
    let errors = gradients.map(|(name, &leaf)| error(tape.grad(leaf), &numbers(&case["gradients"][name])));
    errors.fold(error(tape.value(y), &numbers(&case["output"])), f64::max)
}

#[test]
fn layers_equal_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("fixtures/layers.json")).expect("the fixture is JSON");
    for (name, case) in golden["cases"].as_object().expect("cases by name") {
        let precise = worst_of_layer::<f64>(name, case);
        assert!(precise < 1e-12, "{name}: {precise:e}");
        let single = worst_of_layer::<f32>(name, case);
        assert!(single < 2e-5, "{name} in f32: {single:e}");
    }
}

/// What running statistics are made of: PyTorch's with a momentum of 1.
#[test]
fn statistics_equal_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("fixtures/layers.json")).expect("the fixture is JSON");
    let case = &golden["cases"]["batch_norm"];
    let mut tape = Tape::<f64>::new();
    let x = tape.leaf(6, 4, |x| x.copy_from_slice(&numbers(&case["inputs"]["x"]["values"])));
    let normalised = tape.batch_norm(x, None, 1e-5);
    for (got, expected) in [(normalised.mean, "mean"), (normalised.variance, "variance")] {
        assert!(error(tape.value(got), &numbers(&case[expected])) < 1e-13, "{expected}");
    }
}
