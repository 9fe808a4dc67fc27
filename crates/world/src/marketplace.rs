//! A marketplace whose click probabilities are known.

use crate::catalogue::Catalogue;
use crate::config::MarketplaceConfig;
use crate::error::WorldError;
use crate::impressions::{Impressions, Showing};
use crate::population::Population;
use crate::truth::Truth;
use perennial_core::Schema;
use perennial_core::rng::{hash_parts, hash_text};
use perennial_data::arrow_schema;

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
        showing.draw(truth, rows, u64::from(period) * u64::from(rows), &arrow_schema(&self.schema()))
    }
}

/// The seed of one of the world's parts.
fn stream(seed: u64, part: &str) -> u64 {
    hash_parts(&[seed, hash_text(part)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::sigmoid;
    use arrow::array::AsArray;
    use arrow::datatypes::{Float32Type, Int64Type, TimestampMicrosecondType};
    use std::collections::{BTreeMap, BTreeSet};

    fn marketplace() -> Marketplace {
        Marketplace::new(MarketplaceConfig::default(), 1).unwrap()
    }

    fn labels(impressions: &Impressions) -> Vec<f64> {
        let clicked = impressions.rows["clicked"].as_primitive::<Float32Type>();
        clicked.values().iter().map(|&label| f64::from(label)).collect()
    }

    fn ids(impressions: &Impressions, column: &str) -> BTreeSet<i64> {
        impressions.rows[column].as_primitive::<Int64Type>().values().iter().copied().collect()
    }

    /// Every label with the probability it was drawn from.
    fn draws() -> Vec<(f64, f64)> {
        let of = |part: Impressions| {
            let labels = labels(&part);
            part.logits.into_iter().map(|logit| sigmoid(f64::from(logit))).zip(labels).collect::<Vec<_>>()
        };
        marketplace().periods().flat_map(of).collect()
    }

    /// How far the clicks are from their expected number, in standard errors (of a sum of Bernoulli draws).
    fn deviation(draws: &[(f64, f64)]) -> f64 {
        let excess: f64 = draws.iter().map(|(p, label)| label - p).sum();
        let variance: f64 = draws.iter().map(|(p, _)| p * (1.0 - p)).sum();
        excess / variance.sqrt()
    }

    #[test]
    fn labels_are_drawn_from_the_truth_in_every_range_of_it() {
        let mut draws = draws();
        assert!(deviation(&draws).abs() < 4.0);
        draws.sort_by(|a, b| a.0.total_cmp(&b.0));
        for bin in draws.chunks(draws.len() / 20) {
            assert!(deviation(bin).abs() < 4.0, "{} standard errors near {}", deviation(bin), bin[0].0);
        }
    }

    /// Area under the curve by ranks; the logits of distinct impressions are hardly ever equal.
    fn auc(draws: &[(f64, f64)]) -> f64 {
        let mut sorted = draws.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let positives = sorted.iter().map(|draw| draw.1).sum::<f64>();
        let ranks: f64 = sorted.iter().zip(1..).map(|((_, label), rank)| label * f64::from(rank)).sum();
        (ranks - positives * (positives + 1.0) / 2.0) / (positives * (sorted.len() as f64 - positives))
    }

    /// What the truth must score follows from the probabilities alone: LogLoss is their mean entropy, and AUC the
    /// chance that a click drawn in proportion to `p` outranks a non-click drawn in proportion to `1 - p`.
    #[test]
    fn the_ceiling_is_where_the_probabilities_put_it() {
        let draws = draws();
        let count = draws.len() as f64;
        let loss = |(p, label): &(f64, f64)| -(label * p.ln() + (1.0 - label) * (1.0 - p).ln());
        let entropy = |p: f64| -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        let got = draws.iter().map(loss).sum::<f64>() / count;
        let expected = draws.iter().map(|draw| entropy(draw.0)).sum::<f64>() / count;
        assert!((got - expected).abs() < 0.005, "LogLoss {got}, entropy {expected}"); // 4 * 0.7 / sqrt(336000)

        let expected = expected_auc(draws.iter().map(|draw| draw.0).collect());
        let got = auc(&draws);
        assert!((got - expected).abs() < 0.004, "AUC {got}, expected {expected}"); // Hanley and McNeil: se 0.0008
        assert!((0.80..0.85).contains(&got), "AUC {got} leaves the range that the defaults are meant to have");
    }

    fn expected_auc(mut p: Vec<f64>) -> f64 {
        p.sort_by(f64::total_cmp);
        let (mut below, mut won) = (0.0, 0.0);
        for p in &p {
            won += p * (below + 0.5 * (1.0 - p));
            below += 1.0 - p;
        }
        won / (p.iter().sum::<f64>() * below)
    }

    #[test]
    fn a_period_does_not_depend_on_those_around_it() {
        let short = MarketplaceConfig { periods: 3, rows: 300, ..MarketplaceConfig::default() };
        let long = MarketplaceConfig { periods: 6, ..short.clone() };
        let (short, long) = (Marketplace::new(short, 5).unwrap(), Marketplace::new(long, 5).unwrap());
        assert_eq!(short.periods().collect::<Vec<_>>(), long.periods().take(3).collect::<Vec<_>>());
        assert_eq!(long.period(4).unwrap(), long.periods().nth(4).unwrap());
        let error = short.period(3).unwrap_err().to_string();
        assert_eq!(error, "period 3 was asked for, but this world has periods 0 to 2");
    }

    #[test]
    fn another_seed_is_another_world() {
        let other = Marketplace::new(MarketplaceConfig::default(), 2).unwrap();
        assert_eq!(marketplace().period(0).unwrap(), marketplace().period(0).unwrap());
        assert_ne!(marketplace().period(0).unwrap().logits, other.period(0).unwrap().logits);
    }

    #[test]
    fn times_are_in_order_and_each_period_is_its_day() {
        let day = crate::impressions::DAY;
        for (impressions, period) in marketplace().periods().zip(0..) {
            let times = impressions.rows["time"].as_primitive::<TimestampMicrosecondType>().values();
            let start = crate::impressions::EPOCH + period * day;
            assert!(times.is_sorted() && times[0] >= start && times[times.len() - 1] < start + day);
        }
    }

    /// Items born in period `t` have the ids that follow those of all earlier ones.
    #[test]
    fn items_of_a_burst_are_unseen_before_and_soon_gone() {
        let marketplace = marketplace();
        let items = marketplace.config.items.clone();
        let seen: Vec<BTreeSet<i64>> = marketplace.periods().map(|part| ids(&part, "item")).collect();
        for (period, seen) in (0..).zip(&seen) {
            assert!(seen.last() < Some(&i64::from(marketplace.catalogue.born_by(period))), "period {period}");
        }
        let first = i64::from(items.evergreen)..i64::from(items.evergreen + items.burst);
        let shown = |period: u32| seen[period as usize].range(first.clone()).count();
        assert!(shown(items.burst_every) as u32 > items.burst / 2);
        assert_eq!(shown(items.burst_every + items.life), 0);
    }

    #[test]
    fn sparse_users_come_back_after_several_periods() {
        let mut periods: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (part, period) in marketplace().periods().zip(0..) {
            ids(&part, "user").into_iter().for_each(|user| periods.entry(user).or_default().push(period));
        }
        let returns = |seen: &Vec<u32>| seen.len() > 1 && seen.windows(2).all(|pair| pair[1] - pair[0] >= 3);
        let share = periods.values().filter(|seen| returns(seen)).count() as f64 / periods.len() as f64;
        let expected = marketplace().config.users.sparse;
        assert!((share - expected).abs() < 0.1, "share {share}, expected {expected}"); // 4 sqrt(.4 * .6 / 600) = 0.08
    }
}
