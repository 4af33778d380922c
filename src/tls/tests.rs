use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_self_signed_certificate_is_generated_once_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = server_config(None, dir.path()).unwrap();
    let second = server_config(None, dir.path()).unwrap();
    assert_eq!(first.certificate, second.certificate);
    let key = std::fs::metadata(dir.path().join(SERVER_KEY_FILE)).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let mut names: Vec<_> = dir
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, [SERVER_CERTIFICATE_FILE, SERVER_KEY_FILE]);
}

#[test]
fn an_incomplete_pair_is_reported_and_not_overwritten() {
    for lost in [SERVER_KEY_FILE, SERVER_CERTIFICATE_FILE] {
        let dir = tempfile::tempdir().unwrap();
        server_config(None, dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(lost)).unwrap();
        let error = server_config(None, dir.path()).unwrap_err();
        assert!(matches!(&error, TlsError::HalfPair { missing, .. } if missing.ends_with(lost)));
        assert!(!dir.path().join(lost).exists());
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    server_config(None, one.path()).unwrap();
    server_config(None, two.path()).unwrap();
    let files = ServerTlsFiles {
        cert: one.path().join(SERVER_CERTIFICATE_FILE),
        key: two.path().join(SERVER_KEY_FILE),
        ca: None,
    };
    let error = server_config(Some(&files), one.path()).unwrap_err();
    assert!(matches!(error, TlsError::Unusable { .. }), "{error}");
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let tls = ClientTls {
        mode: TlsMode::VerifyCa,
        ca: Some(ca.clone()),
        ..ClientTls::default()
    };
    let error = client_config(&tls).unwrap_err().to_string();
    assert!(
        error.contains("ca.pem: cannot read a certificate"),
        "{error}"
    );
    std::fs::write(&ca, "not PEM").unwrap();
    let error = client_config(&tls).unwrap_err().to_string();
    assert!(
        error.contains("ca.pem") && error.contains("the file contains none"),
        "{error}"
    );
}

#[test]
fn modes_require_their_settings() {
    for mode in [TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        let error = client_config(&ClientTls {
            mode,
            ..ClientTls::default()
        })
        .unwrap_err();
        assert!(
            matches!(error, TlsError::Incomplete { needed: "ca", .. }),
            "{error}"
        );
    }
    let disabled = ClientTls {
        mode: TlsMode::Disabled,
        ..ClientTls::default()
    };
    assert!(client_config(&disabled).unwrap().is_none());
    for mode in [TlsMode::Preferred, TlsMode::Required] {
        let config = client_config(&ClientTls {
            mode,
            ..ClientTls::default()
        })
        .unwrap();
        assert!(config.is_some(), "{mode:?}");
    }
    let half = ClientTls {
        cert: Some("client.pem".into()),
        ..ClientTls::default()
    };
    assert!(matches!(
        client_config(&half),
        Err(TlsError::Incomplete { .. })
    ));
}

/// At a first start the sources need the processor.
#[tokio::test]
async fn key_pair_is_generated_when_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let key = PasswordKey::open(dir.path()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let private = dir.path().join(PRIVATE_KEY_FILE);
    assert!(!private.exists() && key.public_pem().is_empty());
    // Said twice: by two clients.
    tokio::join!(key.ready(), key.ready());
    assert!(private.exists() && dir.path().join(PUBLIC_KEY_FILE).exists());
    let again = PasswordKey::open(dir.path()).unwrap();
    assert_eq!(again.public_pem(), key.public_pem());
}
