//! Stage 4: the relay's own binlog: append, make durable, publish, recover, read.
//!
//! # On disk
//! ```text
//! data_dir/
//!   relay-bin.index        the list of log files, as mysqld keeps it
//!   relay-bin.000001       binlog v4, readable by mysqlbinlog and mariadb-binlog
//!   relay-bin.000001.idx   commit index: fixed-size records, see `index_record`
//!   spool/                 large transactions on their way
//! ```
//! Each log file begins with a format description of the relay's own and PREVIOUS_GTIDS (MySQL)
//! or GTID_LIST (MariaDB): all transactions of the files before. Then come whole transactions, and
//! at the end a ROTATE, unless the relay was killed. Every event has a CRC32. Files stay under
//! 4 GiB.
//!
//! # Durability
//! The writer appends a group of transactions to the log and one record for each to the index,
//! syncs both, and only then publishes the new end. Senders read up to the published end and no
//! further, so a (file, position) once served never means other bytes. The index is what makes
//! the sources' positions exact: a transaction and its source's position become durable together,
//! and a dropped second copy leaves a record too, because it moves its source's position.
//!
//! # Recovery
//! Only the newest file can be unfinished. The index's valid records say how far the log goes:
//!
//! | log | index | what is done |
//! |---|---|---|
//! | longer than the last record says | – | cut to it: what is behind was never served |
//! | shorter than the last record says | – | records are cut back to what the log holds |
//! | does not verify behind *durable to* | – | log and records are cut back to what verifies |
//! | – | last record torn or damaged | cut off |
//! | a file that the list does not name, without transactions | – | made anew: its creation was cut off |
//! | a file that the list does not name, with transactions | – | refused: that was served |
//! | damaged before *durable to* | – | refused, with the place: that was served |
//!
//! A clean stop leaves a record that all is durable, so that afterwards any damage is refused. What
//! was not known to be durable is written again before it is synced: a sync that failed before a
//! restart must not be believed. Each start begins a new file, as mysqld does.

mod check;
pub mod coordinates;
mod durable_mark;
mod error;
pub mod files;
pub mod index_reader;
pub mod index_record;
pub mod ledger;
mod names;
mod published;
pub mod reader;
pub mod recover;
mod replay_pairing;
mod writer;

pub use check::LogBinding;
pub use error::{IndexMismatch, LogError};
pub use files::LogDir;
pub use published::{Condition, LogState, RelayLog, SourceProgress};
pub use writer::{CarriedOver, LogOptions, OpenedLog, WriteError, Writer};

pub use crate::position::{RelayLogPosition, SourcePosition};
