//! A whole host with systemd: the packaged units as they are installed in production, reboots and power cuts.
//!
//! The tests start emulated machines: run them with `cargo machine-test --test reboot`, outside an emulated host.
//! They check with `wg`, `ip`, `nft`, `systemctl` and `ping`.

mod cache;
mod cuts;
mod host;
mod units;
