//! Tests that start servers take turns: on a small machine too many at once would starve each other. Some
//! together take much less time than one after the other, because each often waits for its servers.
//!
//! The turns are locks on files in the temporary directory, so that it does not matter whether tests are
//! threads of one program or separate processes.

use std::fs::{File, TryLockError};
use std::time::Duration;

use super::number_from_env;

/// How many tests with servers may run at the same time for each processor, unless BINRELAY_TURNS sets their number.
const TURNS_PER_PROCESSOR: u64 = 2;

/// Held while servers run.
pub struct Turn(Vec<File>);

fn turns() -> u64 {
    let turns = number_from_env("BINRELAY_TURNS").unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        TURNS_PER_PROCESSOR * processors
    });
    assert!(turns > 0, "BINRELAY_TURNS must be at least 1");
    turns
}

fn lock_file(number: u64) -> File {
    let name = match number {
        0 => "binrelay-server-tests.lock".to_owned(),
        other => format!("binrelay-server-tests.{other}.lock"),
    };
    let path = std::env::temp_dir().join(name);
    File::create(&path)
        .unwrap_or_else(|error| panic!("{}: cannot be created: {error}", path.display()))
}

/// Waits until fewer than BINRELAY_TURNS tests have servers running.
pub fn turn() -> Turn {
    let files: Vec<File> = (0..turns()).map(lock_file).collect();
    if let [only] = files.as_slice() {
        only.lock().expect("the file of the turns can be locked");
        return Turn(files);
    }
    loop {
        for (number, file) in files.iter().enumerate() {
            match file.try_lock() {
                Ok(()) => return Turn(files.into_iter().skip(number).take(1).collect()),
                Err(TryLockError::WouldBlock) => {}
                Err(error) => panic!("a file of the turns cannot be locked: {error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until no other test has servers running: for programs that measure time.
pub fn exclusive() -> Turn {
    let files: Vec<File> = (0..turns()).map(lock_file).collect();
    for file in &files {
        file.lock().expect("the files of the turns can be locked");
    }
    Turn(files)
}
