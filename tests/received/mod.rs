//! What a client receives, each kind of client in a file of its own.

pub mod binlog_stream;
pub mod drivers;
pub mod packets;
pub mod sql;
pub mod tools;
pub mod waiting;

use crate::support::same_binlog::SameBinlog;

/// (relay, master).
pub fn ports(binlog: &SameBinlog) -> [u16; 2] {
    [binlog.relay.port, binlog.master.port]
}
