//! The binlogs of recorded sources, and of servers whose files are rewritten to an old form.

use super::binlog::{Binlog, BinlogFile};
use super::event::STOP;
use super::version::Version;
use crate::recorded;

/// The recorded source's binlog. Its last event, STOP, was written after the recording.
pub fn recorded_binlog(kind: &str, name: &str, version: Version, gtids: bool) -> Binlog {
    let files = recorded::binlogs(kind, name);
    let names = ["m-bin.000001", "m-bin.000002"];
    let files = files.iter().zip(names).map(|(bytes, name)| {
        let events = recorded::events(bytes);
        let stop = events.last().filter(|event| event[4] == STOP);
        let end = bytes.len() - stop.map_or(0, |event| event.len());
        BinlogFile::read(name, &bytes[..end])
    });
    Binlog::of_files(version, 1, gtids, files.collect())
}
