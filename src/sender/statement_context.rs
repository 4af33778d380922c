//! The data that a statement can read: the relay, its session's variables, its client.

use super::budget::StatementLimits;
use super::login::Privileges;
use super::relay_view::RelayView;
use super::replicas::Replicas;
use super::variables::{SessionVariables, SystemVariables, Variable};
use super::waits::Waits;

/// The client that sent a statement.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The registry of connected clients.
    pub replicas: &'a Replicas,
    /// The connection's id.
    pub connection_id: u32,
    /// The account's name.
    pub user: &'a str,
    /// The client's address.
    pub host: &'a str,
    /// The account's privileges.
    pub privileges: Privileges,
    /// The waits of the statement.
    pub waits: &'a Waits,
    /// How large the statement and its result may be.
    pub limits: StatementLimits,
}

/// The data that a statement can read.
#[derive(Debug, Clone, Copy)]
pub struct StatementContext<'a> {
    /// The relay.
    pub relay: RelayView<'a>,
    /// The variables that the session has set.
    pub variables: &'a SessionVariables,
    /// The system variables that the statement has read.
    pub system_variables: &'a SystemVariables,
    /// The client.
    pub caller: Caller<'a>,
}

impl<'a> StatementContext<'a> {
    /// A system variable by its name, ignoring case.
    pub fn system_variable(&self, name: &str) -> Option<&'a Variable> {
        self.system_variables
            .find(&self.relay, self.variables, name)
    }
}
