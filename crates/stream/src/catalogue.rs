//! The items seen so far and what is known of them.

use crate::layout::Layout;
use crate::rows::{Rows, Value};
use hashbrown::HashMap;
use perennial_core::{Feature, FeatureKind};

/// Every item seen so far with the attributes of the last row that named it, numbered in order of first sight.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    index: HashMap<u64, u32>,
    pub(crate) keys: Vec<u64>,
    /// One per item feature, in the order of [`Layout::item_features`].
    pub(crate) attributes: Vec<Attribute>,
}

/// One attribute of all items.
#[derive(Debug, Clone)]
pub(crate) enum Attribute {
    Id(Vec<u64>),
    Bag(Vec<Box<[u64]>>),
    Numeric(Vec<f32>),
}

/// The attributes of one item, taken from a row.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) item: u64,
    values: Vec<Owned>,
}

#[derive(Debug, Clone)]
enum Owned {
    Id(u64),
    Bag(Box<[u64]>),
    Numeric(f32),
}

impl Catalogue {
    pub(crate) fn new(layout: &Layout) -> Catalogue {
        let attributes = layout.catalogued().map(|feature| match feature.kind {
            FeatureKind::Id(_) => Attribute::Id(Vec::new()),
            FeatureKind::Bag(_) => Attribute::Bag(Vec::new()),
            FeatureKind::Numeric => Attribute::Numeric(Vec::new()),
        });
        Catalogue { index: HashMap::new(), keys: Vec::new(), attributes: attributes.collect() }
    }

    /// A stored catalogue; `None` if an item is named twice.
    pub(crate) fn from_parts(keys: Vec<u64>, attributes: Vec<Attribute>) -> Option<Catalogue> {
        let index: HashMap<u64, u32> = keys.iter().zip(0..).map(|(&key, i)| (key, i)).collect();
        (index.len() == keys.len()).then_some(Catalogue { index, keys, attributes })
    }

    /// Whether it holds the attributes of such a log.
    pub(crate) fn fits(&self, layout: &Layout) -> bool {
        let alike = |(attribute, feature): (&Attribute, &Feature)| match attribute {
            Attribute::Id(_) => matches!(feature.kind, FeatureKind::Id(_)),
            Attribute::Bag(_) => matches!(feature.kind, FeatureKind::Bag(_)),
            Attribute::Numeric(_) => feature.kind == FeatureKind::Numeric,
        };
        self.attributes.len() == layout.item_features.len()
            && self.attributes.iter().zip(layout.catalogued()).all(alike)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn find(&self, item: u64) -> Option<u32> {
        self.index.get(&item).copied()
    }

    /// Whether the row tells nothing new of its item.
    pub(crate) fn agrees(&self, layout: &Layout, rows: &Rows, row: usize) -> bool {
        let Some(item) = self.find(rows.item[row]) else { return false };
        let mut values = layout.item_features.iter().zip(&self.attributes);
        values.all(|(&feature, attribute)| same(rows.features[feature].at(row), attribute.at(item)))
    }

    /// Takes over what a row said of its item.
    pub(crate) fn learn(&mut self, sighting: Sighting) {
        let next = u32::try_from(self.keys.len()).expect("fewer than 2^32 items");
        let item = *self.index.entry(sighting.item).or_insert(next);
        if item == next {
            self.keys.push(sighting.item);
        }
        for (attribute, value) in self.attributes.iter_mut().zip(sighting.values) {
            attribute.put(item as usize, value);
        }
    }
}

impl Sighting {
    pub(crate) fn of(layout: &Layout, rows: &Rows, row: usize) -> Sighting {
        let values = layout.item_features.iter().map(|&feature| match rows.features[feature].at(row) {
            Value::Id(key) => Owned::Id(key),
            Value::Bag(keys) => Owned::Bag(keys.into()),
            Value::Numeric(value) => Owned::Numeric(value),
        });
        Sighting { item: rows.item[row], values: values.collect() }
    }
}

impl Attribute {
    pub(crate) fn at(&self, item: u32) -> Value<'_> {
        match self {
            Attribute::Id(keys) => Value::Id(keys[item as usize]),
            Attribute::Bag(bags) => Value::Bag(&bags[item as usize]),
            Attribute::Numeric(values) => Value::Numeric(values[item as usize]),
        }
    }

    fn put(&mut self, item: usize, value: Owned) {
        match (self, value) {
            (Attribute::Id(keys), Owned::Id(key)) => set_or_push(keys, item, key),
            (Attribute::Bag(bags), Owned::Bag(bag)) => set_or_push(bags, item, bag),
            (Attribute::Numeric(values), Owned::Numeric(value)) => set_or_push(values, item, value),
            (attribute, value) => unreachable!("one layout made both {attribute:?} and {value:?}"),
        }
    }
}

fn set_or_push<T>(values: &mut Vec<T>, at: usize, value: T) {
    match values.get_mut(at) {
        Some(slot) => *slot = value,
        None => values.push(value),
    }
}

/// Bit for bit: a null number agrees with a null number.
fn same(left: Value<'_>, right: Value<'_>) -> bool {
    match (left, right) {
        (Value::Id(left), Value::Id(right)) => left == right,
        (Value::Bag(left), Value::Bag(right)) => left == right,
        (Value::Numeric(left), Value::Numeric(right)) => left.to_bits() == right.to_bits(),
        _ => false,
    }
}
