//! A whole host with systemd: the packaged units in production form, reboots and power cuts.
//!
//! The tests start emulated machines: run with `cargo machine-test --test reboot`, on the machine's
//! own kernel. Checked with `wg`, `ip`, `nft`, `systemctl` and `ping`.

mod cache;
mod cuts;
mod host;
mod units;
