//! The identities of ReLoop's spec, sections 5 and 7, and of its extensions.

use super::*;

fn targets(objective: &Objective, label: &[f32], previous: &[f32]) -> Targets {
    let mut targets = Targets {
        label: label.to_vec(),
        weight: vec![1.0; label.len()],
        previous: previous.to_vec(),
        requests: std::iter::once(0..label.len()).collect(),
        ..Targets::default()
    };
    targets.prepare(objective);
    targets
}

/// Mean loss and slope by each logit.
fn run(objective: &Objective, logits: &[f64], label: &[f32], previous: &[f32]) -> (f64, Vec<f64>) {
    let mut tape = Tape::<f64>::new();
    let z = tape.leaf_of(logits.len(), 1, logits);
    let loss = objective.loss(&mut tape, z, &targets(objective, label, previous), label.len() as f64);
    tape.backward(loss);
    (tape.value(loss)[0], tape.grad(z).to_vec())
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

const LOGITS: [f64; 4] = [0.3, -1.2, 2.0, -0.1];
const LABELS: [f32; 4] = [1.0, 0.0, 0.0, 1.0];
const EARLIER: [f32; 4] = [1.0, -2.0, 0.5, -3.0];
const NONE: [f32; 4] = [f32::NAN; 4];

/// Test 1: without weight it is cross-entropy, bit for bit, whatever the earlier scores.
#[test]
fn reloop_of_weight_0_is_cross_entropy() {
    let of = |objective: &Objective, previous: &[f32]| run(objective, &LOGITS, &LABELS, previous);
    assert_eq!(of(&Objective::reloop(0.0), &EARLIER), of(&Objective::BCE, &NONE));
    assert_eq!(Objective::reloop(0.0), Objective::BCE);
}

/// Test 1: against itself the self-correction alone pulls at nothing.
#[test]
fn against_its_own_scores_self_correction_has_no_slope() {
    let own = LOGITS.map(|z| z as f32);
    let (loss, slope) = run(&Objective::reloop(1.0), &own.map(f64::from), &LABELS, &own);
    assert_eq!((loss, slope), (0.0, vec![0.0; 4]));
}

/// Test 5: one cross-entropy with mixed labels; with the labels themselves for a teacher it is plain cross-entropy.
#[test]
fn distillation_is_cross_entropy_with_mixed_labels() {
    let objective = Objective { bce: 0.7, distillation: 0.3, ..Objective::NOTHING };
    let mixed: Vec<f32> = LABELS.iter().zip(EARLIER).map(|(y, z)| 0.7 * y + 0.3 / (1.0 + (-z).exp())).collect();
    let (got, expected) = (run(&objective, &LOGITS, &LABELS, &EARLIER), run(&Objective::BCE, &LOGITS, &mixed, &NONE));
    assert!((got.0 - expected.0).abs() < 1e-6, "{} and {}", got.0, expected.0);
    let certain = LABELS.map(|y| if y == 1.0 { 200.0 } else { -200.0 });
    let (got, plain) = (run(&objective, &LOGITS, &LABELS, &certain), run(&Objective::BCE, &LOGITS, &LABELS, &NONE));
    assert!((got.0 - plain.0).abs() < 1e-6);
}

/// Test 8: an example without an earlier score pays full cross-entropy, beside others that have one.
#[test]
fn without_an_earlier_score_cross_entropy_counts_in_full() {
    for objective in [
        Objective::reloop(0.4),
        Objective { bce: 0.5, distillation: 0.2, regret: 0.3, ..Objective::NOTHING },
        Objective::reloop(1.0),
    ] {
        let (plain, missing) =
            (run(&Objective::BCE, &LOGITS, &LABELS, &NONE), run(&objective, &LOGITS, &LABELS, &NONE));
        assert!((plain.0 - missing.0).abs() < 1e-6, "{}: {} and {}", objective.name(), plain.0, missing.0);
        let previous = [EARLIER[0], f32::NAN, EARLIER[2], EARLIER[3]];
        let mixed = run(&objective, &LOGITS, &LABELS, &previous);
        assert!((mixed.1[1] - plain.1[1]).abs() < 1e-7, "{}: the slope of the example without", objective.name());
    }
}

/// A click and another of one request: the sum of what each term would be alone.
#[test]
fn terms_add_up() {
    let each = [
        Objective::BCE,
        Objective { distillation: 0.3, ..Objective::NOTHING },
        Objective { self_correction: 0.5, ..Objective::NOTHING },
        Objective { regret: 0.25, ..Objective::NOTHING },
        Objective { pairwise: 2.0, ..Objective::NOTHING },
        Objective { pair_regret: 0.75, ..Objective::NOTHING },
    ];
    let all =
        Objective { bce: 1.0, distillation: 0.3, self_correction: 0.5, regret: 0.25, pairwise: 2.0, pair_regret: 0.75 };
    let (loss, slope) = run(&all, &LOGITS, &LABELS, &EARLIER);
    let parts = each.map(|objective| run(&objective, &LOGITS, &LABELS, &EARLIER));
    assert!((loss - parts.iter().map(|part| part.0).sum::<f64>()).abs() < 1e-6);
    for (at, slope) in slope.iter().enumerate() {
        assert!((slope - parts.iter().map(|part| part.1[at]).sum::<f64>()).abs() < 1e-6, "slope {at}");
    }
}

/// The probability at which a constant predictor rests, of examples that click with probability `rate` and were given
/// the probability `before`: golden section over its logit, since the loss has one valley.
fn rest(objective: &Objective, rate: f64, before: f64) -> f64 {
    let loss = |z: f64| {
        let previous = [logit(before) as f32; 2];
        let mut targets = targets(objective, &[1.0, 0.0], &previous);
        targets.weight = vec![rate as f32, (1.0 - rate) as f32];
        targets.prepare(objective);
        let mut tape = Tape::<f64>::new();
        let z = tape.leaf_of(2, 1, &[z; 2]);
        let loss = objective.loss(&mut tape, z, &targets, 1.0);
        tape.value(loss)[0]
    };
    let (mut low, mut high) = (-8.0f64, 4.0f64);
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    while high - low > 1e-6 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if loss(a) < loss(b) { high = b } else { low = a }
    }
    1.0 / (1.0 + (-(low + high) / 2.0).exp())
}

