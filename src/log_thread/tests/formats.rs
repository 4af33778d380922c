//! Sources without GTIDs, one of which logs rows where the other logs statements.

use super::anonymous::{append_all, create_anonymous, insert, source};
use super::*;

/// An INSERT that changed an InnoDB table, as a statement.
fn statement(number: u32) -> Vec<Vec<u8>> {
    let mut events = insert(80, number);
    events.pop();
    events.push(make::xid(80));
    events
}

/// Its rows.
fn rows(len: usize) -> Vec<Vec<u8>> {
    vec![
        make::query(80, "", "BEGIN"),
        make::table_map(80, 1, "test"),
        make::rows(80, 1, true, len),
        make::xid(80),
    ]
}

/// M2 logs M1's transactions as rows and is ahead. M1's DELETE, which found no row, must not be
/// delivered after M2's later rows, whenever the relay is restarted and its log rotated.
#[test]
fn statement_without_rows_is_dropped_after_a_restart_at_any_record() {
    let delete = vec![
        make::query(80, "test", "BEGIN"),
        make::query(80, "test", "delete from t where n = 3"),
        make::query(80, "test", "COMMIT"),
    ];
    let sent = [
        (0, statement(1), true),
        (1, rows(10), false),
        (1, rows(20), true),
        (1, rows(30), true),
        (0, delete, false),
        (0, statement(2), false),
        (0, statement(3), false),
        (0, statement(4), true),
        (1, rows(40), false),
    ];
    for max_size in [1 << 30, 300, 700] {
        for restart in 0..=sent.len() {
            let dir = tempfile::tempdir().unwrap();
            let mut options = options(dir.path());
            options.max_size = max_size;
            options.source_names.truncate(2);
            let mut log_thread = create_anonymous(&options, Vec::new());
            let mut sources = [source(0), source(1)];
            for (at, (path, events, is_new)) in sent.iter().enumerate() {
                // The last one is restarted after each record.
                if at == restart || restart == sent.len() {
                    drop(log_thread);
                    log_thread = resume(&options);
                }
                let batch = sources[*path].deliver(std::slice::from_ref(events));
                let appended = append_all(&mut log_thread, &batch);
                assert_eq!(appended, [*is_new], "{at}, restarted at {restart}");
                log_thread.commit().unwrap();
            }
            log_thread.close().unwrap();
            let files = recovered(&options).files.len();
            assert!(files > 1 || max_size == 1 << 30);
        }
    }
}
