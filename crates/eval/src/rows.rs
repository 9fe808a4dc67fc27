//! Scored and labelled rows in an order that depends on nothing but the rows.

use crate::Error;

/// One scored example whose label is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Score before the sigmoid.
    pub logit: f64,
    /// Whether the label is 1.
    pub positive: bool,
    /// Weight in every metric.
    pub weight: f64,
    /// Key of the user, 0 if unknown.
    pub user: u64,
}

impl Row {
    /// The predicted probability.
    pub fn probability(&self) -> f64 {
        // Written so that the exponential never overflows.
        let e = (-self.logit.abs()).exp();
        if self.logit >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
    }
}

/// All rows of a stretch of the log, by ascending logit. What a metric is computed from.
///
/// Rows are sorted by logit, label, weight and user, so equal sets of rows give equal sequences and every sum over
/// them is bit for bit the same, however the rows were ordered, split and merged. 16 bytes a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    packed: Vec<Packed>,
}

impl Rows {
    /// Sorts what was gathered: n log n.
    pub(crate) fn sort(mut packed: Vec<Packed>) -> Rows {
        packed.sort_unstable();
        Rows { packed }
    }

    /// The rows by ascending logit.
    pub fn iter(&self) -> impl Iterator<Item = Row> {
        self.packed.iter().map(|packed| packed.unpack())
    }

    /// The rows of each known user by ascending logit; users by ascending key.
    pub fn by_user(&self) -> impl Iterator<Item = Vec<Row>> {
        let mut known: Vec<Packed> = self.packed.iter().copied().filter(|packed| packed.user != 0).collect();
        known.sort_unstable_by_key(|packed| (packed.user, packed.key));
        UserRows { sorted: known, next: 0 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}

/// From the highest bit: the logit as an integer of the same order (32), the label (1), the weight (31, since its
/// sign is always plus); so that comparing keys compares rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packed {
    key: u64,
    user: u64,
}

impl Packed {
    /// `None` for a row without a label. `row` names the row in errors.
    pub(crate) fn pack(row: usize, logit: f32, label: f32, weight: f32, user: u64) -> Result<Option<Packed>, Error> {
        if !logit.is_finite() {
            return Err(Error::Logit { row, value: logit });
        }
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::Weight { row, value: weight });
        }
        if label.is_nan() {
            return Ok(None);
        }
        if label != 0.0 && label != 1.0 {
            return Err(Error::Label { row, value: label });
        }
        // Adding zero turns -0 into +0: the two are equal scores and must tie.
        let (logit, weight) = (ordered(logit + 0.0), (weight + 0.0).to_bits());
        let key = u64::from(logit) << 32 | u64::from(label == 1.0) << 31 | u64::from(weight);
        Ok(Some(Packed { key, user }))
    }

    fn unpack(self) -> Row {
        Row {
            logit: f64::from(unordered((self.key >> 32) as u32)),
            positive: self.key >> 31 & 1 == 1,
            weight: f64::from(f32::from_bits(self.key as u32 & 0x7fff_ffff)),
            user: self.user,
        }
    }
}

/// Maps floats to integers of the same order: negative ones have all bits flipped, others the sign only.
pub(crate) fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn unordered(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

struct UserRows {
    sorted: Vec<Packed>,
    next: usize,
}

impl Iterator for UserRows {
    type Item = Vec<Row>;

    fn next(&mut self) -> Option<Vec<Row>> {
        let rest = &self.sorted[self.next..];
        let user = rest.first()?.user;
        let rows: Vec<Row> =
            rest.iter().take_while(|packed| packed.user == user).map(|packed| packed.unpack()).collect();
        self.next += rows.len();
        Some(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(logit: f32, label: f32, weight: f32, user: u64) -> Packed {
        Packed::pack(0, logit, label, weight, user).unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn packing_keeps_every_bit(logit in any::<f32>(), positive: bool, weight in 0.0f32..1e30, user: u64) {
            prop_assume!(logit.is_finite());
            let row = packed(logit, f32::from(u8::from(positive)), weight, user).unpack();
            prop_assert_eq!(row, Row { logit: f64::from(logit), positive, weight: f64::from(weight), user });
        }

        #[test]
        fn keys_are_ordered_as_logits(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (left, right) = (packed(a, 0.0, 1.0, 0).key, packed(b, 0.0, 1.0, 0).key);
            prop_assert_eq!(Some(left.cmp(&right)), a.partial_cmp(&b));
        }
    }

    #[test]
    fn users_come_apart_and_the_unknown_is_left_out() {
        let rows = Rows::sort(vec![
            packed(2.0, 0.0, 1.0, 7),
            packed(0.0, 1.0, 1.0, 0),
            packed(-1.0, 1.0, 1.0, 7),
            packed(5.0, 1.0, 1.0, 3),
        ]);
        let logits: Vec<Vec<f64>> = rows.by_user().map(|user| user.iter().map(|row| row.logit).collect()).collect();
        assert_eq!(logits, [vec![5.0], vec![-1.0, 2.0]]);
    }

    #[test]
    fn probabilities_are_stable_at_both_ends() {
        let at = |logit| Row { logit, positive: true, weight: 1.0, user: 0 }.probability();
        assert_eq!((at(1000.0), at(-1000.0), at(0.0)), (1.0, 0.0, 0.5));
    }
}
