//! The record of one forward pass, and the pass backwards.

use crate::Real;
use crate::arena::Arena;
use crate::op::Op;
use std::ops::Range;

/// A matrix on a tape. Valid until the tape is reset, or rewound to before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Var {
    index: u32,
    pass: u32,
}

/// A place on a tape to come back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    nodes: usize,
    parts: usize,
    ends: usize,
    values: usize,
    pass: u32,
}

/// Runs of rows of different lengths, one after the other: the histories of a batch's examples. Valid until the tape
/// is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    first: u32,
    count: u32,
    pass: u32,
}

/// Records operations as they are computed and walks back over them.
///
/// Values and gradients live in two arenas that [`Tape::reset`] rewinds, so that a step allocates nothing once the
/// arenas have grown to the largest step's size. Wrong shapes are bugs of the caller and panic with both shapes in
/// the message. Nothing hides a NaN.
#[derive(Debug, Default)]
pub struct Tape<T: Real> {
    nodes: Vec<Node>,
    /// Inputs of operations that take any number of them.
    pub(crate) parts: Vec<Var>,
    /// Where each run of rows ends, for all [`Groups`].
    pub(crate) ends: Vec<u32>,
    values: Arena<T>,
    grads: Arena<T>,
    pass: u32,
    /// For operations' own use within one call.
    pub(crate) scratch: Scratch<T>,
}

/// Buffers whose content does not outlive an operation's forward or backward.
#[derive(Debug, Default)]
pub(crate) struct Scratch<T> {
    pub(crate) dz: Vec<T>,
    pub(crate) panels: [Vec<T>; 2],
}

#[derive(Debug, Clone)]
struct Node {
    rows: usize,
    cols: usize,
    stretch: Range<usize>,
    /// The tape's pass when it was made: tells it from a later node at the same place.
    pass: u32,
    needs_grad: bool,
    /// Whether the gradient holds something: its first contribution overwrites, later ones add.
    has_grad: bool,
    op: Op,
}

/// Values that an operation may read: its inputs and what it kept.
pub(crate) struct Values<'a, T> {
    nodes: &'a [Node],
    values: &'a [T],
}

impl<'a, T: Real> Values<'a, T> {
    pub(crate) fn of(&self, v: Var) -> &'a [T] {
        &self.values[self.nodes[v.index as usize].stretch.clone()]
    }
}

/// One step backwards: from the gradient of an operation's result to that of one of its inputs.
pub(crate) struct Flow<'a, T> {
    pub(crate) values: Values<'a, T>,
    /// Gradient of the result.
    pub(crate) dy: &'a [T],
    /// Gradient of the input.
    pub(crate) dx: &'a mut [T],
    /// Whether to add to `dx`; otherwise every element must be overwritten.
    pub(crate) add: bool,
}

