//! What a generator remembers of every coordinate, in full or in compact form.

use crate::ModelError;
use perennial_table::prefetch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How states are kept between periods. What is written is rounded, and the next period goes on from the rounded state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateFormat {
    /// 32-bit floats, exact.
    #[default]
    F32,
    /// The upper half of a 32-bit float: 8 bits of precision, any range.
    Bf16,
    /// Multiples of 1 / 32767 in -1..=1: for cells whose states are averages of hyperbolic tangents.
    I16,
    /// Multiples of 1 / 127 in -1..=1.
    I8,
}

impl StateFormat {
    /// Whether only -1..=1 can be written.
    pub fn bounded(self) -> bool {
        matches!(self, StateFormat::I16 | StateFormat::I8)
    }
}

/// States of the rows of one tensor, `[rows, width]`. Clones share memory until one side writes.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    width: usize,
    data: Data,
}

#[derive(Debug, Clone, PartialEq)]
enum Data {
    F32(Arc<Vec<f32>>),
    Bf16(Arc<Vec<u16>>),
    I16(Arc<Vec<i16>>),
    I8(Arc<Vec<i8>>),
}

/// Calls a generic expression on whichever vector it is.
macro_rules! each {
    ($data:expr, $vector:ident => $body:expr) => {
        match $data {
            Data::F32($vector) => $body,
            Data::Bf16($vector) => $body,
            Data::I16($vector) => $body,
            Data::I8($vector) => $body,
        }
    };
}

impl States {
    /// Zeros.
    pub fn new(format: StateFormat, width: usize, rows: usize) -> States {
        let len = width * rows;
        let data = match format {
            StateFormat::F32 => Data::F32(Arc::new(vec![0.0; len])),
            StateFormat::Bf16 => Data::Bf16(Arc::new(vec![0; len])),
            StateFormat::I16 => Data::I16(Arc::new(vec![0; len])),
            StateFormat::I8 => Data::I8(Arc::new(vec![0; len])),
        };
        States { width, data }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        each!(&self.data, vector => vector.len() / self.width)
    }

    /// Appends rows of zeros.
    pub fn grow_to(&mut self, rows: usize) {
        let len = rows * self.width;
        if rows > self.rows() {
            each!(&mut self.data, vector => Arc::make_mut(vector).resize(len, Default::default()));
        }
    }

    /// Starts loading a row that will be read soon.
    pub fn ask_for(&self, row: usize) {
        each!(&self.data, vector => prefetch(&vector[row * self.width..(row + 1) * self.width]));
    }

    /// Reads the row into `out`, which is as wide.
    pub fn read(&self, row: usize, out: &mut [f32]) {
        let range = row * self.width..(row + 1) * self.width;
        match &self.data {
            Data::F32(vector) => out.copy_from_slice(&vector[range]),
            Data::Bf16(vector) => decode(&vector[range], out, |x| f32::from_bits(u32::from(x) << 16)),
            Data::I16(vector) => decode(&vector[range], out, |x| f32::from(x) / f32::from(i16::MAX)),
            Data::I8(vector) => decode(&vector[range], out, |x| f32::from(x) / f32::from(i8::MAX)),
        }
    }

