//! The relay, as statements see it.

use std::time::Duration;

use super::environment::HostNames;
use super::source_changes::SourceChanges;
use super::source_rows::SourceRows;
use super::sql_errors::no_log_yet;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::protocol::ServerError;
use crate::relay_log::{RelayLog, ReplicaWait};

/// The relay, as statements see it; the values of system variables come from here.
#[derive(Debug, Clone, Copy)]
pub struct RelayView<'a> {
    /// The relay log; `None` before a source has answered for the first time.
    pub log: Option<&'a RelayLog>,
    /// The version that clients see.
    pub version: &'a str,
    /// Its flavor.
    pub flavor: Flavor,
    /// The relay's server_id.
    pub server_id: u32,
    /// The relay's server_uuid.
    pub server_uuid: Uuid,
    /// For which replicas acknowledgements to the sources wait.
    pub replica_wait: ReplicaWait,
    /// A replica that accepts no data for this long is disconnected.
    pub write_timeout: Duration,
    /// Names of the machine.
    pub host: &'a HostNames,
    /// The sources.
    pub sources: &'a SourceRows,
    /// Changes them.
    pub changes: &'a SourceChanges,
}

impl<'a> RelayView<'a> {
    /// The relay log.
    ///
    /// # Errors
    /// There is none yet: an error after which replicas retry.
    pub fn log(&self) -> Result<&'a RelayLog, ServerError> {
        self.log.ok_or_else(no_log_yet)
    }
}
