//! Hosts for the tests: namespaces and whole machines, the real programs on them, and the devices that connect.

pub mod device;
pub mod installed;
pub mod lab;
pub mod loopback;
pub mod machine;
pub mod netns;
pub mod process;
pub mod wireguard_go;
