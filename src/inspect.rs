//! Reading binlog files offline: `binrelay dump` and `binrelay verify`.
//!
//! [`EventReader`] reads any binlog file of MySQL or MariaDB, or of the relay, event by event. It
//! holds at most [`EVENT_KEPT_MAX`] bytes of an event, however large, and allocates no memory by a
//! length in the file. [`dump`] turns events into lines; [`verify`] compares a relay's log with
//! itself and with its commit index.
//!
//! # Damage
//! A file is damaged when it does not begin as a binlog does, and when an event is smaller than its
//! header or extends past the end of the file, has a wrong checksum, a body that cannot be read, or
//! a log_pos that is not the event's end. The last does not apply to events with log_pos 0, nor to
//! a server's own relay log, where log_pos is a position in the source's binlog.
//!
//! Rows that cannot be counted are damage only where no checksum covers them.

mod describe;
mod description;
pub mod dump;
mod error;
mod file_event;
mod gtid_selection;
mod line;
mod reader;
mod resync;
mod row_json;
mod row_text;
mod selection;
mod text;
pub mod verify;

pub use describe::Describer;
pub use description::{Description, Table};
pub use error::InspectError;
pub use file_event::{ChecksumState, EventBytes, FileEvent};
pub use gtid_selection::GtidSelection;
pub use reader::{EVENT_KEPT_MAX, EventReader};
