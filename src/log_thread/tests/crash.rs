//! Crashes at every point between two states of the files.

use std::collections::BTreeMap;
use std::fs;

use super::model::{History, Model, Op, without_coordinates};
use super::read_back::{events, transactions};
use super::*;
use crate::relay_log::index_record::RECORD_LEN;

/// All files of a data_dir, by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) const LOG: &str = "relay-bin.000001";
pub(super) const INDEX: &str = "relay-bin.000001.idx";
pub(super) const LIST: &str = "relay-bin.index";
pub(super) const DURABLE: &str = "relay-bin.durable";

pub(super) fn files_of(options: &LogOptions) -> Files {
    let entries = fs::read_dir(&options.log_dir.dir).unwrap();
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

/// A data_dir with these files.
pub(super) fn dir_with(files: &Files) -> (tempfile::TempDir, LogOptions) {
    let dir = fast_dir();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let options = options(dir.path());
    (dir, options)
}

/// The files after one commit, and the models after each step up to the next.
struct Durable {
    files: Files,
    models: Vec<Model>,
}

fn new(source: usize, server: u32, shape: Shape, tag: bool) -> Op {
    let count = 1;
    Op::New {
        source,
        server,
        count,
        shape,
        tag,
    }
}

/// Every kind of step, in groups of different sizes.
fn script() -> Vec<Op> {
    let again = |source, which| Op::Again { source, which };
    vec![
        Op::Commit,
        new(0, 0, Shape::Small, false),
        new(0, 0, Shape::Emptied, false),
        Op::Commit,
        again(1, 0),
        Op::NextFile { source: 1 },
        new(1, 1, Shape::Spilled, true),
        new(0, 0, Shape::Small, true),
        again(1, 3),
        Op::Commit,
        again(1, 1),
        Op::Own { source: 1 },
        Op::NextFile { source: 0 },
        Op::Commit,
        Op::ReplaceServer { source: 2 },
        new(2, 2, Shape::Small, false),
        Op::Commit,
    ]
}

fn run_script(flavor: Flavor, sync: SyncPolicy) -> Vec<Durable> {
    let (mut history, mut log_thread) = History::new(flavor, 1 << 30, sync);
    let mut states: Vec<Durable> = Vec::new();
    for op in script() {
        history.run(&mut log_thread, &op);
        match op {
            Op::Commit => states.push(Durable {
                files: files_of(&history.options),
                models: vec![history.model.clone()],
            }),
            _ => states
                .last_mut()
                .unwrap()
                .models
                .push(history.model.clone()),
        }
    }
    states
}

/// Recovers, and compares the result with the models: it must equal one of them.
fn check(files: &Files, models: &[Model], what: &str) {
    let (_dir, options) = dir_with(files);
    let recovered = recovered(&options);
    let sources: Vec<SourceProgress> = options
        .source_names
        .iter()
        .map(|name| recovered.sources.get(name).cloned().unwrap_or_default())
        .collect();
    let model = models
        .iter()
        .find(|model| model.executed == recovered.executed && model.sources == sources)
        .unwrap_or_else(|| panic!("{what}: {recovered:?}"));
    let log = fs::read(options.log_dir.log_path(1)).unwrap();
    assert_eq!(log.len() as u64, recovered.end.offset, "{what}");
    assert!(files[LOG].starts_with(&log), "{what}");
    events(&log);
    drop(LogThread::resume(options.clone(), recovered).unwrap());
    let found: Vec<_> = transactions(&options.log_dir)
        .into_iter()
        .map(without_coordinates)
        .collect();
    let expected: Vec<_> = model.log.iter().map(|(found, _)| found.clone()).collect();
    assert!(found == expected, "{what}");
}

/// Offsets in a file where a write could have stopped: at each boundary, and around it.
fn cuts(boundaries: impl Iterator<Item = usize>, from: usize, to: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = boundaries
        .flat_map(|end| [end.saturating_sub(1), end, end + 1, end + 30])
        .filter(|cut| (from..=to).contains(cut))
        .chain([from, to])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The first `cut` bytes of `bytes`; the missing ones are zeros if `filled`.
fn truncated(bytes: &[u8], cut: usize, filled: bool) -> Vec<u8> {
    let mut kept = bytes[..cut].to_vec();
    if filled {
        kept.resize(bytes.len(), 0);
    }
    kept
}

#[test]
fn log_and_index_truncated_anywhere_after_the_durable_state_recover() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let states = run_script(flavor, SyncPolicy::Commit);
        for (group, pair) in states.windows(2).enumerate() {
            let (before, after) = (&pair[0].files, &pair[1].files);
            for name in [LOG, INDEX] {
                assert!(after[name].starts_with(&before[name]), "{name} was changed");
            }
            let mut end = 4;
            let event_ends = events(&after[LOG]).into_iter().map(|event| {
                end += event.len();
                end
            });
            let records = (1..).map(|n| n * RECORD_LEN);
            let records = records.take_while(|end| *end <= after[INDEX].len());
            let log_cuts = cuts(event_ends, before[LOG].len(), after[LOG].len());
            let index_cuts = cuts(records, before[INDEX].len(), after[INDEX].len());
            for (log_cut, index_cut) in log_cuts
                .iter()
                .flat_map(|log| index_cuts.iter().map(move |index| (*log, *index)))
            {
                for (log_filled, index_filled) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let mut files = after.clone();
                    let log = truncated(&after[LOG], log_cut, log_filled);
                    let index = truncated(&after[INDEX], index_cut, index_filled);
                    files.insert(LOG.to_owned(), log);
                    files.insert(INDEX.to_owned(), index);
                    files.insert(DURABLE.to_owned(), before[DURABLE].clone());
                    let what = format!(
                        "{flavor} group {group}: log {log_cut} {log_filled}, index {index_cut} \
                         {index_filled}"
                    );
                    let mut models = pair[0].models.clone();
                    models.push(pair[1].models[0].clone());
                    check(&files, &models, &what);
                }
            }
        }
    }
}

