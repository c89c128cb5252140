//! Random numbers that are all derived from one seed.
//!
//! Owns the streams: each part of the simulation that uses random numbers has its own stream, so that the order of
//! use does not matter.

use std::ops::Range;
use std::time::Duration;

/// One stream of random numbers.
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    /// Creates the stream with this number for this seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Two generators, so that neighbouring seeds and streams are unrelated.
        let mut mixer = fastrand::Rng::with_seed(seed);
        let mut second = fastrand::Rng::with_seed(mixer.u64(..) ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self(fastrand::Rng::with_seed(second.u64(..)))
    }

    /// Returns true with a probability of `of_thousand` in a thousand.
    pub(crate) fn permille(&mut self, of_thousand: u32) -> bool {
        self.0.u32(0..1000) < of_thousand
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(0..bound.max(1))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub(crate) fn milliseconds(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.u64(range))
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.0.usize(0..from.len())])
    }
}
