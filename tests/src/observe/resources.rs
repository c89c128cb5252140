//! The resources of a running program: memory, descriptors and threads (proc(5)).
//!
//! Owns reading them. It must not judge them.

/// The resources of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// The resident memory in kB (`VmRSS`).
    pub memory: u64,
    /// The number of open descriptors.
    pub descriptors: usize,
    /// The number of threads.
    pub threads: u64,
}

impl Resources {
    /// Reads the resources of the process with this id.
    #[must_use]
    pub fn of(id: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a running process");
        let value = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let text = line.expect("a key of proc(5)").trim_start_matches(':').trim();
            text.trim_end_matches(" kB").parse().expect("a number")
        };
        Self {
            memory: value("VmRSS"),
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd"))
                .expect("its descriptors")
                .count(),
            threads: value("Threads"),
        }
    }

    /// Returns the growth in memory since `before`, as a percentage. It is negative if memory has shrunk.
    #[must_use]
    pub fn growth(&self, before: &Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "kilobytes of one process")]
        let (now, then) = (self.memory as f64, before.memory as f64);
        (now / then - 1.0) * 100.0
    }
}
