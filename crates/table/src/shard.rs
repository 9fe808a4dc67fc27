//! The part of a table that one worker updates at a time.

use crate::accumulator::Accumulator;
use crate::gather::Place;
use crate::plane::Plane;
use crate::touches::Touches;
use perennial_nn::optim::{self, Decay, Optimiser, Rule, Slot, Step, StepLog, dispatch};
use serde::{Deserialize, Serialize};

/// Number of shards of every table. Row `r` of a table is row `r / SHARDS` of shard `r % SHARDS`, so that rows in
/// use spread evenly over workers.
pub const SHARDS: usize = 16;

/// What happens to the rows that a step does not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowMode {
    /// Nothing but decay: momentum neither moves nor decays until the row is touched again. Decay that does not
    /// depend on momentum (decoupled, or L2 under SGD) is made up for in one factor when a row is next used. The
    /// default: a row that is not used keeps its bits, so snapshots share it.
    #[default]
    Lazy,
    /// What a dense optimiser does, bit for bit: each step that a row missed is replayed before the row is used.
    /// Costs as much as the dense optimiser for rows that are missed for long, and always with L2 in the gradient.
    DenseParity,
}

/// How rows make up for the steps that they missed.
#[derive(Debug)]
enum CatchUp {
    /// They missed nothing.
    Nothing,
    /// By the product of the factors of decay.
    Shrink(StepLog),
    /// Step by step.
    Replay(StepLog),
}

/// Every [`SHARDS`]-th row of a table: values, slots, and the gradients of the step under way.
#[derive(Debug)]
pub struct Shard {
    position: usize,
    dim: usize,
    rows: usize,
    values: Plane,
    /// All slots of a row side by side, so that an update meets one cache line more and not one per slot.
    slots: Option<Plane>,
    catch_up: CatchUp,
    /// For each row the number of logged steps that it has seen; empty where nothing can be missed.
    seen: Vec<u32>,
    sums: Accumulator,
}

impl Shard {
    pub(crate) fn new(position: usize, dim: usize) -> Shard {
        Shard {
            position,
            dim,
            rows: 0,
            values: Plane::new(dim, 0.0),
            slots: None,
            catch_up: CatchUp::Nothing,
            seen: Vec::new(),
            sums: Accumulator::new(dim),
        }
    }

    /// Prepares slots and the way of catching up; slots that exist already are kept.
    pub(crate) fn train_with(&mut self, optimiser: &Optimiser, mode: RowMode, keep_slots: bool) {
        if !keep_slots {
            self.set_slots(&optimiser.rule.slots());
        }
        self.catch_up = CatchUp::of(optimiser, mode);
        self.reset_seen();
    }

    /// Makes anew the slots of every row. All slots of a rule start from one value.
    pub(crate) fn set_slots(&mut self, slots: &[Slot]) {
        self.slots = slots.first().map(|slot| {
            let mut plane = Plane::new(slots.len() * self.dim, slot.initial);
            plane.grow_to(self.rows);
            plane
        });
    }

    /// Appends rows: zeros, and slots at their initial values.
    pub(crate) fn grow_to(&mut self, rows: usize) {
        self.rows = rows;
        self.sums.grow_to(rows);
        self.values.grow_to(rows);
        self.slots.iter_mut().for_each(|slots| slots.grow_to(rows));
        self.reset_seen();
    }

