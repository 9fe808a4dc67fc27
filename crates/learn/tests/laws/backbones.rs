//! What must hold of learning on every backbone.

use crate::world::{Loop, examples, period, seen};
use perennial_core::{Column, Examples, Spans, Stream};
use perennial_learn::strategy::{AsmgGru, AsmgLinear};
use perennial_learn::{Learned, StrategyConfig};
use perennial_model::backbone::{
    Activation, AfnConfig, AfnForm, AttentionConfig, AttentionNorm, CanConfig, CoActionConfig, DcnConfig, DeepFmConfig,
    DinConfig, DnnConfig, FieldsConfig, FmConfig, FmFmConfig, IpnnConfig, MfConfig, MlpConfig, NfmConfig,
    WideDeepConfig, XDeepFmConfig,
};
use perennial_model::{BackboneConfig, EmbeddingInit};
use perennial_table::RowMode;

/// Those that can tell whether two ids are of one parity: all but logistic regression.
fn registered() -> Vec<(&'static str, BackboneConfig)> {
    let fields = FieldsConfig { dim: 6, init: EmbeddingInit::Normal { std: 0.1 }, ..FieldsConfig::default() };
    let mlp = MlpConfig { hidden: vec![16, 8], ..MlpConfig::default() };
    let noisy = noisy();
    let dice = MlpConfig { activation: Activation::Dice, ..mlp.clone() };
    let xdeep =
        XDeepFmConfig { fields: fields.clone(), maps: vec![8, 8], mlp: mlp.clone(), ..XDeepFmConfig::default() };
    let afn = AfnConfig {
        fields: fields.clone(),
        neurons: 16,
        mlp: mlp.clone(),
        deep_mlp: mlp.clone(),
        ..AfnConfig::default()
    };
    vec![
        (
            "mf",
            BackboneConfig::Mf(MfConfig { dim: 6, init: EmbeddingInit::Normal { std: 0.1 }, ..MfConfig::default() }),
        ),
        ("fm", BackboneConfig::Fm(FmConfig { fields: fields.clone() })),
        ("fmfm", BackboneConfig::FmFm(FmFmConfig { fields: fields.clone(), ..FmFmConfig::default() })),
        ("nfm", BackboneConfig::Nfm(NfmConfig { fields: fields.clone(), mlp: noisy.clone() })),
        ("ipnn", BackboneConfig::Ipnn(IpnnConfig { fields: fields.clone(), mlp: mlp.clone() })),
        ("dnn, noisy", BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: noisy })),
        ("dnn, dice", BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: dice })),
        ("wide_deep", BackboneConfig::WideDeep(WideDeepConfig { fields: fields.clone(), mlp: mlp.clone() })),
        ("deepfm", BackboneConfig::DeepFm(DeepFmConfig { fields: fields.clone(), mlp: mlp.clone() })),
        ("xdeepfm", BackboneConfig::XDeepFm(xdeep)),
        ("afn_plus_joint", BackboneConfig::Afn(AfnConfig { form: AfnForm::AfnPlusJoint, ..afn.clone() })),
        ("afn_plus_sg", BackboneConfig::Afn(AfnConfig { form: AfnForm::AfnPlusSg, ..afn })),
        ("dcn", BackboneConfig::Dcn(DcnConfig { fields, mlp, ..DcnConfig::default() })),
    ]
}

fn noisy() -> MlpConfig {
    MlpConfig { hidden: vec![32, 16], batch_norm: true, dropout: 0.1, ..MlpConfig::default() }
}

fn world(backbone: BackboneConfig, workers: usize) -> Loop {
    Loop { backbone, ..Loop::new(RowMode::Lazy, workers) }
}

#[test]
fn every_backbone_learns_the_toy_world() {
    for (name, backbone) in registered() {
        let world = world(backbone, 1);
        let accuracy = world.accuracy(&world.run(&StrategyConfig::Incremental, 1), 1);
        assert!(accuracy > 0.95, "{name}: {accuracy}");
    }
}

#[test]
fn same_seed_same_digest_for_any_number_of_workers() {
    for (name, backbone) in registered() {
        let digest = |workers| world(backbone.clone(), workers).run(&StrategyConfig::Incremental, 1).digest();
        let alone = digest(1);
        for workers in [2, 3] {
            assert_eq!(digest(workers), alone, "{name}, {workers} workers");
        }
    }
}

/// Statistics move in training, are part of the digest and not of what is generated.
#[test]
fn running_statistics_are_learned_kept_and_never_generated() {
    let fields = FieldsConfig { dim: 4, ..FieldsConfig::default() };
    let backbone = BackboneConfig::Dnn(DnnConfig { fields, mlp: noisy() });
    let world = world(backbone, 2);
    let statistics = |learned: &Learned| learned.servable.params.statistics.clone();
    let (blank, pretrained) = (world.blank(), world.pretrain());
    assert_ne!(statistics(&blank), statistics(&pretrained));
    let mut other = pretrained.clone();
    other.servable.params.statistics[0].values[0] += 1.0;
    assert_ne!(other.digest(), pretrained.digest());
    let generator = AsmgGru { sequence: 1, epochs: 2, ..AsmgGru::default() };
    let linear = AsmgLinear { sequence: 2, ..AsmgLinear::default() };
    for strategy in [StrategyConfig::AsmgGru(generator), StrategyConfig::AsmgLinear(linear)] {
        let learned =
            (1..5).fold(pretrained.clone(), |learned, at| world.update(&strategy, &pretrained, learned, &period(at)));
        let generated = learned.generated.as_ref().expect("these strategies generate");
        assert_eq!(generated.params.statistics, statistics(&learned));
        let part = examples(3, 0, |_, _| true);
        let scores = learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
        assert!(scores.iter().all(|z| z.is_finite()));
    }
}

