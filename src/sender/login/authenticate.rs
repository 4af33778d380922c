//! Choosing the plugin that verifies the password, and its exchange of packets.
//!
//! ```text
//! native         scramble → answer                                          (one round)
//! client_ed25519 switch with a nonce → signature                            (one round)
//! caching_sha2   scramble → answer ─┬─ known: "fast" → OK
//!                                   └─ else: "full" → password over TLS, or by RSA → OK
//! ```

use std::net::IpAddr;

use super::accounts::Account;
use super::error::{LoginError, access_denied, not_supported_auth_mode, refused};
use super::options::{LOGIN_PACKET_LENGTH_MAX, LoginOptions};
use crate::connection::{Connection, ConnectionError};
use crate::protocol::StoredPassword;
use crate::protocol::auth::{
    AuthPlugin, ED25519_NONCE_LENGTH, certificate_proof, decode_password, encode_fast_auth_success,
    encode_full_auth_needed, encode_public_key, encode_switch, is_public_key_request, new_scramble,
};
use crate::protocol::capability::CLIENT_PLUGIN_AUTH;
use crate::protocol::handshake::{HandshakeResponse, SCRAMBLE_LENGTH};
use crate::protocol::response::OkPacket;
use crate::sender::admission::Place;
use crate::tls::PasswordKey;
use zeroize::Zeroizing;

/// The plugin that MariaDB's client names when it does not have the one it was offered.
const FALLBACK_PLUGIN: &str = "dummy_fallback_auth";

/// How a login continues after the handshake response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The response is this plugin's answer to the greeting's scramble.
    Answered(AuthPlugin),
    /// The client is requested to answer with this plugin.
    Switch(AuthPlugin),
    /// The account needs another plugin, and the client cannot switch.
    Impossible,
}

/// The client's address, as `hosts` of an account names it.
pub(super) fn client_address(connection: &Connection) -> Option<IpAddr> {
    Some(connection.peer_addr()?.ip())
}

/// Verifies the password and sends the OK.
pub(super) async fn authenticate<'a>(
    connection: &mut Connection,
    options: &'a LoginOptions,
    place: &mut Place,
    greeting_scramble: [u8; SCRAMBLE_LENGTH],
    response: &HandshakeResponse,
) -> Result<&'a Account, LoginError> {
    // What an unknown user gets depends on it.
    options.accounts.key().ready().await;
    let (found, password) = options
        .accounts
        .find(&response.user, client_address(connection));
    let (plugin, scramble, answer) = match next(&password, response, options.default_plugin) {
        Next::Answered(plugin) => {
            let answer = response.auth_response.clone();
            (plugin, greeting_scramble.to_vec(), answer)
        }
        Next::Switch(plugin) => {
            let scramble = match plugin {
                AuthPlugin::Ed25519 => rand::random::<[u8; ED25519_NONCE_LENGTH]>().to_vec(),
                _ => new_scramble().to_vec(),
            };
            let answer = request(connection, &encode_switch(plugin, &scramble)).await?;
            (plugin, scramble, answer)
        }
        Next::Impossible => return Err(refused(connection, not_supported_auth_mode())),
    };
    let is_empty = answer.is_empty() || *answer == [0];
    let mut is_correct = password.verify(plugin, &scramble, &answer);
    if plugin == AuthPlugin::CachingSha2 && !is_empty {
        if is_correct {
            connection.write_packet(&encode_fast_auth_success()).await?;
        } else {
            let key = options.accounts.key();
            let clear = request_password(connection, key, &scramble).await?;
            is_correct = verify_clear(&password, clear).await;
        }
    }
    let Some(account) = found.filter(|_| is_correct) else {
        return Err(refused(
            connection,
            access_denied(connection, &response.user, !is_empty),
        ));
    };
    let privileges = account.privileges;
    place
        .log_in(privileges.replication || privileges.admin)
        .map_err(|error| refused(connection, error))?;
    let mut ok = OkPacket::default();
    if let (true, Some(hash), Some(tls)) = (
        connection.is_tls(),
        password.proof_hash(plugin),
        &options.tls,
    ) {
        // client_ed25519 signs a nonce of its own, but the proof is computed from the greeting's
        // scramble, as MariaDB 11.8 does.
        let scramble = match plugin {
            AuthPlugin::Ed25519 => greeting_scramble.as_slice(),
            _ => scramble.as_slice(),
        };
        ok.info = certificate_proof(hash, scramble, &tls.certificate);
    }
    connection.write_ok(&ok).await?;
    Ok(account)
}

