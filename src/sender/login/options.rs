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

/// How logins are done.
#[derive(Debug, Clone)]
pub struct LoginOptions {
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// TLS for clients that ask for it; None offers none.
    pub tls: Option<ServerTls>,
    /// Refuse clients that do not ask for TLS.
    pub require_tls: bool,
    /// The version of the greeting; clients choose by it what they ask.
    pub server_version: String,
    /// The plugin that the greeting names, and that clients with an unknown one are switched to.
    pub default_plugin: AuthPlugin,
    /// Time limit for the whole login.
    pub timeout: Duration,
}
