//! What the kernel reports about the relay's process.

use super::Relay;

/// The unit of the processor times in `/proc/PID/stat` (USER_HZ), the same on all common architectures.
const TICKS_PER_SECOND: f64 = 100.0;

impl Relay {
    /// The processor time, in seconds, that the running process has used.
    pub fn cpu_seconds(&self) -> f64 {
        let child = self.child.as_ref().expect("the relay is running");
        let path = format!("/proc/{}/stat", child.id());
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        // The program's name, in parentheses, may contain spaces; user and system time are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / TICKS_PER_SECOND
    }

    /// The memory that it holds now.
    pub fn rss_kib(&self) -> u64 {
        self.memory_kib("VmRSS:").expect("the relay was started")
    }

    /// The descriptors that it has open now.
    pub fn open_descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child().id());
        std::fs::read_dir(path)
            .expect("the relay's descriptors")
            .count()
    }

    /// The peak memory of any of its processes.
    pub fn rss_peak_kib(&self) -> u64 {
        let peak = self.memory_kib("VmHWM:").unwrap_or_default();
        peak.max(self.peak_kib_before)
    }

    /// A size that the kernel reports about the process, if it was started.
    fn memory_kib(&self, key: &str) -> Option<u64> {
        let child = self.child.as_ref()?;
        let path = format!("/proc/{}/status", child.id());
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib = kib.and_then(|kib| kib.trim().parse().ok());
        Some(kib.unwrap_or_else(|| panic!("{path}: no {key}\n{}", self.log_tail())))
    }
}
