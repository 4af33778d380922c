//! Global transaction ids: they identify a transaction on every path to the relay.
//!
//! MySQL and MariaDB share only the name. [`mysql`] has `uuid[:tag]:gno` ids, whose
//! progress is a set of intervals; [`mariadb`] has `domain-server-sequence` ids, whose progress is
//! the highest sequence number of each (domain, server) pair. Both are used for every
//! transaction, so looking up and recording an id does not allocate in the common case.

pub mod domain_history;
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
mod received;
mod scan;

pub use error::GtidError;
pub use mariadb::{BinlogState, GtidPosition, MariaDbGtid};
pub use mysql::{Gtid, GtidSet, Sid, Tag, Uuid};
pub use received::ReceivedGtidSet;
