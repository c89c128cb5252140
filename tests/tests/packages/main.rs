//! The packages built by `make deb`, installed on whole machines with the commands from `docs/install.md`.
//!
//! `SENTRAZONE_PACKAGES` is the directory that contains the packages. The tests start emulated machines: run them with
//! `make deb-test`. They check with `wg`, `ip`, `ping`, `systemctl`, `dpkg` and `find`.

mod life;
mod sandbox;
mod site;
mod troubles;
