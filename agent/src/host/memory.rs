//! The host side in memory: a stateful double for tests of the reconciler.
//!
//! Owns what was configured, and makes and deletes interfaces in the device's double, so that the
//! two agree as they do in a kernel. It must not be more helpful than `Netlink`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgctl::device::memory::Memory as Devices;
use wgctl::name::InterfaceName;

use super::{Error, Host, Spec};

/// A host in memory. Clones share it: a test keeps one and looks.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    devices: Devices,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    specs: BTreeMap<InterfaceName, Spec>,
    foreign: BTreeSet<InterfaceName>,
    failing: u32,
    writes: u32,
}

impl Memory {
    /// A host whose WireGuard interfaces are those of `devices`.
    #[must_use]
    pub fn new(devices: Devices) -> Self {
        Self {
            devices,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link of another kind takes the name.
    pub fn add_foreign(&self, name: InterfaceName) {
        self.state().foreign.insert(name);
    }

    /// The next `count` calls of `configure` fail.
    pub fn fail_configure(&self, count: u32) {
        self.state().failing = count;
    }

    /// How the interface is configured; none before the first time, or after it was deleted.
    #[must_use]
    pub fn configured(&self, name: &InterfaceName) -> Option<Spec> {
        self.state().specs.get(name).cloned()
    }

    /// Changes that `configure` made so far, one a spec that differed.
    #[must_use]
    pub fn writes(&self) -> u32 {
        self.state().writes
    }

    fn present(&self, name: &InterfaceName) -> bool {
        self.devices.device(name).is_some() || self.state().foreign.contains(name)
    }
}

impl Host for Memory {
    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error> {
        if self.state().foreign.contains(name) {
            return Err(Error::NotWireguard(name.clone()));
        }
        Ok(self.devices.create(name))
    }

    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error> {
        let mut state = self.state();
        if state.foreign.contains(name) {
            return Err(Error::NotWireguard(name.clone()));
        }
        state.specs.remove(name);
        self.devices.delete(name);
        Ok(())
    }

    fn configure(&mut self, spec: &Spec) -> Result<u32, Error> {
        if !self.present(&spec.name) {
            return Err(Error::NoInterface(spec.name.clone()));
        }
        let mut state = self.state();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(Error::Io {
                what: format!("configuring {}", spec.name),
                source: std::io::ErrorKind::TimedOut.into(),
            });
        }
        if state.specs.get(&spec.name) == Some(spec) {
            return Ok(0);
        }
        state.specs.insert(spec.name.clone(), spec.clone());
        state.writes += 1;
        Ok(1)
    }

    fn release(&mut self, name: &InterfaceName) -> Result<(), Error> {
        if let Some(spec) = self.state().specs.get_mut(name) {
            spec.masquerade.clear();
        }
        Ok(())
    }
}
