//! TLS configurations of both sides: towards sources by mode, towards replicas by certificate.

mod password_key;

pub use password_key::{PRIVATE_KEY_FILE, PUBLIC_KEY_FILE, PasswordKey};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The self-signed certificate's file in the data directory.
pub const SERVER_CERTIFICATE_FILE: &str = "server-cert.pem";
/// The self-signed certificate's private key in the data directory.
pub const SERVER_KEY_FILE: &str = "server-key.pem";

/// How a client uses TLS, by MySQL's `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// Where the server offers it; its certificate is not verified.
    #[default]
    Preferred,
    /// Always; the server's certificate is not verified.
    Required,
    /// Always; the certificate must lead to a certificate in `ca`.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must be for the host name.
    VerifyIdentity,
}

/// A client's TLS settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Whether and how TLS is used.
    pub mode: TlsMode,
    /// PEM file of trusted certificates; needed by the two modes that verify.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's own certificate; needs `key`.
    pub cert: Option<PathBuf>,
    /// PEM file of the client's own private key; needs `cert`.
    pub key: Option<PathBuf>,
}

/// The PEM files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The certificate, and those that lead to its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Trusted authorities of clients' certificates. Clients need not have one, as in MySQL.
    pub ca: Option<PathBuf>,
}

/// A server's TLS: the configuration, and the certificate that clients will see.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// For the acceptor.
    pub config: Arc<ServerConfig>,
    /// The server's own certificate, DER; MariaDB's certificate proof is computed over it.
    pub certificate: CertificateDer<'static>,
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM of the wanted kind.
    #[error("{path}: cannot read {what}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
        /// Why it was not found.
        cause: String,
    },
    /// A file cannot be written.
    #[error("{path}: cannot write: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// Only one file of the generated pair is there.
    #[error("{missing} is missing beside {present}: restore it, or remove both to have new ones")]
    HalfPair {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// The mode needs a file that was not given.
    #[error("TLS mode {mode:?} needs {needed}")]
    Incomplete {
        /// The mode.
        mode: TlsMode,
        /// The missing setting.
        needed: &'static str,
    },
    /// Certificate and key do not fit each other or cannot be used.
    #[error("{path}: certificate and key cannot be used: {cause}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// The library's reason.
        cause: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    Generate(String),
    /// An RSA key could not be made.
    #[error("cannot make an RSA key pair for passwords")]
    PasswordKey,
}

/// Makes aws-lc the process's crypto provider. May be called again.
pub fn install_crypto_provider() {
    // An error means that one is installed already, by an earlier call.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// The configuration for a client's mode; None in mode disabled.
///
/// # Errors
/// Files that cannot be used, or that the mode needs and were not given.
pub fn client_config(tls: &ClientTls) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    install_crypto_provider();
    let verify = match tls.mode {
        TlsMode::Disabled => return Ok(None),
        TlsMode::Preferred | TlsMode::Required => Verify::Nothing,
        TlsMode::VerifyCa => Verify::Chain(client_roots(tls)?),
        TlsMode::VerifyIdentity => Verify::ChainAndName(client_roots(tls)?),
    };
    let verifier = ServerVerifier {
        verify,
        provider: aws_lc_rs::default_provider(),
    };
    let builder = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match (&tls.cert, &tls.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(read_certificates(cert)?, read_key(key)?)
            .map_err(|error| unusable(cert, &error))?,
        (Some(_), None) => {
            return Err(TlsError::Incomplete {
                mode: tls.mode,
                needed: "key beside cert",
            });
        }
        (None, Some(_)) => {
            return Err(TlsError::Incomplete {
                mode: tls.mode,
                needed: "cert beside key",
            });
        }
    };
    Ok(Some(Arc::new(config)))
}

fn client_roots(tls: &ClientTls) -> Result<RootCertStore, TlsError> {
    match &tls.ca {
        Some(path) => read_roots(path),
        None => Err(TlsError::Incomplete {
            mode: tls.mode,
            needed: "ca",
        }),
    }
}

