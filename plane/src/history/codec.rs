//! The encoding of one hour's samples: a version byte, then each sample as LEB128 integers. Minutes and transfer
//! totals are stored as differences from the previous sample.
//!
//! Owns the format. A released format must stay readable.

use super::Sample;

/// The format version that this release writes.
const VERSION: u8 = 1;

/// An error while reading a packed hour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// This release does not know the format version.
    #[error("a packed hour in format version {0}, which this release does not know")]
    Version(u8),
    /// The bytes are truncated, too long, or contain impossible values.
    #[error("not a packed hour: {0}")]
    Damaged(&'static str),
}

/// Packs one hour's samples, which are ordered by minute.
#[must_use]
pub fn pack(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + samples.len() * 16);
    bytes.push(VERSION);
    let mut before = Sample::default();
    for sample in samples {
        put(&mut bytes, u64::from(sample.minute.saturating_sub(before.minute)));
        put(&mut bytes, u64::from(sample.pings));
        if sample.pings > 0 {
            put(&mut bytes, sample.ping_sum);
        }
        put(&mut bytes, zigzag(before.transfer_rx, sample.transfer_rx));
        put(&mut bytes, zigzag(before.transfer_tx, sample.transfer_tx));
        before = *sample;
    }
    bytes
}

/// Reads the samples that [`pack`] has written.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Sample>, CodecError> {
    let (version, mut rest) = bytes.split_first().ok_or(CodecError::Damaged("it is empty"))?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    let mut samples: Vec<Sample> = Vec::new();
    while !rest.is_empty() {
        let before = samples.last().copied();
        let sample = sample(&mut rest, before)?;
        samples.push(sample);
    }
    Ok(samples)
}

fn sample(rest: &mut &[u8], before: Option<Sample>) -> Result<Sample, CodecError> {
    let step = take(rest)?;
    if before.is_some() && step == 0 {
        return Err(CodecError::Damaged("a minute occurs twice"));
    }
    let before = before.unwrap_or_default();
    let minute = u64::from(before.minute)
        .checked_add(step)
        .and_then(|minute| u8::try_from(minute).ok())
        .filter(|minute| *minute < 60)
        .ok_or(CodecError::Damaged("a minute is out of range"))?;
    let pings = u32::try_from(take(rest)?).map_err(|_| CodecError::Damaged("too many pings"))?;
    let ping_sum = if pings > 0 { take(rest)? } else { 0 };
    Ok(Sample {
        minute,
        pings,
        ping_sum,
        transfer_rx: unzigzag(before.transfer_rx, take(rest)?),
        transfer_tx: unzigzag(before.transfer_tx, take(rest)?),
    })
}

/// Returns the difference between two counters, encoded so that a small change in either direction is a small number.
const fn zigzag(before: u64, now: u64) -> u64 {
    let difference = now.wrapping_sub(before).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

const fn unzigzag(before: u64, packed: u64) -> u64 {
    let difference = (packed >> 1) ^ (packed & 1).wrapping_neg();
    before.wrapping_add(difference)
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are meant")]
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    bytes.push(value as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, CodecError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(CodecError::Damaged("it is truncated"))?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(CodecError::Damaged("a number is too large"));
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CodecError::Damaged("a number is too long"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let values = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>());
        prop::collection::btree_map(0u8..60, values, 0..60).prop_map(|minutes| {
            let sample = |(minute, (pings, sum, transfer_rx, transfer_tx))| Sample {
                minute,
                pings,
                ping_sum: if pings == 0 { 0 } else { sum },
                transfer_rx,
                transfer_tx,
            };
            minutes.into_iter().map(sample).collect()
        })
    }

    proptest! {
        #[test]
        fn packed_samples_are_unpacked_unchanged(samples in samples()) {
            prop_assert_eq!(unpack(&pack(&samples)).unwrap(), samples);
        }

        #[test]
        fn garbage_causes_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(samples) = unpack(&bytes) {
                prop_assert!(samples.len() <= 60);
            }
        }

        #[test]
        fn truncated_bytes_cause_an_error_or_fewer_samples(samples in samples(), cut in any::<prop::sample::Index>()) {
            let packed = pack(&samples);
            let cut = cut.index(packed.len());
            if let Ok(shorter) = unpack(&packed[..cut]) {
                prop_assert!(samples.starts_with(&shorter));
            }
        }
    }

    #[test]
    fn an_unknown_version_is_named_in_the_error() {
        assert_eq!(unpack(&[9, 1, 2]), Err(CodecError::Version(9)));
        assert_eq!(unpack(&[]), Err(CodecError::Damaged("it is empty")));
    }

    /// A busy server: 12 ms, four reports a minute, 20 Mbit/s in and 5 out, with some noise.
    #[test]
    fn a_busy_hour_takes_less_than_sixteen_bytes_per_sample() {
        let mut noise = 1u64;
        let mut now = Sample {
            transfer_rx: 3 << 40,
            transfer_tx: 1 << 40,
            ..Sample::default()
        };
        let mut hour = Vec::new();
        for minute in 0..60 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now.minute = minute;
            now.pings = 4;
            now.ping_sum = 48_000 + noise % 5_000;
            now.transfer_rx += 150_000_000 + noise % 10_000_000;
            now.transfer_tx += 37_500_000 + noise % 1_000_000;
            hour.push(now);
        }
        let bytes = pack(&hour).len();
        println!("{bytes} bytes per hour, {:.1} per sample", bytes as f64 / 60.0);
        assert!(bytes < 60 * 16, "{bytes}");
    }
}
