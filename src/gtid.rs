//! Global transaction ids: what identifies a transaction on every path it may take to the relay.
//!
//! MySQL and MariaDB share the name and nothing else. [`mysql`] has `uuid[:tag]:gno` ids, whose
//! progress is a set of intervals; [`mariadb`] has `domain-server-sequence` ids, whose progress is
//! the highest sequence number of each (domain, server) pair. Both are asked about every
//! transaction, so looking up and recording an id allocates nothing in the common case.

mod error;
mod intervals;
pub mod mariadb;
#[cfg(test)]
mod mariadb_tests;
pub mod mysql;
#[cfg(test)]
mod mysql_tests;
mod mysql_text;
mod mysql_wire;
mod scan;

pub use error::GtidError;
pub use mariadb::{BinlogState, GtidPosition, MariaDbGtid};
pub use mysql::{Gtid, GtidSet, Sid, Tag, Uuid};
