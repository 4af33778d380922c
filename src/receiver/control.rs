//! The control connection to a source: queries outside the dump connection.
//!
//! A dump occupies its connection until it ends, so that a receiver cannot ask its source anything.
//! This second connection, which logs in by the same rules, asks for the server's settings, the privileges of
//! the relay's user, the end of the source's binlog, the source's GTIDs and the state of semi-sync
//! replication. `binrelay check` uses it once per source; `binrelay run` keeps one open per source
//! to know how far behind the relay is.
//!
//! Which server answers, and whether it can be followed, is still asked on the dump connection
//! itself ([`crate::receiver::SourceFacts`]): that decides where the dump resumes and which copies
//! are recognised, so the answer must come from the server that sends the dump. Behind a virtual IP
//! or a proxy the two connections can reach two servers. [`watch_source_end`] therefore compares
//! server_id and server_uuid, and uses no answer of another server.
//!
//! A failure of this connection never affects the dump: it is logged once per outage and retried.
//!
//! MySQL 5.5 and later and MariaDB 10.0 and later are supported. A variable that a server does not
//! have is not an error wherever the answer has a meaning without it: settings come from `SHOW
//! GLOBAL VARIABLES`, which omits it, GTIDs from a `SELECT` whose error 1193 means that there are
//! none.

mod connection;
mod grants;
mod logging;
mod replication;
mod watch;

pub use connection::{ControlConnection, ControlError, SemiSync, ServerSettings};
pub use grants::Grants;
pub use replication::{ReplicaConnection, Replication};
pub use watch::watch_source_end;