    pub(crate) fn values(&self) -> &Plane {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut Plane {
        &mut self.values
    }

    pub(crate) fn slots(&self) -> Option<&Plane> {
        self.slots.as_ref()
    }

    pub(crate) fn slots_mut(&mut self) -> Option<&mut Plane> {
        self.slots.as_mut()
    }

    /// The same shard on shared pages, ready to be trained on, with or without its slots. It must be settled.
    pub(crate) fn share(&mut self, with_slots: bool) -> Shard {
        let mut copy = Shard::new(self.position, self.dim);
        copy.rows = self.rows;
        copy.sums.grow_to(self.rows);
        copy.values = self.values.share();
        if with_slots {
            copy.slots = self.slots.as_mut().map(Plane::share);
            copy.catch_up = self.catch_up.fresh();
            copy.reset_seen();
        }
        copy
    }

    /// The values of the same shard, sharing the pages that are shared already and copying the others. It must be
    /// settled.
    pub(crate) fn copy_values(&self) -> Shard {
        let mut copy = Shard::new(self.position, self.dim);
        copy.rows = self.rows;
        copy.sums.grow_to(self.rows);
        copy.values = self.values.clone();
        copy
    }

    /// The same shard, sharing the pages that are shared already and copying the others. It must be settled.
    pub(crate) fn copy(&self) -> Shard {
        let mut copy = self.copy_values();
        copy.slots = self.slots.clone();
        copy.catch_up = self.catch_up.fresh();
        copy.reset_seen();
        copy
    }

    /// Adds the gradients of one part of the batch to the sums of the rows it touched: for each touch its weight
    /// times the gradient at its position, `[i * stride + offset..][..dim]` of `grads`.
    ///
    /// Call it for each part in order, and for each feature that reads the table.
    pub fn accumulate(&mut self, touches: &Touches, grads: &[f32], place: Place) {
        let part = touches.of_shard(self.position);
        dispatch(
            #[inline(always)]
            || match self.dim {
                1 => self.sums.add::<1>(part, grads, place),
                8 => self.sums.add::<8>(part, grads, place),
                16 => self.sums.add::<16>(part, grads, place),
                32 => self.sums.add::<32>(part, grads, place),
                64 => self.sums.add::<64>(part, grads, place),
                _ => self.sums.add::<0>(part, grads, place),
            },
        );
    }

    /// Number of distinct rows with a gradient.
    pub fn touched(&self) -> usize {
        self.sums.rows().len()
    }

    #[cfg(test)]
    pub(crate) fn touched_rows(&self) -> &[u32] {
        self.sums.rows()
    }

    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.sums.clear();
    }

    /// The gradient of each touched row, `[touched, dim]`, in order of first touch.
    pub fn gradients(&self) -> &[f32] {
        self.sums.sums()
    }

    /// Sum of squares of the gradients: what this shard adds to the square of a global norm.
    pub fn sum_of_squares(&self) -> f64 {
        optim::sum_of_squares(self.sums.sums())
    }

    /// Multiplies the gradients by `factor`.
    pub fn scale(&mut self, factor: f32) {
        optim::scale(self.sums.sums_mut(), factor);
    }

    /// Brings each element of the gradients into `-limit..=limit`.
    pub fn clip_by_value(&mut self, limit: f32) {
        optim::clip_by_value(self.sums.sums_mut(), limit);
    }

    /// Updates each touched row once, forgets the gradients, and returns how many rows became infinite or NaN:
    /// anything but 0 should stop the run.
    ///
    /// Where rows can miss steps, every shard must apply every step, touched or not. Panics if a touched row was
    /// not caught up with, and if the table was not made to train with this kind of step.
    #[must_use = "a row that became NaN must stop the run"]
    pub fn apply(&mut self, step: &Step) -> usize {
        self.mark_seen();
        let broken = dispatch(
            #[inline(always)]
            || match self.dim {
                1 => self.update_rows::<1>(step),
                8 => self.update_rows::<8>(step),
                16 => self.update_rows::<16>(step),
                32 => self.update_rows::<32>(step),
                64 => self.update_rows::<64>(step),
                _ => self.update_rows::<0>(step),
            },
        );
        self.sums.clear();
        if let CatchUp::Shrink(log) | CatchUp::Replay(log) = &mut self.catch_up {
            log.push(step);
        }
        broken
    }

    /// `DIM` is the width, where the compiler may know it, or 0.
    #[inline(always)]
    fn update_rows<const DIM: usize>(&mut self, step: &Step) -> usize {
        let dim = if DIM == 0 { self.dim } else { DIM };
        let Shard { values, slots, sums, .. } = self;
        let mut broken = 0;
        let ask_for = |values: &Plane, slots: &Option<Plane>, rows: &[u32]| {
            for &row in rows {
                values.prefetch(row as usize);
                slots.iter().for_each(|slots| slots.prefetch(row as usize));
            }
        };
        let all = sums.rows();
        ask_for(values, slots, &all[..all.len().min(AHEAD)]);
        for (nth, (rows, gradients)) in all.chunks(AHEAD).zip(sums.sums().chunks(AHEAD * dim)).enumerate() {
            let next = ((nth + 1) * AHEAD).min(all.len());
            ask_for(values, slots, &all[next..all.len().min(next + AHEAD)]);
            for (&row, gradient) in rows.iter().zip(gradients.chunks_exact(dim)) {
                let values = &mut values.row_mut(row as usize)[..dim];
                step.update_inlined(values, gradient, slots_of(slots, row as usize, dim));
                broken += usize::from(!all_finite(values));
            }
        }
        broken
    }

