//! Impressions of one period: who was shown what, and whether they clicked.

use crate::catalogue::{Catalogue, Item};
use crate::population::Population;
use crate::truth::{DEVICES, SLOTS, Shown, Truth, sigmoid};
use crate::weighted::Weighted;
use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, Int64Builder, ListBuilder, RecordBatch,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use perennial_core::Stream;
use std::sync::Arc;

/// The first instant of period 0: 2024-01-01T00:00:00Z, in microseconds.
pub(crate) const EPOCH: i64 = 1_704_067_200_000_000;

/// A period is a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// A part of the day.
const SLOT: i64 = DAY / SLOTS as i64;

/// Share of impressions by part of the day.
const TRAFFIC: [f64; SLOTS as usize] = [0.1, 0.25, 0.3, 0.35];

/// Share of impressions by device.
const DEVICE_SHARE: [f64; DEVICES as usize] = [0.3, 0.5, 0.2];

/// The impressions of one period, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Impressions {
    /// In the columns of the canonical log.
    pub rows: RecordBatch,
    /// `[rows]` the logit of the probability from which each label was drawn.
    pub logits: Vec<f32>,
}

/// Draws who is shown what in one period.
pub(crate) struct Showing {
    seed: u64,
    period: u32,
    users: Weighted,
    items: Weighted,
    devices: Weighted,
    /// What the live items are, as `items` lists them.
    facts: Vec<Item>,
}

impl Showing {
    /// `seed` is already specific to impressions.
    pub(crate) fn new(seed: u64, period: u32, catalogue: &Catalogue, population: &Population) -> Showing {
        let live = catalogue.live(period);
        let facts: Vec<Item> = live.iter().map(|&item| catalogue.item(item)).collect();
        let exposed = live.iter().zip(&facts).map(|(&id, item)| (id, item.exposure * catalogue.fashion(id, period)));
        Showing {
            seed,
            period,
            users: Weighted::new(population.present(period)),
            items: Weighted::new(exposed),
            devices: Weighted::new((0..DEVICES).zip(DEVICE_SHARE)),
            facts,
        }
    }

    /// `count` impressions, with event ids from `first_event` on. `truth` is that of the same period.
    pub(crate) fn draw(&self, truth: &Truth, count: u32, first_event: u64, schema: &SchemaRef) -> Impressions {
        let mut columns = Columns::default();
        let mut logits = Vec::with_capacity(count as usize);
        for (event, time) in (first_event..).zip(self.times(count)) {
            let (shown, categories) = self.impression(event, time);
            let logit = truth.logit(&shown);
            let toss = Stream::new(&[self.seed, 2, event]).unit_f64();
            columns.push(event, time, &shown, categories, toss < sigmoid(logit));
            logits.push(logit as f32);
        }
        Impressions { rows: columns.finish(schema), logits }
    }

    /// Instants of the period, ascending.
    fn times(&self, count: u32) -> Vec<i64> {
        let mut stream = Stream::new(&[self.seed, 0, u64::from(self.period)]);
        let traffic = Weighted::new((0..SLOTS).zip(TRAFFIC));
        let start = EPOCH + i64::from(self.period) * DAY;
        let instant = |_| {
            let (slot, _) = traffic.draw(&mut stream);
            start + i64::from(slot) * SLOT + stream.below(SLOT as u64) as i64
        };
        let mut times: Vec<i64> = (0..count).map(instant).collect();
        times.sort_unstable();
        times
    }

    fn impression(&self, event: u64, time: i64) -> (Shown, &[u32]) {
        let mut stream = Stream::new(&[self.seed, 1, event]);
        let (user, _) = self.users.draw(&mut stream);
        let (item, place) = self.items.draw(&mut stream);
        let discounted = self.facts[place].price * (1.0 - 0.1 * stream.below(4) as f64);
        let (device, _) = self.devices.draw(&mut stream);
        let slot = ((time - EPOCH) % DAY / SLOT) as u32;
        (Shown { user, item, price: cents(discounted), device, slot }, &self.facts[place].categories)
    }
}

/// Prices are paid in cents, and not less than one.
fn cents(price: f64) -> f64 {
    (price * 100.0).round().max(1.0) / 100.0
}

/// The columns of a batch as they fill.
#[derive(Default)]
struct Columns {
    event: Vec<u64>,
    time: Vec<i64>,
    user: Vec<i64>,
    item: Vec<i64>,
    categories: ListBuilder<Int64Builder>,
    price: Vec<f64>,
    device: Vec<i64>,
    slot: Vec<i64>,
    clicked: Vec<f32>,
}

impl Columns {
    fn push(&mut self, event: u64, time: i64, shown: &Shown, categories: &[u32], clicked: bool) {
        self.event.push(event);
        self.time.push(time);
        self.user.push(i64::from(shown.user));
        self.item.push(i64::from(shown.item));
        self.categories.append_value(categories.iter().map(|&category| Some(i64::from(category))));
        self.price.push(shown.price);
        self.device.push(i64::from(shown.device));
        self.slot.push(i64::from(shown.slot));
        self.clicked.push(if clicked { 1.0 } else { 0.0 });
    }

    /// A click is seen at once: its label is observable at the time of the event.
    fn finish(self, schema: &SchemaRef) -> RecordBatch {
        let Columns { event, time, user, item, categories, price, device, slot, clicked } = self;
        let DataType::List(member) = schema.field(4).data_type() else {
            panic!("the categories are the fifth column of {schema:?}")
        };
        let time = TimestampMicrosecondArray::from(time).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(event)),
            Arc::new(time.clone()),
            Arc::new(Int64Array::from(user)),
            Arc::new(Int64Array::from(item)),
            Arc::new(categories.with_field(Arc::clone(member)).finish()),
            Arc::new(Float64Array::from(price)),
            Arc::new(Int64Array::from(device)),
            Arc::new(Int64Array::from(slot)),
            Arc::new(Float32Array::from(clicked)),
            Arc::new(time),
        ];
        RecordBatch::try_new(Arc::clone(schema), columns).expect("the columns are those of the schema, in its order")
    }
}
