//! The changes: one for each field that a tool checks, and some that only `binrelay dump` checks.
//!
//! Offsets count from the event's first byte. Those in rows, statements and GTIDs are the ones in the
//! recorded events.

/// How an event is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    None,
    Set(usize, &'static [u8]),
    /// The event ends at this offset.
    Cut(usize),
    Add(&'static [u8]),
}

/// Which exit status is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// That of the tool.
    AsTheTool,
    /// Failure, where the tool accepts the event; and why.
    Stricter(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub event_type: u8,
    pub field: &'static str,
    pub change: Change,
    pub expected: Expected,
}

use Change::{Add, Cut, Set};

const fn same(event_type: u8, field: &'static str, change: Change) -> Case {
    Case {
        event_type,
        field,
        change,
        expected: Expected::AsTheTool,
    }
}

const fn stricter(event_type: u8, field: &'static str, change: Change, why: &'static str) -> Case {
    Case {
        event_type,
        field,
        change,
        expected: Expected::Stricter(why),
    }
}

const UNREADABLE: &str = "the value cannot be shown";
const WHERE_IT_BEGINS: &str = "what follows it may begin elsewhere";

/// Bodies of events that the recorded files do not have, or not with all of their fields.
pub const GIVEN: [(u8, &[u8]); 6] = [
    // Query: thread, time, database length, error; 9 bytes of status variables: flags, updated databases.
    (2, b"\x01\0\0\0\0\0\0\0\x01\0\0\x09\0\0\0\0\0\0\x0c\x01d\0d\0COMMIT"),
    (11, b"\x01\0\0\0"),
    (26, b"\x01\0\x04lost"),
    (34, &[0; 25]),
    (36, b"\x01\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0u"),
    (37, b"view\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0"),
];

pub const MYSQL: &[Case] = &[
    same(2, "type: unknown", Set(4, &[0xff])),
    same(2, "type: of MariaDB", Set(4, &[165])),
    same(2, "type: Start_v3", Set(4, &[1])),
    same(2, "type: Load", Set(4, &[6])),
    same(2, "database length", Set(27, &[0xff])),
    same(2, "status variables length", Set(30, &[0xff, 0xff])),
    same(2, "length of a status variable", Set(32, &[6, 0xff])),
    same(2, "number of updated databases", Set(38, &[0])),
    same(2, "end", Cut(24)),
    same(2, "end", Cut(40)),
    stricter(2, "database terminator", Set(42, b"x"), WHERE_IT_BEGINS),
    same(4, "position", Cut(24)),
    same(4, "file name", Cut(27)),
    same(5, "value", Cut(24)),
    stricter(5, "type", Set(19, &[7]), UNREADABLE),
    same(11, "file id", Set(19, &[0])),
    same(11, "end", Cut(21)),
    same(13, "seeds", Cut(30)),
    same(14, "name length: none", Set(19, &[0])),
    same(14, "name length: too long", Set(19, &[0xff])),
    same(14, "type", Set(25, &[0x80])),
    same(14, "value length", Set(30, &[0xff])),
    same(14, "end", Cut(27)),
    same(15, "server version: major", Set(21, &[0])),
    same(15, "server version: point", Set(22, &[0])),
    same(15, "header length", Set(75, &[0])),
    same(15, "post-header length of a statement", Set(77, &[11])),
    stricter(
        15,
        "binlog version",
        Set(19, &[3]),
        "all that follows may have another form",
    ),
    same(16, "xid", Cut(24)),
    same(17, "file id", Cut(21)),
    same(18, "file id", Set(32, &[0])),
    same(18, "start of the file name", Set(36, &[0xff, 0xff])),
    same(18, "end of the file name", Set(40, &[0xff, 0xff])),
    same(18, "handling of duplicates", Set(44, &[0x80])),
    same(18, "end", Cut(34)),
    same(19, "database length", Set(27, &[0xff])),
    same(19, "table length", Set(33, &[0xff])),
    same(19, "column count", Set(40, &[0xff])),
    same(19, "metadata length", Set(77, &[0xff])),
    same(19, "end", Cut(45)),
    same(26, "number: too high", Set(19, &[2])),
    same(26, "number: 0", Set(19, &[0])),
    same(26, "message length", Set(21, &[0xff])),
    same(26, "end", Cut(20)),
    same(29, "text", Cut(20)),
    same(30, "extra data: an unknown part is cut", Set(27, &[3])),
    same(30, "extra data: past the end", Set(27, &[0, 0x80])),
    stricter(
        30,
        "extra data: shorter than its length",
        Set(27, &[0]),
        WHERE_IT_BEGINS,
    ),
    stricter(
        30,
        "extra data: shorter than its length",
        Set(27, &[1]),
        WHERE_IT_BEGINS,
    ),
    same(30, "column count: 0", Set(29, &[0])),
    same(30, "column count: no length", Set(29, &[0xff])),
    same(30, "columns present", Cut(32)),
    stricter(30, "rows", Cut(60), UNREADABLE),
    same(31, "extra data", Set(27, &[0, 0x80])),
    same(31, "column count", Set(29, &[0])),
    same(31, "columns present afterwards", Cut(36)),
    same(32, "extra data", Set(27, &[0, 0x80])),
    same(32, "column count", Set(29, &[0])),
    same(33, "gno: 0", Set(36, &[0; 8])),
    same(33, "gno: too high", Set(43, &[0x80])),
    same(33, "original commit time", Set(67, &[0x86])),
    same(33, "transaction length", Set(68, &[0xff])),
    same(33, "server version", Set(72, &[0x80])),
    same(33, "uuid", Cut(30)),
    same(33, "logical clock", Cut(50)),
    same(34, "gno", Set(36, &[1])),
    same(34, "end", Cut(40)),
    same(35, "number of sources", Cut(24)),
    stricter(35, "end", Add(&[5]), UNREADABLE),
    same(36, "uuid length", Set(19, &[0xff])),
    same(36, "write set", Set(29, &[1])),
    same(37, "view id", Set(19, &[0])),
    same(37, "certification data", Set(67, &[1])),
    same(38, "gtrid length", Set(24, &[65])),
    same(38, "branch qualifier length", Set(28, &[0xff])),
    same(38, "end", Cut(33)),
    same(39, "extra data", Set(27, &[0, 0x80])),
    same(39, "column count", Set(29, &[0])),
    same(40, "field type", Set(19, &[0])),
    same(40, "compression", Set(21, &[1])),
    same(40, "uncompressed size", Set(22, &[2])),
    same(40, "payload size", Set(29, &[0xe1])),
    same(40, "payload", Set(32, &[0])),
    same(40, "end", Cut(60)),
    same(42, "serialization version", Set(19, &[0])),
    same(42, "message size", Set(20, &[0])),
    same(42, "last non-ignorable field", Set(21, &[0x80])),
    same(42, "end", Cut(40)),
];

pub const MARIADB: &[Case] = &[
    same(2, "type: unknown", Set(4, &[0xff])),
    same(2, "type: Start_v3", Set(4, &[1])),
    same(2, "database length", Set(27, &[0xff])),
    same(2, "status variables length", Set(30, &[0xff, 0xff])),
    same(2, "length of a status variable", Set(32, &[6, 0xff])),
    same(2, "end", Cut(24)),
    same(2, "end", Cut(36)),
    stricter(2, "database terminator", Set(42, b"x"), WHERE_IT_BEGINS),
    stricter(5, "value", Cut(24), UNREADABLE),
    stricter(5, "type", Set(19, &[7]), UNREADABLE),
    same(11, "file id", Set(19, &[0])),
    same(14, "name length", Set(19, &[0xff])),
    stricter(14, "type", Set(25, &[0x80]), UNREADABLE),
    stricter(16, "xid", Cut(24), UNREADABLE),
    same(19, "database length", Set(27, &[0xff])),
    same(19, "table length", Set(33, &[0xff])),
    same(19, "column count", Set(40, &[0xff])),
    same(19, "end", Cut(45)),
    same(23, "column count", Set(27, &[0])),
    same(23, "columns present", Cut(30)),
    same(23, "rows", Cut(45)),
    same(24, "column count", Set(27, &[0])),
    same(24, "columns present", Cut(30)),
    same(24, "rows", Cut(45)),
    same(25, "column count", Set(27, &[0])),
    same(25, "columns present", Cut(30)),
    same(26, "number: too high", Set(19, &[2])),
    same(26, "number: 0", Set(19, &[0])),
    same(26, "message length", Set(21, &[0xff])),
    same(160, "text", Cut(19)),
    same(161, "name length", Set(19, &[0xff])),
    same(161, "end", Cut(22)),
    same(162, "seq_no: 0", Set(19, &[0; 8])),
    same(162, "XID", Set(31, &[0xff])),
    same(162, "end", Cut(33)),
    same(163, "count", Set(19, &[0xff])),
    same(163, "end", Cut(21)),
    stricter(163, "end", Add(&[5]), UNREADABLE),
];
