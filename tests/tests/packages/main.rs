//! The packages built by `make deb`, on whole machines, with the commands of `docs/install.md`.
//!
//! `SENTRAZONE_PACKAGES` is the folder that holds them. The tests start emulated machines: run with
//! `make deb-test`. Checked with `wg`, `ip`, `ping`, `systemctl`, `dpkg` and `find`.

mod life;
mod sandbox;
mod site;
mod troubles;
