//! The columns of MySQL servers.

use std::time::SystemTime;

use super::shared::{Cell, RelayPart, null, number, rewrites, text};
use crate::sender::source_rows::SourceRow;

/// One row, with the columns of a server of this version. `is_old`: under the names of SHOW SLAVE STATUS.
pub fn cells(
    row: &SourceRow,
    relay: &RelayPart,
    version: (u32, u32, u32),
    is_old: bool,
) -> Vec<Cell> {
    let mut cells = relay.cells(row);
    if version >= (5, 6, 0) {
        cells.extend(since_5_6(row, relay));
    }
    if version >= (5, 7, 0) {
        cells.push(rewrites(row, |old, new| format!("({old},{new})")));
        cells.push(text("Channel_Name", &row.name));
        cells.push(text("Master_TLS_Version", ""));
    }
    if version >= (8, 0, 4) {
        cells.push(text("Master_public_key_path", ""));
        cells.push(number("Get_master_public_key", 0));
    }
    if version >= (8, 0, 22) {
        cells.push(text("Network_Namespace", ""));
    }
    if !is_old {
        for cell in &mut cells {
            cell.name = new_name(&cell.name);
        }
    }
    cells
}

fn since_5_6(row: &SourceRow, relay: &RelayPart) -> Vec<Cell> {
    let io_error_at = row.error.as_ref().map(|error| timestamp(error.at));
    vec![
        text("Master_UUID", row.server_uuid.clone().unwrap_or_default()),
        // Positions are in the commit index, beside each log file.
        text("Master_Info_File", ""),
        number("SQL_Delay", 0),
        null("SQL_Remaining_Delay"),
        text("Slave_SQL_Running_State", relay.sql_state(row)),
        // Attempts are repeated without a limit.
        number("Master_Retry_Count", 0),
        text("Master_Bind", ""),
        text("Last_IO_Error_Timestamp", io_error_at.unwrap_or_default()),
        text("Last_SQL_Error_Timestamp", ""),
        text("Master_SSL_Crl", ""),
        text("Master_SSL_Crlpath", ""),
        text("Retrieved_Gtid_Set", &row.gtid_received),
        text("Executed_Gtid_Set", &relay.executed),
        number("Auto_Position", u8::from(row.by_gtid == Some(true))),
    ]
}

/// The name in SHOW REPLICA STATUS of a column of SHOW SLAVE STATUS.
fn new_name(old: &str) -> String {
    old.replace("Master", "Source")
        .replace("master", "Source")
        .replace("Slave", "Replica")
}

/// `YYMMDD hh:mm:ss`, in UTC.
fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime("%y%m%d %H:%M:%S").to_string())
        .unwrap_or_default()
}