/// After a power failure the mark can be that of any earlier group, or missing: it proves less, and
/// nothing is refused or truncated.
#[test]
fn older_or_missing_mark_loses_nothing() {
    for sync in [SyncPolicy::Commit, SyncPolicy::Never] {
        let states = run_script(Flavor::MySql, sync);
        for (group, state) in states.iter().enumerate() {
            let marks = states[..=group]
                .iter()
                .map(|older| older.files.get(DURABLE));
            for (which, mark) in marks.chain([None]).enumerate() {
                let mut files = state.files.clone();
                files.remove(DURABLE);
                if let Some(mark) = mark {
                    files.insert(DURABLE.to_owned(), mark.clone());
                }
                let what = format!("group {group}, mark {which}");
                check(&files, &state.models[..1], &what);
            }
        }
    }
}

/// Pages of one write can reach the disk in any order: the tail of the log or its index can have
/// holes.
#[test]
fn holes_in_data_that_was_not_durable_are_truncated() {
    let states = run_script(Flavor::MySql, SyncPolicy::Commit);
    for pair in states.windows(2) {
        for name in [LOG, INDEX] {
            let from = pair[0].files[name].len();
            for start in (from..pair[1].files[name].len()).step_by(16) {
                let mut files = pair[1].files.clone();
                files.insert(DURABLE.to_owned(), pair[0].files[DURABLE].clone());
                let bytes = files.get_mut(name).unwrap();
                let end = (start + 40).min(bytes.len());
                bytes[start..end].fill(0);
                let mut models = pair[0].models.clone();
                models.push(pair[1].models[0].clone());
                check(&files, &models, &format!("{name} {start}"));
            }
        }
    }
}

/// Without syncs the newest file may lose any part of its end, and keeps the part before it.
#[test]
fn log_that_was_never_synced_keeps_what_verifies() {
    let states = run_script(Flavor::MySql, SyncPolicy::Never);
    let models: Vec<Model> = states
        .iter()
        .flat_map(|state| state.models.clone())
        .collect();
    let files = &states.last().unwrap().files;
    let head = states[0].files[LOG].len();
    for cut in (head..=files[LOG].len()).step_by(5) {
        for filled in [false, true] {
            let mut files = files.clone();
            let log = truncated(&files[LOG], cut, filled);
            files.insert(LOG.to_owned(), log);
            check(&files, &models, &format!("log {cut} {filled}"));
        }
    }
}

#[test]
fn damage_before_the_durable_offset_is_refused_with_its_offset() {
    let states = run_script(Flavor::MySql, SyncPolicy::Commit);
    let (durable, newest) = (
        &states[states.len() - 2].files,
        &states[states.len() - 1].files,
    );
    for at in 0..durable[INDEX].len() {
        if !at.is_multiple_of(7) {
            continue;
        }
        let mut files = newest.clone();
        files.get_mut(INDEX).unwrap()[at] ^= 1;
        let (_dir, options) = dir_with(&files);
        let error = recover(&options.log_dir, &options.source_names)
            .unwrap_err()
            .to_string();
        let offset = at / RECORD_LEN * RECORD_LEN;
        assert!(
            error.contains(INDEX) && error.contains(&format!("offset {offset}:")),
            "{error}"
        );
        assert_eq!(files_of(&options), files, "nothing may be changed");
    }
    for len in [4, 50, 200, durable[LOG].len() - 1] {
        let mut files = newest.clone();
        files.get_mut(LOG).unwrap().truncate(len);
        let (_dir, options) = dir_with(&files);
        let error = recover(&options.log_dir, &options.source_names)
            .unwrap_err()
            .to_string();
        assert!(error.contains(LOG), "{error}");
        assert_eq!(files_of(&options), files, "nothing may be changed");
    }
    for at in [0, 4, 30, 100, 130] {
        let mut files = newest.clone();
        files.get_mut(LOG).unwrap()[at] ^= 1;
        let (_dir, options) = dir_with(&files);
        let error = recover(&options.log_dir, &options.source_names)
            .unwrap_err()
            .to_string();
        assert!(error.contains(LOG) && error.contains("offset"), "{error}");
    }
}