/// Chooses a plugin that the account has and the client is known to have.
///
/// MySQL clients begin with their own default, whatever the greeting names: native up to 5.7,
/// caching_sha2 since 8.0 (9.x does not have native). MariaDB clients use the greeting's plugin if
/// they have it. `client_ed25519` is a separate file that many clients do not have, so the plugins
/// that every client of the flavor has are preferred.
fn next(
    password: &StoredPassword,
    response: &HandshakeResponse,
    greeting_plugin: AuthPlugin,
) -> Next {
    if response.capabilities & CLIENT_PLUGIN_AUTH == 0 {
        // Such a client always uses mysql_native_password.
        return match password.has(AuthPlugin::Native) {
            true => Next::Answered(AuthPlugin::Native),
            false => Next::Impossible,
        };
    }
    let named = AuthPlugin::from_name(&response.auth_plugin);
    if let Some(plugin @ (AuthPlugin::Native | AuthPlugin::CachingSha2)) = named
        && password.has(plugin)
    {
        // A client that uses another plugin than the greeting's has ignored the scramble and
        // waits for one.
        return match plugin != greeting_plugin && response.auth_response.is_empty() {
            true => Next::Switch(plugin),
            false => Next::Answered(plugin),
        };
    }
    let has_sha2 = match named {
        Some(AuthPlugin::CachingSha2) => true,
        Some(AuthPlugin::Native) => false,
        _ => greeting_plugin == AuthPlugin::CachingSha2 && response.auth_plugin != FALLBACK_PLUGIN,
    };
    let order = match has_sha2 {
        true => [
            AuthPlugin::CachingSha2,
            AuthPlugin::Native,
            AuthPlugin::Ed25519,
        ],
        false => [
            AuthPlugin::Native,
            AuthPlugin::Ed25519,
            AuthPlugin::CachingSha2,
        ],
    };
    let plugin = order.into_iter().find(|plugin| password.has(*plugin));
    plugin.map_or(Next::Impossible, Next::Switch)
}

/// Sends a packet and reads the answer.
async fn request(
    connection: &mut Connection,
    packet: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ConnectionError> {
    connection.write_packet(packet).await?;
    connection.flush().await?;
    let answer = connection.read_packet(LOGIN_PACKET_LENGTH_MAX).await?;
    Ok(Zeroizing::new(answer))
}

/// Requests the password itself: in clear text over TLS, else encrypted with the relay's public
/// key, which the client may already have or requests. None if the answer is neither.
async fn request_password(
    connection: &mut Connection,
    key: &PasswordKey,
    scramble: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, ConnectionError> {
    let mut answer = request(connection, &encode_full_auth_needed()).await?;
    if connection.is_tls() {
        return Ok(decode_password(answer, &[]));
    }
    if is_public_key_request(&answer) {
        answer = request(connection, &encode_public_key(key.public_pem())).await?;
    }
    Ok(key
        .decrypt(&answer)
        .and_then(|clear| decode_password(clear, scramble)))
}

/// Verifies the password itself. The hash takes milliseconds, so it is computed on a thread for
/// blocking calls.
async fn verify_clear(password: &StoredPassword, clear: Option<Zeroizing<Vec<u8>>>) -> bool {
    let Some(clear) = clear else {
        return false;
    };
    let password = password.clone();
    let verified = tokio::task::spawn_blocking(move || password.verify_clear(&clear));
    verified.await.unwrap_or(false)
}

#[cfg(test)]
mod tests;
