//! Stage 2: assembling a source's events into whole transactions.
//!
//! A [`Transaction`] is one GTID group as raw bytes, plus the few fields that later stages need.
//! [`Assembler`] finds the boundaries of the groups, applies the filter, and gathers finished
//! transactions into a [`TransactionBatch`], the unit that is sent to the relay log, so that a small
//! transaction costs neither an allocation nor a queue operation of its own. A transaction that is
//! larger than `spill_size` goes to a file in `data_dir/spool` instead of memory.
//!
//! Nothing of a transaction leaves this stage before its end has been seen.

mod assemble;
mod batch;
mod body;
pub(crate) mod boundary;
mod digest;
mod error;
mod large;
mod spill;
mod taken_bytes;
mod temporary_tables;
#[cfg(test)]
pub(crate) mod test_events;
#[cfg(test)]
mod tests;

pub use assemble::{Assembler, AssemblerOptions};
pub use batch::{Half, Transaction, TransactionBatch};
pub use error::{PayloadError, TransactionError};
pub use spill::SpillFile;
pub use temporary_tables::{SessionStatement, TemporaryTableStatement, session_statements};

pub use crate::filter::TemporaryTableChange;
