//! The packages that `make deb` made, on whole machines, by the commands of `docs/install.md`.
//!
//! `SENTRAZONE_PACKAGES` is the folder they are in. The machines are emulated and started by these
//! tests: run with `make deb-test`. Judged by `wg`, `ip`, `ping`, `systemctl`, `dpkg` and `find`.

mod life;
mod sandbox;
mod site;
mod troubles;
