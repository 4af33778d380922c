//! The RSA key pair that protects a password sent over a connection without TLS
//! (`caching_sha2_password`). Like mysqld, the relay keeps it in its data directory: clients may
//! have a copy of the public key, so it must not change at a restart.

use super::error::{TlsError, read_error};
use crate::atomic_file;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::SetOnce;
use zeroize::Zeroizing;

/// The private key's file in the data directory, PKCS #8 in PEM; mysqld's name for it.
pub const PRIVATE_KEY_FILE: &str = "private_key.pem";
/// The public key's file in the data directory; mysqld's name for it.
pub const PUBLIC_KEY_FILE: &str = "public_key.pem";
/// Permission bits of the private key.
const PRIVATE_KEY_MODE: u32 = 0o600;
/// Permission bits of the public key.
const PUBLIC_KEY_MODE: u32 = 0o640;
/// When the pair is generated on the first start, if it is not needed before: by then the sources' binlogs, for which the
/// processor is needed, have most often been read.
const GENERATE_AFTER: Duration = Duration::from_secs(10);
/// Characters in a line of PEM.
const PEM_LINE_LENGTH: usize = 64;

/// An RSA key pair for passwords.
struct KeyPair {
    private: OaepPrivateDecryptingKey,
    private_der: Zeroizing<Vec<u8>>,
    public_pem: String,
}

/// The RSA key pair for passwords. After the first start a thread generates it, which takes longer than the rest
/// of that start: as soon as somebody needs it and waits for it ([`PasswordKey::ready`]), at the latest after
/// [`GENERATE_AFTER`].
pub struct PasswordKey {
    pair: Arc<SetOnce<Option<KeyPair>>>,
    /// Tells the thread that the pair is needed.
    needed: Option<mpsc::SyncSender<()>>,
}

impl std::fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordKey(…)")
    }
}

impl PasswordKey {
    /// The key pair of a data directory, generated there on the first start.
    ///
    /// # Errors
    /// A file cannot be read or used. If the pair cannot be generated or written, that is logged, and passwords
    /// cannot be sent without TLS.
    pub fn open(data_dir: &Path) -> Result<PasswordKey, TlsError> {
        let path = data_dir.join(PRIVATE_KEY_FILE);
        if path.exists() {
            let pair = KeyPair::read(&path)?;
            return Ok(PasswordKey {
                pair: Arc::new(SetOnce::new_with(Some(Some(pair)))),
                needed: None,
            });
        }
        let slot = Arc::new(SetOnce::new());
        let (needed, is_needed) = mpsc::sync_channel(1);
        let (filled, data_dir) = (slot.clone(), data_dir.to_owned());
        let generate = move || {
            // The relay has ended; no one can need it.
            if is_needed.recv_timeout(GENERATE_AFTER) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let generated = KeyPair::generate(&data_dir).map_err(|error| {
                tracing::error!(%error, "no RSA key pair: passwords can only be sent with TLS");
            });
            let _ = filled.set(generated.ok());
        };
        std::thread::Builder::new()
            .name("rsa-key".to_owned())
            .spawn(generate)
            .map_err(|_| TlsError::PasswordKey)?;
        Ok(PasswordKey {
            pair: slot,
            needed: Some(needed),
        })
    }

    /// A key pair that is still being generated, and what ends that.
    #[cfg(test)]
    pub(crate) fn pending(data_dir: &Path) -> (PasswordKey, impl FnOnce()) {
        let slot = Arc::new(SetOnce::new());
        let (filled, data_dir) = (slot.clone(), data_dir.to_owned());
        let finish = move || {
            assert!(filled.set(KeyPair::generate(&data_dir).ok()).is_ok());
        };
        let key = PasswordKey {
            pair: slot,
            needed: None,
        };
        (key, finish)
    }

    /// Waits until the pair has been generated, or cannot be. It must not block: the receivers' tasks share
    /// the threads of those that serve clients.
    pub async fn ready(&self) {
        if let Some(needed) = &self.needed {
            // It fails once it was said, and once the thread has ended.
            let _ = needed.try_send(());
        }
        self.pair.wait().await;
    }

    /// `None` if there is no key, or not yet.
    fn pair(&self) -> Option<&KeyPair> {
        self.pair.get()?.as_ref()
    }

    /// The public key in PEM, as it is sent to clients; empty if there is no key, or before it is ready.
    pub fn public_pem(&self) -> &str {
        self.pair().map_or("", |pair| &pair.public_pem)
    }

    /// A secret that does not change as long as the key pair exists; empty before it is ready.
    pub fn stable_secret(&self) -> &[u8] {
        self.pair().map_or(&[], |pair| &pair.private_der)
    }

    /// Decrypts what a client encrypted with RSA-OAEP; None if it was not encrypted for this key, or the key is not
    /// ready.
    pub fn decrypt(&self, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let private = &self.pair()?.private;
        let mut clear = Zeroizing::new(vec![0; private.min_output_size()]);
        let length = private
            .decrypt(&OAEP_SHA1_MGF1SHA1, encrypted, &mut clear, None)
            .ok()?
            .len();
        clear.truncate(length);
        Some(clear)
    }
}

impl KeyPair {
    fn generate(data_dir: &Path) -> Result<KeyPair, TlsError> {
        let failed = |Unspecified| TlsError::PasswordKey;
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(failed)?;
        let pair = KeyPair::new(private).map_err(failed)?;
        let pem = pem("PRIVATE KEY", &pair.private_der);
        // The public key first: an existing private key then implies an existing public one.
        let public = data_dir.join(PUBLIC_KEY_FILE);
        atomic_file::replace(&public, pair.public_pem.as_bytes(), PUBLIC_KEY_MODE)?;
        let private = data_dir.join(PRIVATE_KEY_FILE);
        atomic_file::replace(&private, pem.as_bytes(), PRIVATE_KEY_MODE)?;
        Ok(pair)
    }

    fn read(path: &Path) -> Result<KeyPair, TlsError> {
        let what = "an RSA private key (PKCS #8)";
        let failed = |cause: &dyn std::fmt::Display| read_error(path, what, cause);
        let der = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|error| failed(&error))?;
        let private = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|error| failed(&error))?;
        KeyPair::new(private).map_err(|error| failed(&error))
    }

    fn new(private: PrivateDecryptingKey) -> Result<KeyPair, Unspecified> {
        let public: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        let public_pem = pem("PUBLIC KEY", public.as_ref()).to_string();
        let private_der: Pkcs8V1Der<'_> = private.as_der()?;
        Ok(KeyPair {
            private_der: Zeroizing::new(private_der.as_ref().to_vec()),
            private: OaepPrivateDecryptingKey::new(private)?,
            public_pem,
        })
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
