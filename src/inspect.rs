//! Reading binlog files offline: `binrelay dump`, `verify`, `list` and `search`.
//!
//! [`EventReader`] reads any binlog file of MySQL or MariaDB, or of the relay, event by event. It
//! holds at most [`EVENT_KEPT_MAX`] bytes of an event, however large, and allocates no memory by a
//! length in the file. [`dump`] turns events into lines; [`verify`] compares a relay's log with
//! itself and with its commit index; [`catalog`] reads only the indexes.
//!
//! # Damage
//! A file is damaged when it does not begin as a binlog does, and when an event is smaller than its
//! header or extends past the end of the file, has a wrong checksum, or a body that cannot be read.
//!
//! Rows that do not fit their table map are damage too, unless their checksum is right and the table has
//! temporal columns of the types before MySQL 5.6: MariaDB's may have fractions that the table map does
//! not state. Their number is unknown then.
//!
//! A log_pos that is not the event's end is not damage, if the checksum is right or another event follows:
//! files assembled from parts of others have it, and those of MySQL before 5.1.18. The first one is
//! a warning, except where log_pos is a position in another file by design: in a server's own relay
//! log, and in a file that begins with a format description whose log_pos is 0, as a source sends it
//! before the events from a position on. A log_pos of 0 is always right.

pub mod catalog;
mod describe;
mod description;
pub mod dump;
mod error;
mod file_event;
mod gtid_selection;
mod json_text;
mod line;
mod reader;
mod resync;
mod row_json;
mod row_text;
mod selection;
mod soundness;
mod text;
pub mod verify;

pub use describe::Describer;
pub use description::{Description, Table};
pub use error::InspectError;
pub use file_event::{ChecksumState, EventBytes, FileEvent};
pub use gtid_selection::GtidSelection;
pub use reader::{EVENT_KEPT_MAX, EventReader};
pub use row_json::image_json;
