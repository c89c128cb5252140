//! Makes the interface agree with the desired state, and reports the outcome.
//!
//! Level-triggered: a whole round reads the interface and sends the difference. A change of a few
//! peers is planned against the last reading, so that it costs what changed; the next round sees the
//! truth. Nothing is removed because a plane is silent. It must not dial: `conversation` feeds it.

mod desired_device;
mod drift;
mod event_loop;
mod input;
mod ownership;
mod peers;
mod reconciler;
mod round;
mod target;
mod thread;
mod verdict;
mod watchdog;

pub(crate) use desired_device::{DesiredHost, desired_host};
pub use event_loop::EventLoop;
pub use input::{Handle, Input, Position, Reading};
pub use reconciler::{LinkBy, Reconciler};
pub use target::Target;
pub use thread::spawn;
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