/// The configuration for a listener: from `files`, or from a self-signed certificate that is made
/// in `data_dir` the first time and kept.
///
/// # Errors
/// Files that cannot be read, written or used.
pub fn server_config(
    files: Option<&ServerTlsFiles>,
    data_dir: &Path,
) -> Result<ServerTls, TlsError> {
    install_crypto_provider();
    let generated;
    let files = match files {
        Some(files) => files,
        None => {
            generated = generated_files(data_dir)?;
            &generated
        }
    };
    let builder = ServerConfig::builder();
    let builder = match &files.ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(read_roots(ca)?))
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(ca, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let certificates = read_certificates(&files.cert)?;
    let Some(certificate) = certificates.first().cloned() else {
        return Err(read_error(
            &files.cert,
            "a certificate",
            "there is none in the file",
        ));
    };
    let config = builder
        .with_single_cert(certificates, read_key(&files.key)?)
        .map_err(|error| unusable(&files.cert, &error))?;
    Ok(ServerTls {
        config: Arc::new(config),
        certificate,
    })
}

/// The generated pair's files; makes them where neither is there.
fn generated_files(data_dir: &Path) -> Result<ServerTlsFiles, TlsError> {
    let cert = data_dir.join(SERVER_CERTIFICATE_FILE);
    let key = data_dir.join(SERVER_KEY_FILE);
    match (cert.exists(), key.exists()) {
        (true, true) => {}
        (true, false) => {
            return Err(TlsError::HalfPair {
                present: cert,
                missing: key,
            });
        }
        (false, true) => {
            return Err(TlsError::HalfPair {
                present: key,
                missing: cert,
            });
        }
        (false, false) => generate(&cert, &key)?,
    }
    Ok(ServerTlsFiles {
        cert,
        key,
        ca: None,
    })
}

fn generate(cert: &Path, key: &Path) -> Result<(), TlsError> {
    let failed = |error: rcgen::Error| TlsError::Generate(error.to_string());
    let pair = rcgen::KeyPair::generate().map_err(failed)?;
    let mut params = rcgen::CertificateParams::new(vec!["binrelay".into()]).map_err(failed)?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(
        rcgen::DnType::CommonName,
        "binrelay self-signed certificate",
    );
    params.distinguished_name = name;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    write_file(
        key,
        zeroize::Zeroizing::new(pair.serialize_pem()).as_bytes(),
        0o600,
    )?;
    write_file(cert, certificate.pem().as_bytes(), 0o644)
}

/// Writes beside the final name and renames, so that no half file is ever taken for a whole one.
fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let failed = |cause| TlsError::Write {
        path: path.to_owned(),
        cause,
    };
    let temporary = path.with_extension("pem.tmp");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

fn read_error(path: &Path, what: &'static str, cause: impl ToString) -> TlsError {
    TlsError::Read {
        path: path.to_owned(),
        what,
        cause: cause.to_string(),
    }
}

fn unusable(path: &Path, cause: &impl ToString) -> TlsError {
    TlsError::Unusable {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "a certificate";
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| read_error(path, what, error))?;
    if certificates.is_empty() {
        return Err(read_error(path, what, "there is none in the file"));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| read_error(path, "a private key", error))
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
}

#[derive(Debug)]
enum Verify {
    Nothing,
    Chain(RootCertStore),
    ChainAndName(RootCertStore),
}

/// Verifies as much of a server's certificate as the mode says.
#[derive(Debug)]
struct ServerVerifier {
    verify: Verify,
    provider: CryptoProvider,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (roots, with_name) = match &self.verify {
            Verify::Nothing => return Ok(ServerCertVerified::assertion()),
            Verify::Chain(roots) => (roots, false),
            Verify::ChainAndName(roots) => (roots, true),
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        if with_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // A signature by a certificate that nobody verified proves nothing, and checking it would
        // only refuse the X.509 v1 certificates that many servers were set up with.
        if matches!(self.verify, Verify::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if matches!(self.verify, Verify::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