impl<T: Real> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all matrices and keeps their memory. Earlier [`Var`]s are refused from now on.
    pub fn reset(&mut self) {
        self.nodes.clear();
        self.parts.clear();
        self.ends.clear();
        self.values.rewind();
        self.grads.rewind();
        self.pass = self.pass.wrapping_add(1);
    }

    /// The tape as it is now, to [`Tape::rewind`] to. Costs nothing.
    pub fn mark(&self) -> Mark {
        Mark {
            nodes: self.nodes.len(),
            parts: self.parts.len(),
            ends: self.ends.len(),
            values: self.values.used(),
            pass: self.pass,
        }
    }

    /// Forgets the matrices made since `mark`; those made before it stay as they are. What does not change from one
    /// forward pass to the next is so placed once.
    ///
    /// # Panics
    /// If the tape was reset, or rewound further than this, after the mark was made.
    pub fn rewind(&mut self, mark: Mark) {
        let last = mark.nodes.checked_sub(1);
        let unchanged = last.is_none_or(|last| self.nodes.get(last).is_some_and(|node| node.pass <= mark.pass));
        assert!(unchanged, "the tape was reset or rewound further than {mark:?} after it was made");
        self.nodes.truncate(mark.nodes);
        self.parts.truncate(mark.parts);
        self.ends.truncate(mark.ends);
        self.values.rewind_to(mark.values);
        self.pass = self.pass.wrapping_add(1);
    }

    /// A matrix whose gradient is wanted. `fill` gets its row-major buffer zeroed.
    pub fn leaf(&mut self, rows: usize, cols: usize, fill: impl FnOnce(&mut [T])) -> Var {
        self.source(rows, cols, true, fill)
    }

    /// A matrix without a gradient that holds `values`, row-major.
    pub fn constant_of(&mut self, rows: usize, cols: usize, values: &[T]) -> Var {
        self.copied(rows, cols, false, values)
    }

    /// A matrix whose gradient is wanted and that holds `values`, row-major.
    pub fn leaf_of(&mut self, rows: usize, cols: usize, values: &[T]) -> Var {
        self.copied(rows, cols, true, values)
    }

    /// A matrix without a gradient: none is computed for it, nor for what depends on constants only. `fill` gets its
    /// row-major buffer zeroed.
    pub fn constant(&mut self, rows: usize, cols: usize, fill: impl FnOnce(&mut [T])) -> Var {
        self.source(rows, cols, false, fill)
    }

    /// Runs of these lengths, of which some or all may be zero.
    pub fn groups(&mut self, lengths: impl IntoIterator<Item = usize>) -> Groups {
        let (first, mut end) = (self.ends.len(), 0u32);
        for length in lengths {
            end += u32::try_from(length).expect("a batch holds fewer than 2^32 rows");
            self.ends.push(end);
        }
        Groups { first: first as u32, count: (self.ends.len() - first) as u32, pass: self.pass }
    }

    /// Number of runs, and of rows in all of them.
    pub fn group_sizes(&self, groups: Groups) -> (usize, usize) {
        let ends = &self.ends[self.range(groups)];
        (ends.len(), ends.last().map_or(0, |end| *end as usize))
    }

    /// Where a stretch of [`Tape::ends`] lies.
    pub(crate) fn range(&self, groups: Groups) -> Range<usize> {
        assert_eq!(groups.pass, self.pass, "{groups:?} were made before the tape's last reset, or by another tape");
        groups.first as usize..(groups.first + groups.count) as usize
    }

    /// Row-major elements.
    pub fn value(&self, v: Var) -> &[T] {
        self.values.get(self.node(v).stretch.clone())
    }

    /// Rows and columns.
    pub fn shape(&self, v: Var) -> (usize, usize) {
        let node = self.node(v);
        (node.rows, node.cols)
    }

    /// Whether the matrix is a leaf or depends on one.
    pub fn needs_grad(&self, v: Var) -> bool {
        self.node(v).needs_grad
    }

    /// Gradient of the last [`Tape::backward`]'s loss by this matrix: zero where the loss does not depend on it.
    ///
    /// # Panics
    /// For constants, which have none, and before [`Tape::backward`].
    pub fn grad(&self, v: Var) -> &[T] {
        let node = self.node(v);
        assert!(node.has_grad, "no gradient of {v:?}: it is a constant, or backward was not called after it was made");
        self.grads.get(node.stretch.clone())
    }

    /// Computes the gradient of `loss`, a `[1, 1]` matrix, by every matrix that it depends on and that needs one.
    ///
    /// May be called again, for another loss or the same: each call starts from zero.
    pub fn backward(&mut self, loss: Var) {
        assert_eq!(self.shape(loss), (1, 1), "backward starts from a scalar");
        self.start_gradients();
        let last = loss.index as usize;
        if self.nodes[last].needs_grad {
            self.nodes[last].has_grad = true;
            self.grads.get_mut(self.nodes[last].stretch.clone()).fill(T::ONE);
        }
        for index in (0..=last).rev() {
            if self.nodes[index].has_grad {
                let var = Var { index: index as u32, pass: self.nodes[index].pass };
                self.nodes[index].op.backward(self, var);
            }
        }
        self.zero_missing_gradients();
    }

    fn start_gradients(&mut self) {
        let end = self.nodes.last().map_or(0, |node| node.stretch.end);
        self.grads.rewind();
        self.grads.take(end);
        for node in &mut self.nodes {
            node.has_grad = false;
        }
    }

    fn zero_missing_gradients(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.needs_grad && !node.has_grad) {
            self.grads.get_mut(node.stretch.clone()).fill(T::ZERO);
            node.has_grad = true;
        }
    }

    fn source(&mut self, rows: usize, cols: usize, needs_grad: bool, fill: impl FnOnce(&mut [T])) -> Var {
        let var = self.push(rows, cols, needs_grad, Op::Source);
        let buffer = self.output(var).1;
        buffer.fill(T::ZERO);
        fill(buffer);
        var
    }

    fn copied(&mut self, rows: usize, cols: usize, needs_grad: bool, values: &[T]) -> Var {
        let var = self.push(rows, cols, needs_grad, Op::Source);
        self.output(var).1.copy_from_slice(values);
        var
    }

    fn node(&self, v: Var) -> &Node {
        let node = self.nodes.get(v.index as usize).filter(|node| node.pass == v.pass);
        node.unwrap_or_else(|| panic!("{v:?} was made before the tape's last reset, or by another tape"))
    }

    /// Adds the result of an operation; its buffer holds whatever was there before.
    pub(crate) fn push(&mut self, rows: usize, cols: usize, needs_grad: bool, op: Op) -> Var {
        let index = u32::try_from(self.nodes.len()).expect("a step has fewer than 2^32 operations");
        let stretch = self.values.take(rows * cols);
        let pass = self.pass;
        self.nodes.push(Node { rows, cols, stretch, pass, needs_grad, has_grad: false, op });
        Var { index, pass: self.pass }
    }

    /// What was computed before `v`, and the buffer of `v`.
    pub(crate) fn output(&mut self, v: Var) -> (Values<'_, T>, &mut [T]) {
        let stretch = self.node(v).stretch.clone();
        let (values, rest) = self.values.split_at_mut(stretch.start);
        (Values { nodes: &self.nodes, values }, &mut rest[..stretch.len()])
    }

    /// What was computed before `first`, and the buffers of `first` and of `second`, which was made after it.
    pub(crate) fn output_pair(&mut self, first: Var, second: Var) -> (Values<'_, T>, [&mut [T]; 2]) {
        let [first, second] = [first, second].map(|v| self.node(v).stretch.clone());
        let (values, rest) = self.values.split_at_mut(first.start);
        let (head, tail) = rest.split_at_mut(second.start - first.start);
        (Values { nodes: &self.nodes, values }, [&mut head[..first.len()], &mut tail[..second.len()]])
    }

    /// The way back from `y` to its input `x`; `None` if `x` needs no gradient. The caller must use it.
    pub(crate) fn flow(&mut self, y: Var, x: Var) -> Option<Flow<'_, T>> {
        let node = &mut self.nodes[x.index as usize];
        if !node.needs_grad {
            return None;
        }
        let add = std::mem::replace(&mut node.has_grad, true);
        let (to, from) = (self.nodes[x.index as usize].stretch.clone(), self.nodes[y.index as usize].stretch.clone());
        let (before, rest) = self.grads.split_at_mut(from.start);
        let values = Values { nodes: &self.nodes, values: self.values.all() };
        Some(Flow { values, dy: &rest[..from.len()], dx: &mut before[to], add })
    }

    /// The value and the gradient of the result `y` of an operation.
    pub(crate) fn result(&self, y: Var) -> (&[T], &[T]) {
        let stretch = &self.nodes[y.index as usize].stretch;
        (self.values.get(stretch.clone()), self.grads.get(stretch.clone()))
    }
}

