//! Synthetic worlds with known answers.
//!
//! A world draws its labels from probabilities that it knows, so that every method can be shown beside the best score
//! that any method could reach. The world here is a [`Marketplace`].
//!
//! Nothing here knows of models. A world may be wrong about real markets; it may not be wrong about itself: the tests
//! hold it to what its configuration says.

mod catalogue;
mod config;
mod drift;
mod error;
mod export;
mod impressions;
mod marketplace;
mod population;
mod truth;
mod weighted;

pub use config::{Drift, Effects, Items, MarketplaceConfig, Season, Users};
pub use error::WorldError;
pub use export::{LOG_DIR, TRUTH_FILE};
pub use impressions::Impressions;
pub use marketplace::Marketplace;
