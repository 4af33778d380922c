//! TLS towards sources: as much verification of their certificates as the mode demands.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::{TlsError, unusable};
use super::pem::{read_certificates, read_key, read_roots};
use super::provider::install_crypto_provider;
use super::settings::{ClientTls, TlsMode};

/// The client configuration for a mode; None in mode disabled.
///
/// # Errors
/// A file cannot be used, or a setting that the mode requires is missing.
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

#[derive(Debug)]
enum Verify {
    Nothing,
    Chain(RootCertStore),
    ChainAndName(RootCertStore),
}

/// Verifies as much of a server's certificate as the mode demands.
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
        // A signature by an unverified certificate proves nothing, and checking it would only
        // refuse the X.509 v1 certificates that many servers use.
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
