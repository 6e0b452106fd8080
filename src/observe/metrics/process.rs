//! What the process takes of the machine, as the kernel tells it (proc(5)).
//!
//! Invariant: what cannot be found out is left as it was, and nothing here takes longer for more connections.

use std::fs;

use super::catalog::Catalog;
use super::labels;

/// Ticks of `utime` and `stime` in a second, on every architecture that Linux has today (time(7)).
const TICKS: f64 = 100.0;

/// What the process uses just now.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Seconds of processors since its start.
    cpu: Option<f64>,
    /// Bytes of memory.
    memory: Option<i64>,
    open_files: Option<i64>,
    files_limit: Option<i64>,
}

impl Usage {
    /// Asks the kernel.
    pub(super) fn read() -> Self {
        let text = |name: &str| fs::read_to_string(name).unwrap_or_default();
        Self {
            cpu: cpu(&text("/proc/self/stat")),
            memory: memory(&text("/proc/self/status")),
            open_files: open_files(),
            files_limit: files_limit(&text("/proc/self/limits")),
        }
    }
}

impl Catalog {
    pub(super) fn set_usage(&self, usage: &Usage) {
        if let Some(cpu) = usage.cpu {
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        }
        for (gauge, value) in [
            (&self.memory, usage.memory),
            (&self.open_files, usage.open_files),
            (&self.files_limit, usage.files_limit),
        ] {
            value.map(|value| gauge.set(value));
        }
    }

    /// What became of spans; of what has never happened nothing is told.
    pub(super) fn set_spans(&self, outcomes: [(&'static str, u64); 3]) {
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            let labels = labels::OfOutcome { outcome };
            let told = self.spans.get_or_create_owned(&labels);
            told.inc_by(count.saturating_sub(told.get()));
        }
    }
}

/// From `stat`: the program's name stands in brackets, and may have anything in it.
fn cpu(stat: &str) -> Option<f64> {
    let (_name, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// From `status`.
fn memory(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Newer kernels (6.2) tell the count as the directory's size; it takes long to list a hundred thousand.
fn open_files() -> Option<i64> {
    let directory = "/proc/self/fd";
    let told = fs::metadata(directory).ok()?.len();
    if told > 0 {
        return i64::try_from(told).ok();
    }
    i64::try_from(fs::read_dir(directory).ok()?.count()).ok()
}

/// From `limits`: the soft limit.
fn files_limit(limits: &str) -> Option<i64> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_words_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 100";
        assert_eq!(cpu(stat), Some(3.0));
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(memory(status), Some(2 << 20));
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files    1024   4096   files\n";
        assert_eq!(files_limit(limits), Some(1024));
        for other in ["", "7 (a", "Max open files unlimited"] {
            let found = (cpu(other), memory(other), files_limit(other));
            assert_eq!(found, (None, None, None), "{other}");
        }
    }

    #[test]
    fn this_process_is_found() {
        let usage = Usage::read();
        assert!(usage.memory.is_some_and(|bytes| bytes > 0), "{usage:?}");
        assert!(usage.open_files.is_some_and(|files| files > 2), "{usage:?}");
        assert!(usage.cpu.is_some(), "{usage:?}");
    }
}
