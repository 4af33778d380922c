//! Why TLS cannot be set up.

use std::path::{Path, PathBuf};

use super::settings::TlsMode;
use crate::atomic_file::AtomicFileError;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold the expected PEM data, or cannot be read.
    #[error("{path}: cannot read {what}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kind of PEM data that was expected.
        what: &'static str,
        /// Why it could not be read.
        cause: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// Only one file of the generated pair exists.
    #[error(
        "{missing} is missing, but {present} exists: restore it, or remove both files so that a \
         new pair is generated"
    )]
    HalfPair {
        /// The file that exists.
        present: PathBuf,
        /// The file that does not.
        missing: PathBuf,
    },
    /// A setting that the mode requires is missing.
    #[error("TLS mode {mode} requires {needed}")]
    Incomplete {
        /// The mode.
        mode: TlsMode,
        /// The missing setting.
        needed: &'static str,
    },
    /// Certificate and key do not match, or one of them cannot be used.
    #[error("{path}: the certificate and its key cannot be used: {cause}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// The TLS library's error.
        cause: String,
    },
    /// A certificate could not be generated.
    #[error("cannot generate a self-signed certificate: {0}")]
    Generate(String),
    /// An RSA key pair could not be generated.
    #[error("cannot generate an RSA key pair for passwords")]
    PasswordKey,
}

pub(super) fn read_error(path: &Path, what: &'static str, cause: impl ToString) -> TlsError {
    TlsError::Read {
        path: path.to_owned(),
        what,
        cause: cause.to_string(),
    }
}

pub(super) fn unusable(path: &Path, cause: &impl ToString) -> TlsError {
    TlsError::Unusable {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}
