//! A whole host with systemd: the packaged units as they will run, reboots and power cuts.
//!
//! The machines are emulated and started by these tests: run with `cargo machine-test --test
//! reboot`, on the machine's own kernel. Judged by `wg`, `ip`, `nft`, `systemctl` and `ping`.

mod cache;
mod cuts;
mod host;
mod units;
