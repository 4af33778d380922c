//! The RSA key pair by which clients send a password over a connection without TLS
//! (`caching_sha2_password`). Like mysqld, the relay keeps it in its data directory, so that
//! clients can hold on to the public key.

use super::{TlsError, read_error, write_file};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use zeroize::Zeroizing;

/// The private key's file in the data directory, PKCS #8 in PEM; mysqld's name for it.
pub const PRIVATE_KEY_FILE: &str = "private_key.pem";
/// The public key's file in the data directory; mysqld's name for it.
pub const PUBLIC_KEY_FILE: &str = "public_key.pem";
/// Characters in a line of PEM.
const PEM_LINE_LENGTH: usize = 64;

/// An RSA key pair for passwords.
pub struct PasswordKey {
    private: OaepPrivateDecryptingKey,
    private_der: Zeroizing<Vec<u8>>,
    public_pem: String,
}

impl std::fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordKey(…)")
    }
}

impl PasswordKey {
    /// The key pair of a data directory; made there the first time.
    ///
    /// # Errors
    /// Files that cannot be read, written or used.
    pub fn open(data_dir: &Path) -> Result<PasswordKey, TlsError> {
        let path = data_dir.join(PRIVATE_KEY_FILE);
        if path.exists() {
            return PasswordKey::read(&path);
        }
        let failed = |Unspecified| TlsError::PasswordKey;
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(failed)?;
        let key = PasswordKey::new(private).map_err(failed)?;
        let pem = pem("PRIVATE KEY", &key.private_der);
        // The public key first: whoever finds a private key need not make the other.
        let public = data_dir.join(PUBLIC_KEY_FILE);
        write_file(&public, key.public_pem.as_bytes(), 0o644)?;
        write_file(&path, pem.as_bytes(), 0o600)?;
        Ok(key)
    }

    fn read(path: &Path) -> Result<PasswordKey, TlsError> {
        let what = "an RSA private key (PKCS #8)";
        let failed = |cause: &dyn std::fmt::Display| read_error(path, what, cause);
        let der = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|error| failed(&error))?;
        let private = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|error| failed(&error))?;
        PasswordKey::new(private).map_err(|error| failed(&error))
    }

    fn new(private: PrivateDecryptingKey) -> Result<PasswordKey, Unspecified> {
        let public: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        let public_pem = pem("PUBLIC KEY", public.as_ref()).to_string();
        let private_der: Pkcs8V1Der<'_> = private.as_der()?;
        Ok(PasswordKey {
            private_der: Zeroizing::new(private_der.as_ref().to_vec()),
            private: OaepPrivateDecryptingKey::new(private)?,
            public_pem,
        })
    }

    /// The public key in PEM, as clients ask for it.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// A secret that stays the same as long as the key pair does.
    pub fn stable_secret(&self) -> &[u8] {
        &self.private_der
    }

    /// What a client has encrypted with RSA-OAEP; None where it is not for this key.
    pub fn decrypt(&self, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut clear = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, encrypted, &mut clear, None)
            .ok()?
            .len();
        clear.truncate(length);
        Some(clear)
    }
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = digits.as_str();
    while let Some((line, more)) = rest.split_at_checked(PEM_LINE_LENGTH) {
        text.extend([line, "\n"]);
        rest = more;
    }
    if !rest.is_empty() {
        text.extend([rest, "\n"]);
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}
