//! The settings of a marketplace, their defaults, and the reasons for them.

use crate::error::WorldError;
use serde::{Deserialize, Serialize};

/// Settings of a [`Marketplace`](crate::Marketplace).
///
/// The defaults are frozen: figures elsewhere were made with them. They were chosen so that methods part for reasons.
/// Means of AUC over the last 7 of 14 periods, 4 of them to begin with, seed 1, with an Embedding&MLP in PyTorch
/// 2.15 (dim 8, layers 20-10, mean of the last 30 clicked items, Adam 1e-2, batch 1024, 2 epochs to begin with and 1 per
/// update):
///
/// | constant | popularity | frozen | incremental | batch of 3 periods | truth |
/// |---|---|---|---|---|---|
/// | 0.500 | 0.632 | 0.664 | 0.722 | 0.737 | 0.821 |
///
/// The frozen model falls from 0.721 to 0.643 over the ten periods. The batch sees each row three times,
/// the update once; how much of its lead is that and how much is averaging over a season was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketplaceConfig {
    /// Number of periods; a period is a day.
    pub periods: u32,
    /// Impressions per period.
    pub rows: u32,
    /// Length of the latent factors of users and items; at least 2, since the season turns in the first two.
    pub factors: u32,
    /// Who is shown something.
    pub users: Users,
    /// What is shown.
    pub items: Items,
    /// What moves the logit of a click.
    pub effects: Effects,
    /// How fast factors change.
    pub drift: Drift,
    /// The taste that comes back.
    pub season: Season,
    /// Share of impressions whose label is the toss of a coin. The true probability knows of it.
    pub noise: f64,
}

/// Who is shown something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Users {
    /// Number of users.
    pub count: u32,
    /// Share of users who come only every few periods.
    pub sparse: f64,
    /// A sparse user comes once in this many periods at the least ...
    pub gap_min: u32,
    /// ... and at the most.
    pub gap_max: u32,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Items {
    /// Items that are there from the first period to the last.
    pub evergreen: u32,
    /// New items per burst; 0 for a catalogue that never changes.
    pub burst: u32,
    /// Periods from one burst to the next.
    pub burst_every: u32,
    /// Periods for which an item of a burst is shown.
    pub life: u32,
    /// Number of categories; an item has one to three of them.
    pub categories: u32,
    /// Share of the variance of an item's factors that comes from its categories.
    pub category_share: f64,
}

/// What moves the logit of a click, which has `p = sigmoid(bias + sum of effects)`. Taste, quality, eagerness and price
/// are standard deviations over users and items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Effects {
    /// Logit of a click when nothing else matters.
    pub bias: f64,
    /// Inner product of the user's taste and the item's factors.
    pub taste: f64,
    /// The item's own quality: what `popularity` can learn.
    pub quality: f64,
    /// How readily the user clicks.
    pub eagerness: f64,
    /// What an item of a burst gains at its height, and loses when old.
    pub novelty: f64,
    /// What a price one standard deviation (of the log of the price) above the middle costs.
    pub price: f64,
    /// Best device against worst is twice this.
    pub device: f64,
    /// Evening against night is twice this.
    pub slot: f64,
}

/// The share of a factor's variance that is renewed each period: factors follow an AR(1) process of unit variance
/// whose correlation from one period to the next is `sqrt(1 - drift)`. Zero stands still, one forgets everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    /// Of items and of the categories behind them.
    pub items: f64,
    /// Of users' tastes.
    pub users: f64,
}

/// A taste shared by all users that turns in the plane of the first two factors and is back after some periods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Season {
    /// Periods until it is back.
    pub length: u32,
    /// Standard deviation, over items, of what it does to the logit.
    pub strength: f64,
}

impl Default for MarketplaceConfig {
    fn default() -> Self {
        MarketplaceConfig {
            periods: 14,  // 4 to start from and 10 updates: two and a half seasons
            rows: 24_000, // 40 a user: enough to learn from in one pass, few enough to train many methods
            factors: 2,   // with 4, and 16 rows a user, updates went 48 % of the way from constant to truth, not 69 %
            users: Users::default(),
            items: Items::default(),
            effects: Effects::default(),
            drift: Drift::default(),
            season: Season::default(),
            noise: 0.02,
        }
    }
}

impl Default for Users {
    /// Two users in five come in one period of four: a seventh of the rows, and what an update forgets.
    fn default() -> Self {
        Users { count: 600, sparse: 0.4, gap_min: 3, gap_max: 5 }
    }
}

impl Default for Items {
    /// Two live items in five are younger than six periods. Most of an item lies in its categories, so that a
    /// model can place one that it has hardly seen.
    fn default() -> Self {
        Items { evergreen: 250, burst: 60, burst_every: 2, life: 6, categories: 12, category_share: 0.8 }
    }
}

