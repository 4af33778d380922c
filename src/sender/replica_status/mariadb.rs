//! The columns of MariaDB servers.

use super::shared::{Cell, RelayPart, null, number, rewrites, text};
use crate::protocol::response::ColumnKind;
use crate::sender::source_rows::SourceRow;

/// One row, with the columns of a server of this version. `is_all`: those of SHOW ALL SLAVES STATUS.
pub fn cells(
    row: &SourceRow,
    relay: &RelayPart,
    version: (u32, u32, u32),
    is_all: bool,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    if is_all {
        cells.push(text("Connection_name", &row.name));
        cells.push(text("Slave_SQL_State", relay.sql_state(row)));
    }
    cells.extend(relay.cells(row));
    cells.extend([
        text("Master_SSL_Crl", ""),
        text("Master_SSL_Crlpath", ""),
        text("Using_Gtid", using_gtid(row)),
        text("Gtid_IO_Pos", &row.gtid_received),
        text("Replicate_Do_Domain_Ids", ""),
        text("Replicate_Ignore_Domain_Ids", ""),
    ]);
    if version >= (10, 1, 0) {
        // One thread writes what all sources send.
        cells.push(text("Parallel_Mode", "none"));
    }
    if version >= (10, 2, 3) {
        cells.push(number("SQL_Delay", 0));
        cells.push(null("SQL_Remaining_Delay"));
        cells.push(text("Slave_SQL_Running_State", relay.sql_state(row)));
    }
    if version >= (10, 3, 7) {
        // The relay executes no transactions.
        cells.push(number("Slave_DDL_Groups", 0));
        cells.push(number("Slave_Non_Transactional_Groups", 0));
        cells.push(number("Slave_Transactional_Groups", 0));
    }
    if version >= (10, 11, 0) {
        cells.push(rewrites(row, |old, new| format!("{old}->{new}")));
    }
    if is_all {
        cells.extend(of_all(row, relay, version));
    }
    cells
}

fn using_gtid(row: &SourceRow) -> &'static str {
    match row.by_gtid {
        Some(true) => "Slave_Pos",
        _ => "No",
    }
}

fn of_all(row: &SourceRow, relay: &RelayPart, version: (u32, u32, u32)) -> Vec<Cell> {
    let heartbeat = format!("{:.3}", row.heartbeat_period.as_secs_f64());
    let mut cells = vec![
        number("Retried_transactions", 0),
        number("Max_relay_log_size", relay.max_log_size),
        number("Executed_log_entries", 0),
        number("Slave_received_heartbeats", row.heartbeats),
        Cell {
            name: "Slave_heartbeat_period".to_owned(),
            kind: ColumnKind::Double,
            value: Some(heartbeat),
        },
        text("Gtid_Slave_Pos", &relay.executed),
    ];
    if version >= (11, 6, 0) {
        // They compare the times of a replica's two threads; the relay has one.
        for name in ["Master_last_event_time", "Slave_last_event_time"] {
            cells.push(Cell {
                name: name.to_owned(),
                kind: ColumnKind::Time,
                value: None,
            });
        }
        cells.push(null("Master_Slave_time_diff"));
    }
    cells
}
