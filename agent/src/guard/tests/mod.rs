//! Tests of the guard: what is refused, what is not, and that no sequence of changes cuts a host off.

mod legitimate;
mod random;
mod refused;
mod setup;
