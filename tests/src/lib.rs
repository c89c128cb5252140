//! What the end-to-end tests stand on: namespaces, processes, a small internet, and patience.
//!
//! Owns starting and stopping the real programs and asking independent tools (`wg`, `ip`, `ping`)
//! what really happened. It must not hold assertions about the product: those are
//! the tests' (but `crash`, whose tests differ in nothing but the kernel).

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
