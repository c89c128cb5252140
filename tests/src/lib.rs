//! Tools of the end-to-end tests: namespaces, processes, a small internet, and waiting.
//!
//! Owns starting and stopping the real programs, and asking independent tools (`wg`, `ip`, `ping`)
//! for the result. It must not assert anything about the product: the tests do that. The exception
//! is `crash`, whose tests differ only in the kernel they use.

pub mod chance;
pub mod clock;
pub mod counts;
pub mod crash;
pub mod device;
pub mod figures;
pub mod herd;
pub mod installed;
pub mod lab;
pub mod loopback;
pub mod machine;
pub mod manual;
pub mod netns;
pub mod process;
pub mod reference;
pub mod reference_client;
pub mod resources;
pub mod sessions;
pub mod settings;
pub mod shown;
pub mod statistics;
pub mod trace;
pub mod traffic;
pub mod wait;
pub mod wireguard_go;
