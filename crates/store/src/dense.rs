//! Dense weights as safetensors.

use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// A named dense tensor of 32-bit floats, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseTensor {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its values; as many as the product of the extents.
    pub values: Vec<f32>,
}

/// The safetensors file of `(name, shape, values)`. Bit for bit the same for the same tensors in any order.
///
/// Errs where the number of values is not the product of the shape, or a name occurs twice.
pub fn dense_to_safetensors(tensors: &[(&str, &[usize], &[f32])]) -> Result<Vec<u8>> {
    let mut names: Vec<&str> = tensors.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Dense { problem: format!("two tensors are named \"{}\"", twice[0]) });
    }
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, shape, values), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(|_| Error::Dense {
            problem: format!("\"{name}\" has {} values, expected those of shape {shape:?}", values.len()),
        })?;
        views.push((*name, view));
    }
    safetensors::serialize(views, None).map_err(|error| Error::Dense { problem: error.to_string() })
}

/// The tensors of a safetensors file, by name. Errs on a file that is damaged or holds anything but 32-bit floats.
pub fn dense_from_safetensors(bytes: &[u8]) -> Result<Vec<DenseTensor>> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| Error::Dense { problem: error.to_string() })?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(Error::Dense { problem: format!("\"{name}\" is of type {:?}, expected F32", view.dtype()) });
        }
        let (values, rest) = view.data().as_chunks::<4>();
        debug_assert!(rest.is_empty(), "safetensors checks that lengths match shapes");
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.push(DenseTensor { name: name.to_owned(), shape: view.shape().to_vec(), values });
    }
    tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_bit_and_forgets_the_order() {
        let odd = [f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY];
        let (a, b): (&[usize], &[usize]) = (&[2, 2], &[0, 3]);
        let bytes = dense_to_safetensors(&[("w", a, &odd), ("b", b, &[])]).unwrap();
        assert_eq!(bytes, dense_to_safetensors(&[("b", b, &[]), ("w", a, &odd)]).unwrap());
        let read = dense_from_safetensors(&bytes).unwrap();
        assert_eq!((read[0].name.as_str(), read[0].shape.as_slice()), ("b", b));
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read[1].values), bits(&odd));
    }

    #[test]
    fn mistakes_are_named() {
        let error = dense_to_safetensors(&[("w", &[2, 2], &[1.0])]).unwrap_err().to_string();
        assert!(error.contains("\"w\" has 1 values, expected those of shape [2, 2]"), "{error}");
        assert!(dense_to_safetensors(&[("w", &[1], &[1.0]), ("w", &[1], &[1.0])]).is_err());
        let whole = dense_to_safetensors(&[("w", &[1], &[1.0])]).unwrap();
        for len in 0..whole.len() {
            assert!(dense_from_safetensors(&whole[..len]).is_err(), "cut to {len}");
        }
        let view = TensorView::new(Dtype::I32, vec![1], &[0; 4]).unwrap();
        let ints = safetensors::serialize([("n", view)], None).unwrap();
        assert!(dense_from_safetensors(&ints).unwrap_err().to_string().contains("I32, expected F32"));
    }
}
