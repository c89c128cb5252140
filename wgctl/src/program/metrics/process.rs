//! Metrics of this process, under the names that all Prometheus clients use.
//!
//! Owns the reading of `/proc/self`, which is visible in the units' sandbox. Values that cannot be read are
//! omitted.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::number::{Kind, number};

/// The metrics of this process.
#[derive(Debug)]
pub(super) struct Process {
    begun: f64,
}

impl Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "the start time of a process is system time, in fractions of a second"
    )]
    pub(super) fn begun_now() -> Self {
        let begun = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            begun: begun.map_or(0.0, |begun| begun.as_secs_f64()),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = [
            (
                "process_start_time_seconds",
                "Start time of the process, in seconds since 1970",
                Kind::Gauge,
                Some(self.begun),
            ),
            (
                "process_cpu_seconds",
                "CPU time that the process has used, in seconds",
                Kind::Counter,
                cpu_seconds(),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory of the process, in bytes",
                Kind::Gauge,
                resident_bytes(),
            ),
            (
                "process_open_fds",
                "Number of open file descriptors",
                Kind::Gauge,
                open_files(),
            ),
            (
                "process_max_fds",
                "Maximum number of open file descriptors",
                Kind::Gauge,
                getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| number(soft)),
            ),
        ];
        for (name, help, kind, value) in numbers {
            if let Some(value) = value {
                kind.write(encoder.encode_descriptor(name, help, None, kind.metric_type())?, value)?;
            }
        }
        Ok(())
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let spent = usage.user_time() + usage.system_time();
    u64::try_from(spent.num_microseconds())
        .ok()
        .map(|microseconds| number(microseconds) / 1e6)
}

/// Returns `VmRSS` (proc_pid_status(5)) in bytes. The file states it in KiB.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number(kib * 1024))
}

fn open_files() -> Option<f64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of the descriptors belongs to the directory that is being read.
    Some(number(u64::try_from(open).ok()?.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_can_be_read_on_this_system() {
        assert!(cpu_seconds().unwrap() >= 0.0);
        assert!(resident_bytes().unwrap() > 100_000.0);
        let held: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(open_files().unwrap() >= number(held.len() as u64));
    }
}
