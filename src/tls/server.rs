//! TLS for connections of replicas and clients: the configured certificate, or a self-signed one.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use zeroize::Zeroizing;

use super::error::{TlsError, read_error, unusable};
use super::pem::{read_certificates, read_key, read_roots};
use super::provider::install_crypto_provider;
use super::settings::ServerTlsFiles;
use crate::atomic_file;

/// The self-signed certificate's file in the data directory.
pub const SERVER_CERTIFICATE_FILE: &str = "server-cert.pem";
/// The self-signed certificate's private key in the data directory.
pub const SERVER_KEY_FILE: &str = "server-key.pem";

/// Permission bits of a certificate.
const CERTIFICATE_MODE: u32 = 0o640;
/// Permission bits of a private key.
const KEY_MODE: u32 = 0o600;

/// A server's TLS: the configuration, and the certificate that clients will see.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// For the acceptor.
    pub config: Arc<ServerConfig>,
    /// The server's own certificate, DER; MariaDB's certificate proof is computed over it.
    pub certificate: CertificateDer<'static>,
}

/// The configuration for a listener: from `files`, or from a self-signed certificate that is
/// generated in `data_dir` on the first start.
///
/// # Errors
/// A file cannot be read, written or used.
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
            "the file contains none",
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

/// The files of the self-signed pair, which is generated if neither exists.
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
    let key_pem = Zeroizing::new(pair.serialize_pem());
    atomic_file::replace(key, key_pem.as_bytes(), KEY_MODE)?;
    atomic_file::replace(cert, certificate.pem().as_bytes(), CERTIFICATE_MODE)?;
    Ok(())
}