/// After a clean stop everything was durable, the newest group too.
#[test]
fn damage_after_a_clean_stop_is_refused() {
    let (mut history, mut log_thread) = History::new(Flavor::MySql, 1 << 30, SyncPolicy::Commit);
    for op in script() {
        history.run(&mut log_thread, &op);
    }
    log_thread.close().unwrap();
    let files = files_of(&history.options);
    let last_record = files[INDEX].len() - RECORD_LEN;
    for at in (0..last_record).step_by(13) {
        let mut files = files.clone();
        files.get_mut(INDEX).unwrap()[at] ^= 1;
        let (_dir, options) = dir_with(&files);
        assert!(
            recover(&options.log_dir, &options.source_names).is_err(),
            "index {at}"
        );
    }
    let mut files = files.clone();
    let len = files[LOG].len();
    files.get_mut(LOG).unwrap().truncate(len - 1);
    let (_dir, options) = dir_with(&files);
    assert!(recover(&options.log_dir, &options.source_names).is_err());
}

/// States between the creation of the first file and that of the list.
#[test]
fn interrupted_creation_begins_again() {
    let states = run_script(Flavor::MySql, SyncPolicy::Commit);
    let head = &states[0].files;
    for cut in (0..=head[LOG].len()).step_by(3).chain([head[LOG].len()]) {
        for index in [None, Some(0), Some(40), Some(RECORD_LEN)] {
            let mut files = Files::new();
            files.insert(LOG.to_owned(), head[LOG][..cut].to_vec());
            if let Some(len) = index {
                files.insert(INDEX.to_owned(), head[INDEX][..len].to_vec());
            }
            files.insert(format!("{LIST}.new"), b"./relay-bin.0000".to_vec());
            let (_dir, options) = dir_with(&files);
            assert!(
                recover(&options.log_dir, &options.source_names)
                    .unwrap()
                    .is_none()
            );
            let mut log_thread = create(&options, Flavor::MySql);
            log_thread.close().unwrap();
            assert!(transactions(&options.log_dir).is_empty());
        }
    }
}

/// States during the rotation from one file to the next.
#[test]
fn rotation_interrupted_at_each_step_recovers() {
    let (mut history, mut log_thread) = History::new(Flavor::MySql, 300, SyncPolicy::Commit);
    history.run(&mut log_thread, &new(0, 0, Shape::Small, false));
    history.run(&mut log_thread, &new(1, 1, Shape::Small, false));
    history.run(&mut log_thread, &Op::Commit);
    let (before, model) = (files_of(&history.options), history.model.clone());
    history.run(&mut log_thread, &new(0, 0, Shape::Small, false));
    let after = files_of(&history.options);
    let (log, index) = ("relay-bin.000002", "relay-bin.000002.idx");
    assert!(after.contains_key(log), "it rotated");
    let mut states = Vec::new();
    for cut in before[LOG].len()..=after[LOG].len() {
        let mut files = before.clone();
        files.insert(LOG.to_owned(), after[LOG][..cut].to_vec());
        states.push(files);
    }
    let rotated = states.last().unwrap().clone();
    for cut in 0..=after[log].len() {
        let mut files = rotated.clone();
        files.insert(log.to_owned(), after[log][..cut].to_vec());
        states.push(files.clone());
        files.insert(index.to_owned(), Vec::new());
        states.push(files);
    }
    for cut in (0..=after[index].len()).step_by(8) {
        let mut files = rotated.clone();
        files.insert(log.to_owned(), after[log].clone());
        files.insert(index.to_owned(), after[index][..cut].to_vec());
        files.insert(format!("{LIST}.new"), after[LIST][..cut.min(25)].to_vec());
        states.push(files);
    }
    // The new file is in the list, and the mark still describes the file before.
    let mut files = after.clone();
    files.insert(DURABLE.to_owned(), before[DURABLE].clone());
    states.push(files);
    states.push(after.clone());
    for (at, files) in states.iter().enumerate() {
        check_rotation(files, &model, at);
    }
}

fn check_rotation(files: &Files, model: &Model, at: usize) {
    let (_dir, options) = dir_with(files);
    let recovered = recovered(&options);
    assert_eq!(recovered.executed, model.executed, "state {at}");
    for (name, progress) in options.source_names.iter().zip(&model.sources) {
        let found = recovered.sources.get(name).cloned().unwrap_or_default();
        assert_eq!(found, *progress, "state {at}");
    }
    let mut log_thread = LogThread::resume(options.clone(), recovered).unwrap();
    let mut source = TestSource::new(2, Flavor::MySql);
    let batch = source.deliver(&[group(Flavor::MySql, 82, 99, "", Shape::Small)]);
    log_thread.append(&batch, &batch.transactions[0]).unwrap();
    log_thread.close().unwrap();
    let found = transactions(&options.log_dir);
    assert_eq!(found.len(), model.log.len() + 1, "state {at}");
}
