//! Random moments and choices that can be repeated.
//!
//! Owns a small generator (splitmix64) and its seed: `SENTRAZONE_FAULTS_SEED`, or a random one. The seed is
//! always printed, so that a failed run can be repeated with the same choices.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// A source of random choices.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Creates the source for the test with this name, and prints its seed.
    #[must_use]
    pub fn new(test: &str) -> Self {
        let given = std::env::var("SENTRAZONE_FAULTS_SEED").ok();
        let seed = given.map_or_else(
            || RandomState::new().build_hasher().finish(),
            |text| text.parse().expect("SENTRAZONE_FAULTS_SEED: a number"),
        );
        println!("{test}: SENTRAZONE_FAULTS_SEED={seed}");
        Self(seed)
    }

    /// Returns a number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Returns a duration below `bound`, in whole milliseconds.
    pub fn duration(&mut self, bound: Duration) -> Duration {
        let milliseconds = u64::try_from(bound.as_millis()).expect("milliseconds");
        Duration::from_millis(self.below(milliseconds.max(1)))
    }

    /// Sleeps for a random time below `bound`. There is no condition to wait for: the test needs a random moment.
    pub async fn moment(&mut self, bound: Duration) {
        tokio::time::sleep(self.duration(bound)).await;
    }
}