/// Test 6: the optima of ReLoop's spec, section 5.2, found there numerically.
#[test]
fn a_constant_rests_where_the_spec_says() {
    for (rate, weight, before, expected) in [
        (0.05, 0.5, 0.025, 0.026),
        (0.05, 0.5, 0.075, 0.0525),
        (0.25, 0.5, 0.125, 0.153),
        (0.25, 0.5, 0.225, 0.225),
        (0.25, 0.5, 0.275, 0.275),
        (0.25, 0.5, 0.375, 0.303),
        (0.25, 0.2, 0.125, 0.218),
        (0.25, 0.2, 0.375, 0.262),
        (0.25, 0.8, 0.125, 0.125),
        (0.5, 0.8, 0.4, 0.4),
    ] {
        let found = rest(&Objective::reloop(weight), rate, before);
        assert!(
            (found - expected).abs() < 1e-3,
            "rate {rate}, weight {weight}, before {before}: {found}, not {expected}"
        );
    }
}

/// ReLoop's spec, section 8: the regret hinge rests at the earlier odds, clamped to a band of the true odds that is
/// symmetric and has no scale.
#[test]
fn regret_rests_within_a_band_of_the_true_odds() {
    for weight in [0.2f64, 0.5] {
        let objective = Objective { bce: (1.0 - weight) as f32, regret: weight as f32, ..Objective::NOTHING };
        for (rate, before) in [(0.05f64, 0.01f64), (0.05, 0.045), (0.05, 0.2), (0.25, 0.05), (0.25, 0.27), (0.25, 0.6)]
        {
            let odds = rate / (1.0 - rate);
            let clamped = (before / (1.0 - before)).clamp((1.0 - weight) * odds, odds / (1.0 - weight));
            let (found, expected) = (rest(&objective, rate, before), clamped / (1.0 + clamped));
            assert!((found - expected).abs() < 1e-3, "rate {rate}, before {before}: {found}, not {expected}");
        }
    }
}

#[test]
fn is_written_as_a_name_or_as_weights() {
    let read = |text: &str| serde_json::from_str::<Objective>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#""bce""#), Ok(Objective::BCE));
    assert_eq!(read(r#"{ "bce": 0.75, "self_correction": 0.25 }"#), Ok(Objective::reloop(0.25)));
    for (text, part) in [
        (r#""reloop""#, "no objective"),
        (r#"{ "self_corection": 0.2 }"#, "self_corection"),
        (r#"{ "bce": -1 }"#, "0 or more"),
        (r#"{}"#, "all terms have weight 0"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    for objective in [Objective::BCE, Objective::reloop(0.25)] {
        assert_eq!(read(&serde_json::to_string(&objective).unwrap()), Ok(objective));
    }
    assert_eq!(
        (Objective::BCE.name(), Objective::reloop(0.25).name()),
        ("bce".into(), "0.75 bce + 0.25 self_correction".into())
    );
}
