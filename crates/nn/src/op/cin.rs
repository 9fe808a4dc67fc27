//! A layer of the compressed interaction network.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// `y_k = sum_ij w_(ij)k a_i b_j + bias_k` for each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cin {
    a: Var,
    b: Var,
    w: Var,
    bias: Var,
}

/// Elements of the outer products that are made at once, a megabyte: they stay in cache until they are multiplied.
const BLOCK: usize = 1 << 18;

impl<T: Real> Tape<T> {
    /// One layer of the compressed interaction network (Lian et al., KDD 2018), on matrices that hold one dimension of
    /// one example per row ([`Tape::transpose_vectors`]): `a` is `[m, H]`, the feature maps of the layer before, `b` is
    /// `[m, F]`, the vectors themselves; `w` is `[H * F, K]`, `bias` `[1, K]`. Returns `[m, K]`.
    ///
    /// Costs `2 m H F K` operations in one product. Outer products are made block by block, forward and again
    /// backward, and never kept: they would be `m H F` numbers.
    pub fn cin(&mut self, a: Var, b: Var, w: Var, bias: Var) -> Var {
        let ((m, maps), (rows, fields), (products, outputs)) = (self.shape(a), self.shape(b), self.shape(w));
        assert_eq!(rows, m, "cin: maps and vectors have one row for each dimension of each example");
        assert_eq!(products, maps * fields, "cin: {products} weights for {maps} maps and {fields} fields");
        assert_eq!(self.shape(bias), (1, outputs), "cin: one bias for each of {outputs} maps");
        let needs_grad = [a, b, w, bias].into_iter().any(|v| self.needs_grad(v));
        let y = self.push(m, outputs, needs_grad, Op::Cin(Cin { a, b, w, bias }));
        let mut scratch = std::mem::take(&mut self.scratch);
        let (before, out) = self.output(y);
        let (a, b, w) = (before.of(a), before.of(b), before.of(w));
        let block = block_rows(products);
        scratch.dz.resize(scratch.dz.len().max(block * products), T::ZERO);
        for (at, out) in out.chunks_mut((block * outputs).max(1)).enumerate() {
            let rows = out.len() / outputs.max(1);
            let z = &mut scratch.dz[..rows * products];
            outer(&a[at * block * maps..], &b[at * block * fields..], z, (maps, fields));
            T::matmul([rows, products, outputs], z, w, out, false, &mut scratch.panels);
        }
        T::bias_act(out, before.of(bias), outputs, crate::Act::Identity);
        self.scratch = scratch;
        y
    }
}

fn block_rows(products: usize) -> usize {
    (BLOCK / products.max(1)).max(16)
}

/// `z = a b^T` for each row.
fn outer<T: Real>(a: &[T], b: &[T], z: &mut [T], (maps, fields): (usize, usize)) {
    dispatch(
        #[inline(always)]
        || {
            let rows = a.chunks_exact(maps.max(1)).zip(b.chunks_exact(fields.max(1)));
            for ((a, b), z) in rows.zip(z.chunks_exact_mut((maps * fields).max(1))) {
                for (&a, z) in a.iter().zip(z.chunks_exact_mut(fields)) {
                    for (z, &b) in z.iter_mut().zip(b) {
                        *z = a * b;
                    }
                }
            }
        },
    );
}

/// From the gradient of outer products to those of their factors.
fn outer_backward<T: Real>(
    dz: &[T],
    (a, b): (&[T], &[T]),
    (da, db): (&mut [T], &mut [T]),
    (maps, fields): (usize, usize),
) {
    dispatch(
        #[inline(always)]
        || {
            let gradients = da.chunks_exact_mut(maps.max(1)).zip(db.chunks_exact_mut(fields.max(1)));
            let factors = a.chunks_exact(maps.max(1)).zip(b.chunks_exact(fields.max(1)));
            for ((dz, (da, db)), (a, b)) in dz.chunks_exact((maps * fields).max(1)).zip(gradients).zip(factors) {
                db.fill(T::ZERO);
                for ((dz, da), &a) in dz.chunks_exact(fields).zip(da).zip(a) {
                    let mut sum = T::ZERO;
                    for ((&dz, &b), db) in dz.iter().zip(b).zip(db.iter_mut()) {
                        sum += dz * b;
                        *db += dz * a;
                    }
                    *da = sum;
                }
            }
        },
    );
}

