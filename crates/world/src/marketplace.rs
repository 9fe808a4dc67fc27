//! A marketplace whose click probabilities are known.

use crate::catalogue::Catalogue;
use crate::config::MarketplaceConfig;
use crate::error::WorldError;
use crate::impressions::{Impressions, Showing};
use crate::population::Population;
use crate::truth::Truth;
use perennial_core::Schema;
use perennial_core::rng::{hash_parts, hash_text};

/// Users are shown items and click or not, period after period, while tastes and items drift, a shared taste comes
/// round and round, new items burst in, and sparse users return after a while.
///
/// The probability of a click is `sigmoid` of a sum of effects ([`crate::Effects`]); nothing else decides a label but
/// a keyed draw. The same settings and seed give the same bytes on every machine with the same `exp` and `ln`; a
/// period's impressions do not depend on how many periods follow.
///
/// ```
/// use perennial_world::{Marketplace, MarketplaceConfig};
///
/// let config = MarketplaceConfig { periods: 2, rows: 100, ..MarketplaceConfig::default() };
/// let marketplace = Marketplace::new(config, 7)?;
/// let impressions = marketplace.period(1)?;
/// assert_eq!(impressions.rows.num_rows(), 100);
/// assert_eq!(impressions.logits.len(), 100);
/// # Ok::<(), perennial_world::WorldError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Marketplace {
    config: MarketplaceConfig,
    seed: u64,
    catalogue: Catalogue,
    population: Population,
}

const SCHEMA: &str = r#"
name = "marketplace"
field = [
  { name = "event", kind = "event_id", column = "event_id" },
  { name = "when", kind = "timestamp", column = "time", unit = "us" },
  { name = "user", kind = "id", role = "user", id = "int" },
  { name = "item", kind = "id", role = "item", id = "int" },
  { name = "category", kind = "ids", role = "item", id = "int" },
  { name = "price", kind = "numeric", role = "item" },
  { name = "device", kind = "id", role = "context", id = "int" },
  { name = "slot", kind = "id", role = "context", id = "int" },
  { name = "clicked", kind = "label" },
]"#;

impl Marketplace {
    /// A marketplace; settings out of range are refused by name.
    pub fn new(config: MarketplaceConfig, seed: u64) -> Result<Marketplace, WorldError> {
        config.check()?;
        let catalogue = Catalogue::new(stream(seed, "items"), config.items.clone());
        let population = Population::new(stream(seed, "users"), config.users.clone());
        Ok(Marketplace { config, seed, catalogue, population })
    }

    /// The settings.
    pub fn config(&self) -> &MarketplaceConfig {
        &self.config
    }

    /// What the columns of the log are.
    pub fn schema(&self) -> Schema {
        Schema::parse(SCHEMA).expect("the schema is part of this file")
    }

    /// The impressions of one period. Costs what it takes to bring the world there from its beginning; whoever wants
    /// all periods asks [`Marketplace::periods`].
    pub fn period(&self, period: u32) -> Result<Impressions, WorldError> {
        let last = self.config.periods - 1;
        if period > last {
            return Err(WorldError::PeriodOutOfRange { got: period, last });
        }
        let truth = (0..period).fold(self.start(), |truth, _| truth.next());
        Ok(self.impressions(&truth))
    }

    /// The impressions of all periods, in order of time, one period in memory at a time.
    pub fn periods(&self) -> impl Iterator<Item = Impressions> + '_ {
        let following = |truth: &Truth| Some(truth.clone().next());
        std::iter::successors(Some(self.start()), following)
            .take(self.config.periods as usize)
            .map(|truth| self.impressions(&truth))
    }

    fn start(&self) -> Truth {
        Truth::start(stream(self.seed, "factors"), &self.config, &self.catalogue, &self.population)
    }

    fn impressions(&self, truth: &Truth) -> Impressions {
        let rows = self.config.rows;
        let period = truth.period();
        let showing = Showing::new(stream(self.seed, "impressions"), period, &self.catalogue, &self.population);
        showing.draw(truth, rows, u64::from(period) * u64::from(rows), &columns())
    }
}

/// The seed of one of the world's parts.
fn stream(seed: u64, part: &str) -> u64 {
    hash_parts(&[seed, hash_text(part)])
}

/// The columns of the canonical log of this schema.
fn columns() -> arrow::datatypes::SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let ids = DataType::List(std::sync::Arc::new(Field::new("item", DataType::Int64, true)));
    std::sync::Arc::new(Schema::new(vec![
        field("event_id", &DataType::UInt64),
        field("time", &time),
        field("user", &DataType::Int64),
        field("item", &DataType::Int64),
        field("category", &ids),
        field("price", &DataType::Float64),
        field("device", &DataType::Int64),
        field("slot", &DataType::Int64),
        field("clicked", &DataType::Float32),
        field("clicked.observable", &time),
    ]))
}
