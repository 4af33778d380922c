//! TLS configurations: for connections to sources, by mode; for the listener, by certificate; and
//! the RSA key pair for passwords on connections without TLS.

mod client;
mod error;
mod offered;
mod password_key;
mod pem;
mod provider;
mod server;
mod settings;

pub use client::client_config;
pub use error::TlsError;
pub use offered::OfferedTls;
pub use password_key::{PRIVATE_KEY_FILE, PUBLIC_KEY_FILE, PasswordKey};
pub use pem::read_public_key;
pub use provider::install_crypto_provider;
pub use server::{SERVER_CERTIFICATE_FILE, SERVER_KEY_FILE, ServerTls, server_config};
pub use settings::{ClientTls, ServerTlsFiles, TlsMode};

#[cfg(test)]
mod tests;
