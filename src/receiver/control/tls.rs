//! The control connection's TLS, by the modes of the dump connection.

use mysql_async::{ClientIdentity, SslOpts};

use crate::tls::{ClientTls, TlsMode};

/// The host name against which mysql_async checks a certificate whose name is to be ignored.
///
/// mysql_async 0.37 checks the whole certificate and then tolerates the error of the name check,
/// which it recognises by `NotValidForName` in its text. rustls has replaced that text by one that
/// quotes the expected host name, so this name restores the tolerance. The name is checked after
/// the chain: a certificate that does not lead to `ca` still fails with another error.
const IGNORED_NAME: &str = "NotValidForName";

/// mysql_async's settings; `None` in mode disabled.
pub(super) fn ssl_opts(tls: &ClientTls) -> Option<SslOpts> {
    let opts = match tls.mode {
        TlsMode::Disabled => return None,
        TlsMode::Preferred | TlsMode::Required => SslOpts::default()
            .with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true),
        TlsMode::VerifyCa => verified(tls)
            .with_danger_skip_domain_validation(true)
            .with_danger_tls_hostname_override(Some(IGNORED_NAME)),
        TlsMode::VerifyIdentity => verified(tls),
    };
    let identity = tls.cert.clone().zip(tls.key.clone());
    let identity = identity.map(|(cert, key)| ClientIdentity::new(cert.into(), key.into()));
    Some(opts.with_client_identity(identity))
}

/// Trusts only the certificates in `ca`.
fn verified(tls: &ClientTls) -> SslOpts {
    SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(tls.ca.iter().map(|path| path.clone().into()).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn with_mode(mode: TlsMode) -> Option<SslOpts> {
        ssl_opts(&ClientTls {
            mode,
            ca: Some(PathBuf::from("ca.pem")),
            cert: Some(PathBuf::from("cert.pem")),
            key: Some(PathBuf::from("key.pem")),
        })
    }

    #[test]
    fn modes_are_those_of_the_dump_connection() {
        assert!(with_mode(TlsMode::Disabled).is_none());
        for mode in [TlsMode::Preferred, TlsMode::Required] {
            let opts = with_mode(mode).unwrap();
            assert!(opts.accept_invalid_certs(), "{mode:?}");
        }
        for (mode, is_name_skipped) in [(TlsMode::VerifyCa, true), (TlsMode::VerifyIdentity, false)]
        {
            let opts = with_mode(mode).unwrap();
            assert!(!opts.accept_invalid_certs(), "{mode:?}");
            assert!(opts.disable_built_in_roots(), "{mode:?}");
            assert_eq!(opts.root_certs().len(), 1, "{mode:?}");
            assert_eq!(opts.skip_domain_validation(), is_name_skipped, "{mode:?}");
            assert!(opts.client_identity().is_some(), "{mode:?}");
        }
    }
}
