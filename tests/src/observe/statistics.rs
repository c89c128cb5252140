//! Statistics of samples: medians, tails, and a test of whether two samples come from the same source.
//!
//! Owns the arithmetic. It must not judge the result.

use std::time::Duration;

/// Returns the value below which `share` of the samples lie (0.5 gives the median), or zero if there are no samples.
#[must_use]
pub fn quantile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let at = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or_default()
}

/// The result of the two-sample Kolmogorov–Smirnov test.
#[derive(Debug, Clone, Copy)]
pub struct Likeness {
    /// The largest distance between the two empirical distributions, 0 to 1.
    pub distance: f64,
    /// The probability of a distance at least this large if both samples come from the same source.
    pub probability: f64,
}

/// Compares two samples. The probability is asymptotic, with Stephens' correction for samples
/// of finite size (Numerical Recipes, section 14.3).
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
pub fn likeness(one: &[Duration], other: &[Duration]) -> Likeness {
    let (mut one, mut other) = (one.to_vec(), other.to_vec());
    one.sort_unstable();
    other.sort_unstable();
    let share = |sorted: &[Duration], value| {
        sorted.partition_point(|sample| *sample <= value) as f64 / sorted.len().max(1) as f64
    };
    let gap = |value: &Duration| (share(&one, *value) - share(&other, *value)).abs();
    let distance = one.iter().chain(&other).map(gap).fold(0.0, f64::max);
    let (n, m) = (one.len() as f64, other.len() as f64);
    let size = (n * m / (n + m)).sqrt();
    let scaled = (size + 0.12 + 0.11 / size) * distance;
    let term = |k: f64| if k % 2.0 == 0.0 { -1.0 } else { 1.0 } * (-2.0 * k * k * scaled * scaled).exp();
    let sum: f64 = (1..=100u8).map(|k| term(f64::from(k))).sum();
    Likeness {
        distance,
        // The series does not converge at 0, where the probability is 1.
        probability: if scaled < 0.2 { 1.0 } else { (2.0 * sum).clamp(0.0, 1.0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(numbers: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        numbers.into_iter().map(Duration::from_micros).collect()
    }

    #[test]
    fn a_median_has_half_of_the_samples_below_it() {
        assert_eq!(quantile(&samples([5, 1, 3]), 0.5), Duration::from_micros(3));
        assert_eq!(quantile(&samples(0..100), 0.99), Duration::from_micros(99));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn samples_from_the_same_source_are_alike_and_others_are_not() {
        // A linear congruential generator gives the same numbers in every run.
        let noise = |seed: u64| {
            (0..1000).scan(seed, |state, _| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                Some(50_000 + (*state >> 33) % 4_000)
            })
        };
        let same = likeness(&samples(noise(1)), &samples(noise(2)));
        assert!(same.distance < 0.06 && same.probability > 0.05, "{same:?}");
        let slower = likeness(&samples(noise(1)), &samples(noise(2).map(|n| n + 500)));
        assert!(slower.distance > 0.1 && slower.probability < 1e-4, "{slower:?}");
        let itself = likeness(&samples(noise(3)), &samples(noise(3)));
        assert!(
            itself.distance < f64::EPSILON && itself.probability > 0.999,
            "{itself:?}"
        );
    }

    /// According to published tables, the critical distance at the 5 % level is 0.0607 for n = m = 1000.
    #[test]
    fn the_probability_matches_published_tables() {
        let shifted = likeness(&samples(0..1000), &samples(61..1061));
        assert!((shifted.distance - 0.061).abs() < 1e-9);
        assert!((0.04..0.055).contains(&shifted.probability), "{shifted:?}");
    }
}
