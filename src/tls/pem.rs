//! Reading certificates and keys from PEM files.

use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};

use super::error::{TlsError, read_error, unusable};

/// The most bytes that are read of a public key's file.
const PUBLIC_KEY_SIZE_MAX: u64 = 64 << 10;

pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "a certificate";
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| read_error(path, what, error))?;
    if certificates.is_empty() {
        return Err(read_error(path, what, "the file contains none"));
    }
    Ok(certificates)
}

pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| read_error(path, "a private key", error))
}

/// Reads an RSA public key, as a server's `public_key.pem` has it. The PEM text is returned.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read_public_key(path: &Path) -> Result<Vec<u8>, TlsError> {
    let what = "an RSA public key";
    let failed = |cause: &dyn std::fmt::Display| read_error(path, what, cause);
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PUBLIC_KEY_SIZE_MAX).read_to_end(&mut pem))
        .map_err(|error| failed(&error))?;
    SubjectPublicKeyInfoDer::from_pem_slice(&pem).map_err(|error| failed(&error))?;
    Ok(pem)
}

pub(super) fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
}