impl Default for Effects {
    /// Together the truth reaches an AUC of 0.82. Taste weighs most: it is what popularity cannot know.
    fn default() -> Self {
        Effects {
            bias: -1.0,
            taste: 1.5,
            quality: 0.8,
            eagerness: 0.4,
            novelty: 0.8,
            price: 0.4,
            device: 0.3,
            slot: 0.2,
        }
    }
}

impl Default for Drift {
    /// After ten periods an item's factors keep a correlation of 0.59 with what they were, a user's 0.77: a frozen
    /// model falls from where it began to hardly more than popularity, no faster.
    fn default() -> Self {
        Drift { items: 0.1, users: 0.05 }
    }
}

impl Default for Season {
    /// An update that follows the last period is always a quarter turn late.
    fn default() -> Self {
        Season { length: 4, strength: 0.5 }
    }
}

impl MarketplaceConfig {
    /// A world in which the truth about a user and an item is the same in every period: no drift, no season, no bursts.
    pub fn stationary() -> Self {
        MarketplaceConfig {
            drift: Drift { items: 0.0, users: 0.0 },
            season: Season { strength: 0.0, ..Season::default() },
            items: Items { burst: 0, ..Items::default() },
            ..MarketplaceConfig::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), WorldError> {
        at_least("periods", self.periods, 1, "at least 1")?;
        at_least("rows", self.rows, 1, "at least 1")?;
        at_least("factors", self.factors, 2, "at least 2")?;
        at_least("users.count", self.users.count, 1, "at least 1")?;
        at_least("users.gap_min", self.users.gap_min, 1, "at least 1")?;
        at_least("users.gap_max", self.users.gap_max, self.users.gap_min, "at least users.gap_min")?;
        at_least("items.evergreen", self.items.evergreen, 1, "at least 1")?;
        at_least("items.burst_every", self.items.burst_every, 1, "at least 1")?;
        at_least("items.life", self.items.life, 1, "at least 1")?;
        at_least("items.categories", self.items.categories, 3, "at least 3")?;
        at_least("season.length", self.season.length, 1, "at least 1")?;
        share("noise", self.noise)?;
        share("users.sparse", self.users.sparse)?;
        share("items.category_share", self.items.category_share)?;
        share("drift.items", self.drift.items)?;
        share("drift.users", self.drift.users)?;
        self.effects.check()?;
        strength("season.strength", self.season.strength)
    }
}

impl Effects {
    fn check(&self) -> Result<(), WorldError> {
        finite("effects.bias", self.bias)?;
        strength("effects.taste", self.taste)?;
        strength("effects.quality", self.quality)?;
        strength("effects.eagerness", self.eagerness)?;
        strength("effects.novelty", self.novelty)?;
        strength("effects.price", self.price)?;
        strength("effects.device", self.device)?;
        strength("effects.slot", self.slot)
    }
}

fn at_least(setting: &'static str, got: u32, least: u32, expected: &'static str) -> Result<(), WorldError> {
    require(got >= least, setting, expected, got)
}

fn share(setting: &'static str, got: f64) -> Result<(), WorldError> {
    require((0.0..=1.0).contains(&got), setting, "from 0 to 1", got)
}

fn strength(setting: &'static str, got: f64) -> Result<(), WorldError> {
    require(got.is_finite() && got >= 0.0, setting, "finite and not negative", got)
}

fn finite(setting: &'static str, got: f64) -> Result<(), WorldError> {
    require(got.is_finite(), setting, "finite", got)
}

fn require(
    holds: bool,
    setting: &'static str,
    expected: &'static str,
    got: impl std::fmt::Display,
) -> Result<(), WorldError> {
    if holds { Ok(()) } else { Err(WorldError::Setting { setting, expected, got: got.to_string() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_absent_ones_have_defaults() {
        let config: MarketplaceConfig = toml::from_str("periods = 3\n[users]\ncount = 10").unwrap();
        assert_eq!((config.periods, config.users.count, config.rows), (3, 10, 24_000));
        let error = toml::from_str::<MarketplaceConfig>("[users]\ncuont = 10").unwrap_err().to_string();
        assert!(error.contains("cuont"), "got: {error}");
    }

    #[track_caller]
    fn refused(change: impl Fn(&mut MarketplaceConfig), expected: &str) {
        let mut config = MarketplaceConfig::default();
        change(&mut config);
        assert_eq!(config.check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        refused(|config| config.rows = 0, "rows must be at least 1, got 0");
        refused(|config| config.users.gap_max = 1, "users.gap_max must be at least users.gap_min, got 1");
        refused(|config| config.drift.items = 1.5, "drift.items must be from 0 to 1, got 1.5");
        refused(|config| config.noise = f64::NAN, "noise must be from 0 to 1, got NaN");
        refused(|config| config.effects.price = -1.0, "effects.price must be finite and not negative, got -1");
    }
}