    /// Writes whole rows from `first` on, rounding them.
    pub fn write(&mut self, first: usize, values: &[f32]) {
        let range = first * self.width..first * self.width + values.len();
        match &mut self.data {
            Data::F32(vector) => Arc::make_mut(vector)[range].copy_from_slice(values),
            Data::Bf16(vector) => encode(values, &mut Arc::make_mut(vector)[range], bf16),
            Data::I16(vector) => {
                encode(values, &mut Arc::make_mut(vector)[range], |x| (x * f32::from(i16::MAX)).round() as i16);
            }
            Data::I8(vector) => {
                encode(values, &mut Arc::make_mut(vector)[range], |x| (x * f32::from(i8::MAX)).round() as i8);
            }
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        each!(&self.data, vector => size_of_val(vector.as_slice()))
    }

    /// The numbers, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        each!(&self.data, vector => vector.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Reads what [`States::to_bytes`] wrote of states of this format and width.
    pub fn from_bytes(format: StateFormat, width: usize, bytes: &[u8]) -> Result<States, ModelError> {
        let size = match format {
            StateFormat::F32 => 4,
            StateFormat::Bf16 | StateFormat::I16 => 2,
            StateFormat::I8 => 1,
        };
        if width == 0 || !bytes.len().is_multiple_of(size * width) {
            return Err(ModelError::Corrupt {
                part: "the generator's states".into(),
                problem: format!("{} bytes are no rows of {width} numbers of {size} bytes", bytes.len()),
            });
        }
        let data = match format {
            StateFormat::F32 => Data::F32(Arc::new(numbers(bytes, f32::from_le_bytes))),
            StateFormat::Bf16 => Data::Bf16(Arc::new(numbers(bytes, u16::from_le_bytes))),
            StateFormat::I16 => Data::I16(Arc::new(numbers(bytes, i16::from_le_bytes))),
            StateFormat::I8 => Data::I8(Arc::new(numbers(bytes, i8::from_le_bytes))),
        };
        Ok(States { width, data })
    }
}

fn numbers<T, const SIZE: usize>(bytes: &[u8], read: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<SIZE>();
    chunks.iter().map(|chunk| read(*chunk)).collect()
}

fn decode<T: Copy>(from: &[T], to: &mut [f32], read: impl Fn(T) -> f32) {
    assert_eq!(from.len(), to.len(), "a row of states");
    for (to, &from) in to.iter_mut().zip(from) {
        *to = read(from);
    }
}

fn encode<T>(from: &[f32], to: &mut [T], write: impl Fn(f32) -> T) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = write(from);
    }
}

/// Rounds to nearest, ties to even; NaN stays NaN.
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    match x.is_nan() {
        true => (bits >> 16) as u16 | 0x40,
        false => ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [(StateFormat, f32); 4] = [
        (StateFormat::F32, 0.0),
        // Half a unit of the last place: 2^-9 below 1, 1 / 65534 and 1 / 254.
        (StateFormat::Bf16, 1.0 / 512.0),
        (StateFormat::I16, 1.0 / 65_533.0),
        (StateFormat::I8, 1.0 / 253.9),
    ];

    #[test]
    fn what_is_written_is_read_within_half_a_step() {
        for (format, tolerance) in FORMATS {
            let mut states = States::new(format, 2, 3);
            let values = [0.7312, -0.001, 0.999_99, -1.0];
            states.write(1, &values);
            let mut got = [0.0; 2];
            states.read(0, &mut got);
            assert_eq!(got, [0.0; 2], "{format:?}");
            for (row, expected) in values.chunks(2).enumerate() {
                states.read(row + 1, &mut got);
                for (got, expected) in got.iter().zip(expected) {
                    assert!((got - expected).abs() <= tolerance, "{format:?}: {got} for {expected}");
                }
            }
            assert_eq!(States::from_bytes(format, 2, &states.to_bytes()).unwrap(), states);
        }
    }

    /// A state that was read and is written again is the same: rounding does not creep.
    #[test]
    fn rounding_again_changes_nothing() {
        for (format, _) in FORMATS {
            let mut states = States::new(format, 64, 1);
            let values: Vec<f32> = (0..64).map(|i| (i as f32 / 10.0).sin()).collect();
            states.write(0, &values);
            let before = states.clone();
            let mut read = vec![0.0; 64];
            states.read(0, &mut read);
            states.write(0, &read);
            assert_eq!(states, before, "{format:?}");
        }
    }

    #[test]
    fn a_clone_is_a_snapshot_and_growth_appends_zeros() {
        let mut states = States::new(StateFormat::F32, 1, 1);
        let snapshot = states.clone();
        states.grow_to(3);
        states.write(0, &[0.5]);
        assert_eq!((snapshot.rows(), states.rows()), (1, 3));
        let mut got = [9.0];
        snapshot.read(0, &mut got);
        assert_eq!(got, [0.0]);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let error = States::from_bytes(StateFormat::F32, 2, &[0; 12]).unwrap_err();
        assert!(error.to_string().contains("12 bytes"), "{error}");
    }
}
