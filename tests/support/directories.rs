//! Where the directories of servers and relays are.

use std::path::Path;

/// The space that tests with servers need together, in bytes.
const SPACE: u64 = 8 << 30;

/// A short path, because those of sockets have at most 107 bytes. In memory where there is enough of it: what a
/// killed process has written is there afterwards as on a disk, but a sync takes no time, and most tests
/// would wait for little else.
pub fn base() -> &'static str {
    let memory = Path::new("/dev/shm");
    let has_space = rustix::fs::statvfs(memory)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= SPACE);
    match has_space && available_memory() >= SPACE {
        true => "/dev/shm",
        false => "/tmp",
    }
}

/// The memory that is available without swapping, in bytes; 0 if unknown.
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
