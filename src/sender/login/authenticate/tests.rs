use super::super::tests::{account, client, options_with, serve};
use super::*;
use crate::connection::client::connect;
use crate::protocol::capability::SERVER_SIDE;
use crate::secret::PasswordHash;
use crate::tls::TlsMode;
use AuthPlugin::{CachingSha2, Ed25519, Native};

/// Of `repl-secret`, as MariaDB 11.8 and MySQL 9.7 store it.
const NATIVE: &str = "*C4987F29526EA7767986167BDD4CF030E94B4B5E";
const ED25519: &str = "dEyoDqsp4cE9J/oWnNASBvQBTj638U/uz7Ib7mjONIA";
const SHA2: &str = "0x244124303041241252643C6B71164A17365F06514E571C0E514C69664848444A55567\
    2506751423266766A333830432E38626E5945513337664E6D7836744862756D71744C34";

fn stored(texts: &[&str]) -> StoredPassword {
    let hashes: Vec<_> = texts
        .iter()
        .map(|text| PasswordHash::parse(text).unwrap())
        .collect();
    StoredPassword::from_hashes(&hashes)
}

#[tokio::test]
async fn every_hash_logs_in_with_and_without_tls_whatever_the_greeting_names() {
    for hash in [NATIVE, ED25519, SHA2] {
        for greeting in [Native, CachingSha2] {
            for with_tls in [false, true] {
                let account = account("repl", stored(&[hash]));
                for (user, password, works) in [
                    ("repl", "repl-secret", true),
                    ("repl", "repl-secreT", false),
                    ("nobody", "repl-secret", false),
                ] {
                    let options = options_with(vec![account.clone()], greeting);
                    let server = serve(options, with_tls).await;
                    let connecting = client(server.address, user, password, TlsMode::Preferred);
                    let outcome = connect(&connecting).await;
                    let case = format!("{hash} {greeting:?} {with_tls} {user} {password}");
                    match outcome {
                        Ok((connection, _)) => {
                            assert!(works, "{case}");
                            assert_eq!(connection.is_tls(), with_tls, "{case}");
                        }
                        Err(error) => {
                            assert!(!works && error.is_access_denied(), "{case}: {error}");
                        }
                    }
                    assert_eq!(server.outcome.await.unwrap().is_ok(), works, "{case}");
                }
            }
        }
    }
}

fn response(plugin: &str, answer: &[u8]) -> HandshakeResponse {
    HandshakeResponse {
        capabilities: SERVER_SIDE,
        packet_length_max: 1 << 24,
        collation: 45,
        user: "repl".to_owned(),
        auth_response: Zeroizing::new(answer.to_vec()),
        database: None,
        auth_plugin: plugin.to_owned(),
        attributes: Vec::new(),
        zstd_level: 0,
    }
}

#[test]
fn the_plugin_depends_on_the_account_and_the_client() {
    const OLD: &str = "mysql_native_password";
    const NEW: &str = "caching_sha2_password";
    let all = StoredPassword::from_plaintext("x");
    let (native, ed25519, sha2) = (stored(&[NATIVE]), stored(&[ED25519]), stored(&[SHA2]));
    let both = stored(&[ED25519, SHA2]);
    for (password, greeting, named, answer, expected) in [
        (&all, Native, OLD, "x", Next::Answered(Native)),
        (&all, CachingSha2, NEW, "x", Next::Answered(CachingSha2)),
        // No password.
        (&all, Native, OLD, "", Next::Answered(Native)),
        // A 9.7 client of a relay with an old version, and a 5.6 client of a relay with a new
        // one, have ignored the scramble.
        (&all, Native, NEW, "", Next::Switch(CachingSha2)),
        (&all, CachingSha2, OLD, "", Next::Switch(Native)),
        (&native, CachingSha2, NEW, "x", Next::Switch(Native)),
        (&sha2, Native, OLD, "x", Next::Switch(CachingSha2)),
        (&ed25519, Native, OLD, "x", Next::Switch(Ed25519)),
        (
            &ed25519,
            Native,
            "client_ed25519",
            "x",
            Next::Switch(Ed25519),
        ),
        // MariaDB's client does not have caching_sha2_password if it reports the fallback.
        (
            &both,
            CachingSha2,
            FALLBACK_PLUGIN,
            "",
            Next::Switch(Ed25519),
        ),
        (&both, Native, OLD, "x", Next::Switch(Ed25519)),
        (&both, Native, NEW, "x", Next::Answered(CachingSha2)),
        (
            &all,
            CachingSha2,
            "sha256_password",
            "x",
            Next::Switch(CachingSha2),
        ),
        (&all, Native, "sha256_password", "x", Next::Switch(Native)),
    ] {
        let response = response(named, answer.as_bytes());
        let found = next(password, &response, greeting);
        assert_eq!(found, expected, "{named} to a greeting with {greeting:?}");
        // An unknown user is treated the same way.
        assert_eq!(next(&password.decoy(), &response, greeting), expected);
    }
    let mut old = response("", b"x");
    old.capabilities &= !CLIENT_PLUGIN_AUTH;
    assert_eq!(next(&native, &old, CachingSha2), Next::Answered(Native));
    assert_eq!(next(&sha2, &old, CachingSha2), Next::Impossible);
}

#[tokio::test]
async fn unknown_user_always_gets_the_same_decoy() {
    let users = async |dir: &std::path::Path| {
        let key = PasswordKey::open(dir).unwrap();
        key.ready().await;
        let accounts = vec![
            account("a", stored(&[NATIVE])),
            account("b", stored(&[ED25519])),
        ];
        let accounts = super::super::Accounts::new(accounts, key.into());
        (0..32)
            .map(|number| {
                let (found, password) = accounts.find(&format!("unknown{number}"), None);
                assert!(found.is_none());
                password.has(Native)
            })
            .collect::<Vec<bool>>()
    };
    let dir = tempfile::tempdir().unwrap();
    let first = users(dir.path()).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(users(dir.path()).await, first, "after a restart");
}
