//! Random moments and choices that can be had again.
//!
//! Owns a small generator (splitmix64) and its seed: `SENTRAZONE_FAULTS_SEED`, else a fresh one,
//! printed either way, so that a run that failed can be repeated with the same choices.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// A source of choices.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// A source for the test of this name; prints its seed.
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

    /// Any number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A length of time below `bound`, in milliseconds.
    pub fn duration(&mut self, bound: Duration) -> Duration {
        let milliseconds = u64::try_from(bound.as_millis()).expect("milliseconds");
        Duration::from_millis(self.below(milliseconds.max(1)))
    }

    /// Lets a random moment come, at most `bound` from now: what happens at it is the point, nothing
    /// is waited for.
    pub async fn moment(&mut self, bound: Duration) {
        tokio::time::sleep(self.duration(bound)).await;
    }
}
