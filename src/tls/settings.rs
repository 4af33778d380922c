//! TLS settings of both sides, as the configuration gives them.

use std::fmt;
use std::path::PathBuf;

/// How a client uses TLS; the modes are those of MySQL's `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// If the server offers it; its certificate is not verified.
    #[default]
    Preferred,
    /// Always; the server's certificate is not verified.
    Required,
    /// Always; the certificate must be signed, directly or through a chain, by one in `ca`.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must be for the host name.
    VerifyIdentity,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsMode::Disabled => "disabled",
            TlsMode::Preferred => "preferred",
            TlsMode::Required => "required",
            TlsMode::VerifyCa => "verify_ca",
            TlsMode::VerifyIdentity => "verify_identity",
        })
    }
}

/// A client's TLS settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Whether TLS is used, and what is verified.
    pub mode: TlsMode,
    /// PEM file of trusted certificates; required by the two modes that verify.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's own certificate; requires `key`.
    pub cert: Option<PathBuf>,
    /// PEM file of the client's own private key; requires `cert`.
    pub key: Option<PathBuf>,
}

/// The PEM files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The certificate, followed by the intermediate certificates up to its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Trusted authorities of clients' certificates. Clients without a certificate are accepted,
    /// as in MySQL.
    pub ca: Option<PathBuf>,
}