    fn mark_seen(&mut self) {
        let (CatchUp::Shrink(log) | CatchUp::Replay(log)) = &self.catch_up else { return };
        let now = log.len() as u32;
        for &row in self.sums.rows() {
            let seen = std::mem::replace(&mut self.seen[row as usize], now + 1);
            assert!(seen == now, "row {row} of shard {} saw {seen} of {now} steps: catch up first", self.position);
        }
    }

    /// Makes the touched rows see the steps that they missed. To be called before they are gathered.
    pub fn catch_up(&mut self, touches: &Touches) {
        if self.missed_steps() > 0 {
            for touch in touches.of_shard(self.position).touches {
                self.catch_up_row(touch.slot as usize);
            }
        }
    }

    /// Makes all rows see the steps that they missed, and forgets those.
    pub(crate) fn settle(&mut self) {
        if self.missed_steps() == 0 {
            return;
        }
        for row in 0..self.rows {
            self.catch_up_row(row);
        }
        if let CatchUp::Shrink(log) | CatchUp::Replay(log) = &mut self.catch_up {
            log.clear();
        }
        self.seen.fill(0);
    }

    /// Steps that an untouched row has missed since the shard was last settled.
    pub(crate) fn missed_steps(&self) -> usize {
        match &self.catch_up {
            CatchUp::Nothing => 0,
            CatchUp::Shrink(log) | CatchUp::Replay(log) => log.len(),
        }
    }

    /// Whether rows can miss anything.
    pub(crate) fn needs_catch_up(&self) -> bool {
        !matches!(self.catch_up, CatchUp::Nothing)
    }

    fn catch_up_row(&mut self, row: usize) {
        let Shard { position, values, slots, catch_up, seen, .. } = self;
        let is_pad = *position == 0 && row == 0;
        match catch_up {
            CatchUp::Nothing => {}
            CatchUp::Shrink(log) | CatchUp::Replay(log) if is_pad || seen[row] as usize == log.len() => {}
            CatchUp::Shrink(log) => {
                let factor = log.shrink_since(seen[row] as usize);
                optim::scale(values.row_mut(row), factor);
                seen[row] = log.len() as u32;
            }
            CatchUp::Replay(log) => {
                replay(log, seen[row] as usize, values, slots, row);
                seen[row] = log.len() as u32;
            }
        }
    }

    fn reset_seen(&mut self) {
        if self.needs_catch_up() {
            self.seen.resize(self.rows, 0);
        } else {
            self.seen = Vec::new();
        }
    }
}

/// Rows asked for together, while as many before them are updated. A window that slides by a row at a time was no faster.
const AHEAD: usize = 24;

/// A loop, since an iterator adapter stayed a call, compiled without wide instructions.
#[inline(always)]
fn all_finite(values: &[f32]) -> bool {
    let mut finite = true;
    for x in values {
        finite &= x.is_finite();
    }
    finite
}

/// The slots of a row; those that the rule does not have are empty.
#[inline(always)]
fn slots_of(slots: &mut Option<Plane>, row: usize, dim: usize) -> [&mut [f32]; 2] {
    match slots {
        None => [&mut [], &mut []],
        Some(plane) => {
            let (first, second) = plane.row_mut(row).split_at_mut(dim);
            [first, second]
        }
    }
}

fn replay(log: &StepLog, from: usize, values: &mut Plane, slots: &mut Option<Plane>, row: usize) {
    let never_written = slots.as_ref().is_none_or(|slots| slots.row(row).is_none());
    if never_written && log.leaves_fresh_rows() {
        return;
    }
    let values = values.row_mut(row);
    let dim = values.len();
    log.replay(from, values, slots_of(slots, row, dim));
}

impl CatchUp {
    fn of(optimiser: &Optimiser, mode: RowMode) -> CatchUp {
        let log = StepLog::new(*optimiser);
        match (mode, optimiser.decay, optimiser.rule) {
            (RowMode::Lazy, Decay::None, _) => CatchUp::Nothing,
            (RowMode::Lazy, ..) => CatchUp::Shrink(log),
            (RowMode::DenseParity, Decay::None, Rule::Sgd | Rule::Adagrad { .. }) => CatchUp::Nothing,
            (RowMode::DenseParity, ..) => CatchUp::Replay(log),
        }
    }

    /// The same way, with nothing missed.
    fn fresh(&self) -> CatchUp {
        let cleared = |log: &StepLog| StepLog::new(log.optimiser());
        match self {
            CatchUp::Nothing => CatchUp::Nothing,
            CatchUp::Shrink(log) => CatchUp::Shrink(cleared(log)),
            CatchUp::Replay(log) => CatchUp::Replay(cleared(log)),
        }
    }
}
