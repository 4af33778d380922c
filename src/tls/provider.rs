//! The cryptography that all of the relay's TLS uses.

use rustls::crypto::aws_lc_rs;

/// Makes aws-lc the process's crypto provider. May be called again.
pub fn install_crypto_provider() {
    // An error means that an earlier call has installed one.
    let _ = aws_lc_rs::default_provider().install_default();
}
