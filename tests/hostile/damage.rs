//! Damage to inputs, and limits on the time and memory that it may cost.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Up to this length, in bytes, every bit is flipped by default.
const EVERY_BIT_LEN: usize = 128;
/// In every byte of longer ones.
const PATTERNS: [u8; 3] = [0x01, 0x80, 0xFF];
/// No damaged input takes longer; on a quiet machine they take microseconds.
const TIME_MAX: Duration = Duration::from_secs(20);

/// A change of the bytes.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    CutAt(usize),
    Xor { at: usize, mask: u8 },
}

impl Damage {
    fn apply(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Damage::CutAt(at) => bytes[..at].to_vec(),
            Damage::Xor { at, mask } => {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= mask;
                bytes
            }
        }
    }

    /// Every damage that is tried on so many bytes: cuts at every length, and in every byte each
    /// bit, where there are at most so many bytes, or else three patterns.
    fn all(len: usize, every_bit_len: usize) -> impl Iterator<Item = Damage> {
        let masks: Vec<u8> = match len <= every_bit_len {
            true => (0..8).map(|bit| 1 << bit).collect(),
            false => PATTERNS.to_vec(),
        };
        let xors = (0..len).flat_map(move |at| {
            let masks = masks.clone();
            masks.into_iter().map(move |mask| Damage::Xor { at, mask })
        });
        (0..len).map(Damage::CutAt).chain(xors)
    }
}

/// Reports the input in case of a panic.
struct Note<'a> {
    what: &'a dyn fmt::Display,
    damage: Damage,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {:?}", self.what, self.damage);
        }
    }
}

/// One test at a time: memory is the process's.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memory, in bytes, of what `make` returns, and the most that was used until then.
pub fn memory_of<T>(make: impl FnOnce() -> T) -> (usize, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let made = make();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    let kept = MEMORY.current_usage().saturating_sub(before);
    drop(made);
    (kept, peak)
}

/// Counts the inputs and measures their cost. One at a time: memory is the process's.
pub struct Trial {
    name: &'static str,
    /// Bytes that may be in use beyond the input's own length.
    allowance: usize,
    every_bit_len: usize,
    started: Instant,
    inputs: usize,
    cuts: usize,
    changes: usize,
    most: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Trial {
    pub fn new(name: &'static str, allowance: usize) -> Trial {
        Trial {
            name,
            allowance,
            every_bit_len: EVERY_BIT_LEN,
            _turn: turn(),
            started: Instant::now(),
            inputs: 0,
            cuts: 0,
            changes: 0,
            most: 0,
        }
    }

    /// Never every bit: for slow cases.
    pub fn coarse(self) -> Trial {
        Trial {
            every_bit_len: 0,
            ..self
        }
    }

    /// Gives `run` the bytes with every damage.
    pub fn damage(&mut self, what: &dyn fmt::Display, bytes: &[u8], run: &mut dyn FnMut(&[u8])) {
        self.inputs += 1;
        for damage in Damage::all(bytes.len(), self.every_bit_len) {
            let note = Note { what, damage };
            let damaged = damage.apply(bytes);
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let started = Instant::now();
            run(&damaged);
            assert!(
                started.elapsed() < TIME_MAX,
                "it took {:?}",
                started.elapsed()
            );
            let used = MEMORY.peak_usage().saturating_sub(before);
            let beyond = used.saturating_sub(damaged.len());
            assert!(
                beyond <= self.allowance,
                "{used} bytes of memory for an input of {}",
                damaged.len()
            );
            self.most = self.most.max(beyond);
            match damage {
                Damage::CutAt(_) => self.cuts += 1,
                Damage::Xor { .. } => self.changes += 1,
            }
            drop(note);
        }
    }

    /// Ends it; at least so many inputs must have been used.
    pub fn finish(self, inputs_min: usize) {
        println!(
            "{}: {} inputs, {} cuts, {} changes, {:.1} s; at most {} bytes beyond the input's own",
            self.name,
            self.inputs,
            self.cuts,
            self.changes,
            self.started.elapsed().as_secs_f32(),
            self.most
        );
        assert!(self.inputs >= inputs_min, "{}: {}", self.name, self.inputs);
    }
}
