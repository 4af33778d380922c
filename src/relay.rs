//! Builds the stages, joins them, and stops them. No logic of its own.
//!
//! ```text
//! receivers (tasks) ──batches──▶ relay log (thread) ──published end──▶ senders (tasks)
//! ```
//!
//! `open` acquires the data directory, the log and the sockets; `run` starts the stages, and
//! `supervisor` watches them: a stage that ends when it should not ends the process. `retention` removes old log
//! files meanwhile, `channels` changes the sources, and `systemd` reports to systemd, which keeps the listener open over a
//! restart (`kept_socket`).

mod channels;
mod error;
mod forget;
mod kept_socket;
mod open;
mod preflight;
mod reload;
mod retention;
mod run;
mod source_rows;
mod supervisor;
mod systemd;

pub use channels::ChannelHandle;
pub use error::RelayError;
pub use kept_socket::PassedSockets;
pub use open::Relay;
pub use preflight::{Preflight, inspect_log, preflight};