/// One draw of noise per step and seed: another seed drops others.
#[test]
fn dropout_is_keyed_by_the_seed() {
    let fields = FieldsConfig { dim: 4, ..FieldsConfig::default() };
    let mlp = MlpConfig { hidden: vec![8], dropout: 0.5, ..MlpConfig::default() };
    let trained = |seed| {
        let backbone = BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: mlp.clone() });
        let world = Loop { seed, ..world(backbone, 1) };
        let start =
            Loop { seed: 1, ..Loop { backbone: world.backbone.clone(), ..Loop::new(RowMode::Lazy, 1) } }.blank();
        world.with_env(&start, |env| perennial_learn::pretrain(start.clone(), &period(0), env)).unwrap().0.digest()
    };
    assert_eq!(trained(1), trained(1));
    assert_ne!(trained(1), trained(2));
}

/// Those that read histories entry by entry. The user is no input: only the history tells what is liked.
fn readers_of_histories() -> Vec<(&'static str, BackboneConfig)> {
    let inputs = Some(["item", "history.item"].map(String::from).to_vec());
    let fields = FieldsConfig { dim: 6, inputs, init: EmbeddingInit::Normal { std: 0.1 }, ..FieldsConfig::default() };
    let mlp = MlpConfig { hidden: vec![16, 8], ..MlpConfig::default() };
    let attention = |norm| AttentionConfig { hidden: vec![8], norm, ..AttentionConfig::default() };
    let din = |norm| DinConfig { fields: fields.clone(), attention: attention(norm), search: None, mlp: mlp.clone() };
    let can = CanConfig {
        fields: fields.clone(),
        attention: attention(AttentionNorm::None),
        co_action: CoActionConfig { init: EmbeddingInit::Uniform { limit: 0.3 }, ..CoActionConfig::default() },
        mlp: MlpConfig { dropout: 0.1, ..mlp.clone() },
        ..CanConfig::default()
    };
    vec![
        ("din", BackboneConfig::Din(din(AttentionNorm::None))),
        ("din, softmax", BackboneConfig::Din(din(AttentionNorm::SoftmaxScaled))),
        ("can", BackboneConfig::Can(can)),
    ]
}

/// Past items are of one parity for each example, and liked is what shares it; of every fifth nothing is known.
fn with_histories(index: u32) -> Examples {
    let mut part = examples(index, 0, |_, _| false);
    let mut stream = Stream::new(&[u64::from(index), 77]);
    let (mut spans, mut ids) = (Spans::default(), Vec::new());
    for example in 0..part.len() {
        let (len, parity) = ((example % 5) as u32, stream.below(2) as u32);
        spans.push(ids.len() as u32, len);
        ids.extend((0..len).map(|_| 2 * stream.below(10) as u32 + parity));
        let Column::Id(items) = &part.columns[1] else { panic!("items") };
        part.label[example] = f32::from(u8::from(len > 0 && items[example] % 2 == parity));
    }
    part.columns[2] = Column::bag(spans, ids, None);
    part
}

fn accuracy(world: &Loop, learned: &Learned, index: u32) -> f64 {
    let part = with_histories(index);
    let logits = learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    let right = logits.iter().zip(&part.label).filter(|(z, y)| (**z > 0.0) == (**y > 0.5)).count();
    right as f64 / part.len() as f64
}

#[test]
fn histories_are_read() {
    for (name, backbone) in readers_of_histories() {
        let trained = |workers| {
            let mut world = world(backbone.clone(), workers);
            world.training.pretrain_epochs = 20;
            let blank = world.blank();
            let seen = seen(0, with_histories(0));
            let learned = world.with_env(&blank, |env| perennial_learn::pretrain(blank.clone(), &seen, env)).unwrap().0;
            (accuracy(&world, &learned, 1), learned.digest())
        };
        let (accuracy, alone) = trained(1);
        assert!(accuracy > 0.95, "{name}: {accuracy}");
        assert_eq!(trained(2).1, alone, "{name}: two workers");
    }
}

/// A generator makes the rows of a batch's histories, too.
#[test]
fn models_that_read_histories_can_be_generated() {
    let linear = StrategyConfig::AsmgLinear(AsmgLinear { sequence: 2, ..AsmgLinear::default() });
    for (name, backbone) in readers_of_histories() {
        let world = world(backbone, 2);
        let pretrained = world.pretrain();
        let learned = (1..5).fold(pretrained.clone(), |learned, at| {
            world.update(&linear, &pretrained, learned, &seen(at, with_histories(at)))
        });
        assert!(learned.generated.is_some(), "{name}");
        assert!(accuracy(&world, &learned, 5) > 0.6, "{name}");
    }
}
