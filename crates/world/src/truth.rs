//! What moves a click: the state of the world in one period.

use crate::catalogue::{Catalogue, LOG_PRICE};
use crate::config::MarketplaceConfig;
use crate::drift::Drifting;
use crate::population::Population;
use std::f64::consts::TAU;

/// Devices on which something is shown, best first.
pub(crate) const DEVICES: u32 = 3;

/// Parts of the day: night, morning, afternoon, evening.
pub(crate) const SLOTS: u32 = 4;

/// One impression, without its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    pub(crate) user: u32,
    pub(crate) item: u32,
    /// After the discount.
    pub(crate) price: f64,
    pub(crate) device: u32,
    pub(crate) slot: u32,
}

/// The factors of everybody and everything in one period.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    config: MarketplaceConfig,
    catalogue: Catalogue,
    period: u32,
    /// `[users, factors + 1]`: taste, then eagerness.
    users: Drifting,
    /// `[items born, factors + 1]`: what its categories do not explain, then quality.
    items: Drifting,
    /// `[categories, factors]`
    categories: Drifting,
    /// `[items born, factors]`: factors of the items, categories included.
    item_factors: Vec<f64>,
}

impl Truth {
    /// The first period.
    pub(crate) fn start(
        seed: u64,
        config: &MarketplaceConfig,
        catalogue: &Catalogue,
        population: &Population,
    ) -> Truth {
        let factors = config.factors as usize;
        let mut truth = Truth {
            config: config.clone(),
            catalogue: catalogue.clone(),
            period: 0,
            users: Drifting::new([seed, 0], factors + 1, config.drift.users),
            items: Drifting::new([seed, 1], factors + 1, config.drift.items),
            categories: Drifting::new([seed, 2], factors, config.drift.items),
            item_factors: Vec::new(),
        };
        truth.users.grow(population.len() as usize);
        truth.categories.grow(config.items.categories as usize);
        truth.admit_items();
        truth
    }

    /// The period after this one.
    pub(crate) fn next(mut self) -> Truth {
        self.period += 1;
        self.users.step(self.period);
        self.items.step(self.period);
        self.categories.step(self.period);
        self.admit_items();
        self
    }

    /// The period that this is the truth of.
    pub(crate) fn period(&self) -> u32 {
        self.period
    }

    /// The logit of the probability of a click.
    pub(crate) fn logit(&self, shown: &Shown) -> f64 {
        let effects = &self.config.effects;
        let user = self.users.of(shown.user);
        let own = self.items.of(shown.item);
        let factors = self.config.factors as usize;
        let plain = effects.bias
            + self.taste(user, self.factors_of(shown.item))
            + effects.eagerness * user[factors]
            + effects.quality * own[factors]
            + effects.novelty * (self.catalogue.fashion(shown.item, self.period) - 0.5)
            - effects.price * (shown.price.ln() - LOG_PRICE.0) / LOG_PRICE.1
            + effects.device * (1.0 - f64::from(shown.device))
            + effects.slot * (f64::from(shown.slot) / 1.5 - 1.0);
        with_noise(plain, self.config.noise)
    }

    /// The user's own taste, scaled so that it varies by `effects.taste` over users and items, and the season's.
    fn taste(&self, user: &[f64], item: &[f64]) -> f64 {
        let own: f64 = user.iter().zip(item).map(|(user, item)| user * item).sum();
        let season = &self.config.season;
        let angle = TAU * f64::from(self.period % season.length) / f64::from(season.length);
        self.config.effects.taste * own / (item.len() as f64).sqrt()
            + season.strength * (angle.cos() * item[0] + angle.sin() * item[1])
    }

    fn factors_of(&self, item: u32) -> &[f64] {
        let factors = self.config.factors as usize;
        &self.item_factors[item as usize * factors..][..factors]
    }

    /// Lets the items of this period be born and finds everybody's factors anew.
    fn admit_items(&mut self) {
        let born = self.catalogue.born_by(self.period);
        self.items.grow(born as usize);
        let mut item_factors = Vec::with_capacity(born as usize * self.config.factors as usize);
        for item in 0..born {
            self.push_factors(item, &mut item_factors);
        }
        self.item_factors = item_factors;
    }

    /// A mixture of unit variance: the categories' factors, and the item's own.
    fn push_factors(&self, item: u32, all: &mut Vec<f64>) {
        let categories = self.catalogue.item(item).categories;
        let share = self.config.items.category_share;
        let (common, rest) = ((share / categories.len() as f64).sqrt(), (1.0 - share).sqrt());
        for (k, own) in self.items.of(item)[..self.config.factors as usize].iter().enumerate() {
            let sum: f64 = categories.iter().map(|&category| self.categories.of(category)[k]).sum();
            all.push(common * sum + rest * own);
        }
    }
}

/// The logit when a share of labels is tossed: `(1 - noise) sigmoid(z) + noise / 2`.
fn with_noise(logit: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        return logit;
    }
    let p = (1.0 - noise) * sigmoid(logit) + noise / 2.0;
    (p / (1.0 - p)).ln()
}

pub(crate) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(config: &MarketplaceConfig) -> Truth {
        let catalogue = Catalogue::new(1, config.items.clone());
        let population = Population::new(2, config.users.clone());
        Truth::start(3, config, &catalogue, &population)
    }

    /// The logits of one hundred pairs of users and items in each of the first periods.
    fn course(config: &MarketplaceConfig, periods: usize) -> Vec<Vec<f64>> {
        let pair = |i: u32| Shown { user: i, item: 2 * i, price: 20.0, device: 1, slot: 2 };
        std::iter::successors(Some(start(config)), |truth| Some(truth.clone().next()))
            .take(periods)
            .map(|truth| (0..100).map(|i| truth.logit(&pair(i))).collect())
            .collect()
    }

    #[test]
    fn a_stationary_world_stands_still() {
        let course = course(&MarketplaceConfig::stationary(), 4);
        assert!(course.iter().all(|logits| logits == &course[0]));
    }

    #[test]
    fn a_drifting_world_does_not() {
        let config = MarketplaceConfig { drift: MarketplaceConfig::default().drift, ..MarketplaceConfig::stationary() };
        let course = course(&config, 3);
        let moved = |t: usize| course[t].iter().zip(&course[0]).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        assert!(0.0 < moved(1) && moved(1) < moved(2), "moved by {} and then {}", moved(1), moved(2));
    }

    #[test]
    fn the_season_comes_back_after_its_length_and_not_before() {
        for length in [3, 4, 5] {
            let season = crate::Season { length, strength: 0.5 };
            let course = course(&MarketplaceConfig { season, ..MarketplaceConfig::stationary() }, 11);
            for t in 1..11 {
                assert_eq!(course[t] == course[0], t % length as usize == 0, "period {t}, season of {length}");
            }
        }
    }

    /// By hand: `0.6 sigmoid(0) + 0.2 = 0.5`; `0.6 sigmoid(40) + 0.2 = 0.8`, whose logit is `ln 4`.
    #[test]
    fn noise_keeps_the_probability_away_from_certainty() {
        assert!(with_noise(0.0, 0.4).abs() < 1e-12);
        assert!((with_noise(40.0, 0.4) - 4.0_f64.ln()).abs() < 1e-9);
        assert_eq!(with_noise(40.0, 0.0), 40.0);
    }
}
