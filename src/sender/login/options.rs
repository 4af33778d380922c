//! How logins are processed.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::Accounts;
use crate::protocol::auth::AuthPlugin;
use crate::tls::ServerTls;

/// Size of the read buffer before authentication, in bytes.
pub(super) const LOGIN_BUFFER_SIZE: usize = 16 << 10;
/// The largest packet before authentication, in bytes: fits the buffer with its header.
pub(super) const LOGIN_PACKET_LENGTH_MAX: usize = LOGIN_BUFFER_SIZE - 4;

/// The settings of a login.
#[derive(Debug, Clone)]
pub struct LoginOptions {
    /// The accounts that may log in.
    pub accounts: Arc<Accounts>,
    /// TLS for clients that request it; None if it is not offered.
    pub tls: Option<ServerTls>,
    /// Refuse clients that do not use TLS.
    pub require_tls: bool,
    /// The algorithms of compression that are offered, as capabilities.
    pub compression: u32,
    /// The version in the greeting; the statements that clients send depend on it.
    pub server_version: String,
    /// The plugin that the greeting names, and to which clients with an unknown one are switched.
    pub default_plugin: AuthPlugin,
    /// Time limit for the whole login.
    pub timeout: Duration,
}