/// The rows of each run, given where runs end.
pub(crate) fn runs(ends: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, &end)| start as usize..end as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Act;

    #[test]
    fn constants_need_no_gradient() {
        let mut tape = Tape::<f64>::new();
        let (x, w) = (tape.constant(2, 2, |x| x.fill(1.0)), tape.constant(2, 1, |w| w.fill(1.0)));
        let fixed = tape.linear(x, w, None, Act::Identity);
        let b = tape.leaf(1, 1, |_| {});
        let learned = tape.linear(x, w, Some(b), Act::Identity);
        assert_eq!([fixed, b, learned].map(|v| tape.needs_grad(v)), [false, true, true]);
        let loss = tape.bce_with_logits(learned, &[1.0, 1.0], &[1.0, 1.0], 2.0);
        tape.backward(loss);
        assert!(tape.flow(learned, x).is_none() && tape.flow(learned, w).is_none());
    }

    #[test]
    #[should_panic(expected = "no gradient")]
    fn the_gradient_of_a_constant_is_refused() {
        let mut tape = Tape::<f64>::new();
        let z = tape.constant(1, 1, |_| {});
        let loss = tape.bce_with_logits(z, &[1.0], &[1.0], 1.0);
        tape.backward(loss);
        tape.grad(z);
    }

    #[test]
    fn a_leaf_that_the_loss_ignores_has_gradient_zero() {
        let mut tape = Tape::<f64>::new();
        for _ in 0..2 {
            tape.reset();
            let (z, other) = (tape.leaf(1, 1, |_| {}), tape.leaf(2, 3, |_| {}));
            let loss = tape.bce_with_logits(z, &[1.0], &[1.0], 1.0);
            let column = tape.constant(3, 1, |w| w.fill(1.0));
            let unused = tape.linear(other, column, None, Act::Relu);
            tape.backward(loss);
            assert_eq!((tape.grad(other), tape.grad(unused)), ([0.0; 6].as_slice(), [0.0; 2].as_slice()));
        }
    }

    /// sigmoid(0) - 1 = -0.5, however often backward is called.
    #[test]
    fn backward_starts_from_zero_each_time() {
        let mut tape = Tape::<f64>::new();
        let z = tape.leaf(1, 1, |_| {});
        let loss = tape.bce_with_logits(z, &[1.0], &[1.0], 1.0);
        for _ in 0..2 {
            tape.backward(loss);
            assert_eq!(tape.grad(z), [-0.5]);
        }
    }

    #[test]
    fn leaves_start_at_zero_after_a_reset() {
        let mut tape = Tape::<f32>::new();
        tape.leaf(3, 3, |x| x.fill(7.0));
        tape.reset();
        let fresh = tape.leaf(3, 3, |x| x[0] = 1.0);
        assert_eq!(tape.value(fresh).iter().sum::<f32>(), 1.0);
    }

    /// What was placed before the mark stays; what follows is computed anew, as on a tape of its own.
    #[test]
    fn a_rewound_tape_keeps_what_was_before_the_mark() {
        let mut tape = Tape::<f64>::new();
        let w = tape.leaf_of(2, 1, &[2.0, 3.0]);
        let mark = tape.mark();
        for x in [1.0, 4.0] {
            tape.rewind(mark);
            let x = tape.constant_of(1, 2, &[x, 1.0]);
            let z = tape.linear(x, w, None, Act::Identity);
            let expected = 2.0 * tape.value(x)[0] + 3.0;
            assert_eq!((tape.value(z), tape.value(w)), ([expected].as_slice(), [2.0, 3.0].as_slice()));
            let loss = tape.bce_with_logits(z, &[1.0], &[1.0], 1.0);
            tape.backward(loss);
            let slope = 1.0 / (1.0 + (-expected).exp()) - 1.0;
            let errors = [tape.grad(w)[0] - slope * tape.value(x)[0], tape.grad(w)[1] - slope];
            assert!(errors.iter().all(|error| error.abs() < 1e-12), "{errors:?}");
        }
    }

    #[test]
    #[should_panic(expected = "before the tape's last reset")]
    fn handles_from_after_the_mark_are_refused() {
        let mut tape = Tape::<f32>::new();
        let mark = tape.mark();
        let old = tape.leaf(1, 1, |_| {});
        tape.rewind(mark);
        tape.leaf(1, 1, |_| {});
        tape.value(old);
    }

    #[test]
    #[should_panic(expected = "after it was made")]
    fn a_mark_does_not_outlive_a_reset() {
        let mut tape = Tape::<f32>::new();
        tape.leaf(1, 1, |_| {});
        let mark = tape.mark();
        tape.reset();
        tape.leaf(1, 1, |_| {});
        tape.rewind(mark);
    }

    #[test]
    #[should_panic(expected = "before the tape's last reset")]
    fn old_handles_are_refused() {
        let mut tape = Tape::<f32>::new();
        let old = tape.leaf(1, 1, |_| {});
        tape.reset();
        tape.leaf(1, 1, |_| {});
        tape.value(old);
    }
}
