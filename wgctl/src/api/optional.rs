//! Optional fields that distinguish between absent and null.
//!
//! Owns the deserializers for patch fields.

use serde::Deserialize;

/// Distinguishes an absent field (outer `None`) from a null one (inner `None`).
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Deserializes a field that may be absent but must not be null. Treating null as absent would silently ignore it.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