impl Cin {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        if let Some(flow) = tape.flow(y, self.bias) {
            T::column_sum(flow.dy, flow.dx, flow.add);
        }
        let mut scratch = std::mem::take(&mut tape.scratch);
        self.weights_backward(tape, y, &mut scratch.dz, &mut scratch.panels);
        if tape.needs_grad(self.a) || tape.needs_grad(self.b) {
            self.factors_backward(tape, y, &mut scratch.dz, &mut scratch.panels);
        }
        tape.scratch = scratch;
    }

    fn weights_backward<T: Real>(self, tape: &mut Tape<T>, y: Var, z: &mut Vec<T>, panels: &mut [Vec<T>; 2]) {
        let ((_, maps), (_, fields), (_, outputs)) = (tape.shape(self.a), tape.shape(self.b), tape.shape(y));
        let (products, block) = (maps * fields, block_rows(maps * fields));
        let Some(flow) = tape.flow(y, self.w) else { return };
        let (a, b) = (flow.values.of(self.a), flow.values.of(self.b));
        if !flow.add {
            flow.dx.fill(T::ZERO);
        }
        z.resize(z.len().max(block * products), T::ZERO);
        for (at, dy) in flow.dy.chunks((block * outputs).max(1)).enumerate() {
            let rows = dy.len() / outputs.max(1);
            let z = &mut z[..rows * products];
            outer(&a[at * block * maps..], &b[at * block * fields..], z, (maps, fields));
            T::matmul_at([products, rows, outputs], z, dy, flow.dx, true, panels);
        }
    }

    fn factors_backward<T: Real>(self, tape: &mut Tape<T>, y: Var, scratch: &mut Vec<T>, panels: &mut [Vec<T>; 2]) {
        let ((m, maps), (_, fields), (_, outputs)) = (tape.shape(self.a), tape.shape(self.b), tape.shape(y));
        let (products, block) = (maps * fields, block_rows(maps * fields));
        scratch.resize(scratch.len().max(block * products + m * (maps + fields)), T::ZERO);
        let (dz, rest) = scratch.split_at_mut(block * products);
        let (da, rest) = rest.split_at_mut(m * maps);
        let db = &mut rest[..m * fields];
        let (a, b, w) = (tape.value(self.a), tape.value(self.b), tape.value(self.w));
        for (at, dy) in tape.result(y).1.chunks((block * outputs).max(1)).enumerate() {
            let rows = dy.len() / outputs.max(1);
            let dz = &mut dz[..rows * products];
            T::matmul_bt([rows, outputs, products], dy, w, dz, false, panels);
            let (of_a, of_b) = (at * block * maps, at * block * fields);
            outer_backward(dz, (&a[of_a..], &b[of_b..]), (&mut da[of_a..], &mut db[of_b..]), (maps, fields));
        }
        for (factor, gradient) in [(self.a, &*da), (self.b, &*db)] {
            let Some(flow) = tape.flow(y, factor) else { continue };
            match flow.add {
                true => flow.dx.iter_mut().zip(gradient).for_each(|(dx, &g)| *dx += g),
                false => flow.dx.copy_from_slice(gradient),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    /// The sum over all pairs of maps and fields, written out.
    #[test]
    fn equals_loops() {
        let (m, maps, fields, outputs) = (5, 3, 4, 2);
        let [a, b, w] =
            [(m * maps, 1), (m * fields, 2), (maps * fields * outputs, 3)].map(|(len, seed)| normal(len, seed));
        let mut tape = Tape::<f64>::new();
        let mut leaf = |rows, cols, x: &[f64]| tape.leaf(rows, cols, |leaf| leaf.copy_from_slice(x));
        let inputs =
            [leaf(m, maps, &a), leaf(m, fields, &b), leaf(maps * fields, outputs, &w), leaf(1, 2, &[0.5, 2.0])];
        let y = tape.cin(inputs[0], inputs[1], inputs[2], inputs[3]);
        for row in 0..m {
            for k in 0..outputs {
                let mut expected = [0.5, 2.0][k];
                for i in 0..maps {
                    for j in 0..fields {
                        expected += w[(i * fields + j) * outputs + k] * a[row * maps + i] * b[row * fields + j];
                    }
                }
                assert!((tape.value(y)[row * outputs + k] - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn gradients_equal_differences() {
        check(&[(4, 3), (4, 2), (6, 5), (1, 5)], |tape, v| {
            let y = tape.cin(v[0], v[1], v[2], v[3]);
            scalar(tape, y)
        });
        // The first layer: one matrix for both; and it occurs elsewhere.
        check(&[(3, 2), (4, 3), (1, 3)], |tape, v| {
            let first = tape.cin(v[0], v[0], v[1], v[2]);
            let both = tape.concat(&[first, v[0]]);
            scalar(tape, both)
        });
    }

    /// More rows than a block has.
    #[test]
    fn blocks_join() {
        let (maps, fields, outputs) = (90, 150, 3);
        let m = 2 * block_rows(maps * fields) + 5;
        let run = |m: usize, from: usize| {
            let mut tape = Tape::<f32>::new();
            let mut leaf = |rows: usize, cols: usize, from: usize, seed| {
                let x = normal((from + rows) * cols, seed);
                tape.leaf(rows, cols, |leaf| {
                    leaf.iter_mut().zip(&x[from * cols..]).for_each(|(x, &v)| *x = 0.1 * v as f32);
                })
            };
            let (a, b) = (leaf(m, maps, from, 1), leaf(m, fields, from, 2));
            let (w, bias) = (leaf(maps * fields, outputs, 0, 3), leaf(1, outputs, 0, 4));
            let y = tape.cin(a, b, w, bias);
            let loss = scalar(&mut tape, y);
            tape.backward(loss);
            (tape.value(y).to_vec(), tape.grad(w).len(), tape.grad(a).iter().any(|g| *g != 0.0))
        };
        let (whole, weights, any) = run(m, 0);
        let (last, ..) = run(1, m - 1);
        for (whole, alone) in whole[(m - 1) * outputs..].iter().zip(last) {
            assert!((whole - alone).abs() < 1e-5, "{whole} and {alone}");
        }
        assert!(any && weights == maps * fields * outputs);
    }
}
