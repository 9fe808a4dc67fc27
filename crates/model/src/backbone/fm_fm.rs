//! Field-matrixed factorisation machine (FmFM, also FM^2; Sun et al., WWW 2021).
//!
//! ```text
//! z = b + sum_f w_f + sum_{i<j} e_i M_ij e_j^T
//! ```
//!
//! One matrix per pair of fields, in the order of fields; it need not be symmetric. With diagonal matrices
//! (`matrix = "diagonal"`) this is the field-vectored FvFM of the same paper.

use super::part::{Fields, FieldsConfig, LayerInit, LinearPart, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{DenseId, DenseInit, ModelError, ModelSpec, ParamView};
use perennial_nn::{Act, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of FmFM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FmFmConfig {
    /// What goes in: at least two features.
    pub fields: FieldsConfig,
    /// Form of a pair's matrix.
    pub matrix: PairMatrixForm,
}

/// Form of a pair's matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairMatrixForm {
    /// `D x D` numbers, normal with variance `1 / D` at first.
    #[default]
    Full,
    /// `D` numbers, the same.
    Diagonal,
}

/// FmFM, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct FmFm {
    recipe: Recipe,
    linear: LinearPart,
    fields: Fields,
    matrices: DenseId,
}

impl FmFm {
    /// Builds the model; an unknown input, fewer than two inputs or an impossible width is an error.
    pub fn build(config: &FmFmConfig, encoder: &Encoder) -> Result<FmFm, ModelError> {
        let mut recipe = Recipe::default();
        let linear = LinearPart::of(&config.fields, encoder, &mut recipe)?;
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let (count, dim) = (fields.count(), fields.dim());
        if count < 2 {
            let problem = "pairs need at least two inputs".into();
            return Err(ModelError::Config { key: "fields.inputs".into(), problem });
        }
        let pairs = count * (count - 1) / 2;
        let rows = if config.matrix == PairMatrixForm::Full { pairs * dim } else { pairs };
        let init: DenseInit = LayerInit::XavierNormal.weights(dim, dim);
        let matrices = recipe.dense("pairs", [rows, dim], init);
        Ok(FmFm { recipe, linear, fields, matrices })
    }

    /// The parameters.
    pub fn spec(&self) -> &ModelSpec {
        &self.recipe.spec
    }

    /// All lookups that a forward pass makes.
    pub fn lookups(&self) -> &[Lookup] {
        &self.recipe.lookups
    }
    /// Logits `[batch, 1]`.
    pub fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let [ids, numbers] = self.linear.forward(view, tape);
        let x = self.fields.embed(view, tape);
        let matrices = view.dense(tape, self.matrices);
        let all = tape.pair_matrix(matrices, self.fields.count(), self.fields.dim());
        let turned = tape.linear(x, all, None, Act::Identity);
        let pairs = tape.multiply_add(turned, x, None);
        tape.row_sum(&[ids, numbers, pairs])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::FmConfig;
    use crate::backbone::conformance::{fixture, small_fields};

    #[test]
    fn with_matrices_of_identity_it_is_fm() {
        let fields = small_fields();
        let mut fm = fixture(&BackboneConfig::Fm(FmConfig { fields: fields.clone() }), 9);
        fm.scatter_like("linear", 0.3);
        for matrix in [PairMatrixForm::Full, PairMatrixForm::Diagonal] {
            let config = FmFmConfig { fields: fields.clone(), matrix };
            let mut matrixed = fixture(&BackboneConfig::FmFm(config), 9);
            matrixed.scatter_like("linear", 0.3);
            let on_diagonal = |at: usize| (at / 3) % 3 == at % 3;
            matrixed.set("pairs", |at| match matrix {
                PairMatrixForm::Full if !on_diagonal(at) => 0.0,
                _ => 1.0,
            });
            for (matrixed, fm) in matrixed.logits().into_iter().zip(fm.logits()) {
                assert!((matrixed - fm).abs() < 1e-6, "{matrix:?}: {matrixed} and {fm}");
            }
        }
    }

    /// 6 fields of 3: 15 pairs of 9 or 3; one vector of a number, its weight and a bias.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        for (matrix, pairs) in [(PairMatrixForm::Full, 15 * 9), (PairMatrixForm::Diagonal, 15 * 3)] {
            let fixture = fixture(&BackboneConfig::FmFm(FmFmConfig { fields: small_fields(), matrix }), 2);
            assert_eq!(fixture.dense_parameters(), pairs + 3 + 1 + 1, "{matrix:?}");
        }
    }

    #[test]
    fn one_input_has_no_pair() {
        let fields = FieldsConfig { inputs: Some(vec!["item".into()]), ..small_fields() };
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        let error = FmFm::build(&FmFmConfig { fields, ..FmFmConfig::default() }, &encoder).unwrap_err();
        assert!(error.to_string().contains("at least two inputs"), "{error}");
    }
}
