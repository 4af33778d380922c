use super::*;
use crate::protocol::handshake::SCRAMBLE_LENGTH;
use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};

const SCRAMBLE: [u8; SCRAMBLE_LENGTH] = *b"0123456789abcdefghij";
const NONCE: [u8; 32] = *b"0123456789abcdefghij0123456789ab";

fn from_texts(texts: &[&str]) -> StoredPassword {
    let hashes: Vec<_> = texts
        .iter()
        .map(|text| PasswordHash::parse(text).unwrap())
        .collect();
    StoredPassword::from_hashes(&hashes)
}

fn answer(plugin: AuthPlugin, password: &str) -> (Vec<u8>, Vec<u8>) {
    let password = password.as_bytes();
    match plugin {
        AuthPlugin::Native => {
            let answer = scramble_native(&SCRAMBLE, password).unwrap().to_vec();
            (SCRAMBLE.to_vec(), answer)
        }
        AuthPlugin::CachingSha2 => {
            let answer = scramble_sha256(&SCRAMBLE, password).unwrap().to_vec();
            (SCRAMBLE.to_vec(), answer)
        }
        _ => {
            let answer = create_response_for_ed25519(password, &NONCE).to_vec();
            (NONCE.to_vec(), answer)
        }
    }
}

const PLUGINS: [AuthPlugin; 3] = [
    AuthPlugin::Native,
    AuthPlugin::CachingSha2,
    AuthPlugin::Ed25519,
];

#[test]
fn only_answers_of_the_correct_password_are_accepted() {
    let stored = StoredPassword::from_plaintext("secret");
    for plugin in PLUGINS {
        for (password, right) in [("secret", true), ("Secret", false), ("secret ", false)] {
            let (scramble, answer) = answer(plugin, password);
            assert_eq!(stored.verify(plugin, &scramble, &answer), right);
            // An answer replayed to another scramble proves nothing.
            let other: Vec<u8> = scramble.iter().rev().copied().collect();
            assert!(!stored.verify(plugin, &other, &answer));
            // Neither does a truncated or longer answer, nor one checked against a decoy.
            for cut in 0..answer.len() {
                assert!(!stored.verify(plugin, &scramble, &answer[..cut]));
            }
            assert!(!stored.verify(plugin, &scramble, &[answer.as_slice(), &[0]].concat()));
            assert!(stored.decoy().has(plugin));
            assert!(!stored.decoy().verify(plugin, &scramble, &answer));
        }
    }
    assert!(!stored.verify(AuthPlugin::Clear, &SCRAMBLE, b"secret"));
    assert!(!stored.has(AuthPlugin::Clear));
}

#[test]
fn an_account_without_password_accepts_only_an_empty_answer() {
    let stored = StoredPassword::from_plaintext("");
    assert!(stored.verify(AuthPlugin::Native, &SCRAMBLE, &[]));
    assert!(stored.verify(AuthPlugin::CachingSha2, &SCRAMBLE, &[0]));
    assert!(!stored.verify(AuthPlugin::Native, &SCRAMBLE, &[0; 20]));
    // client_ed25519 signs with an empty password too.
    let (nonce, signature) = answer(AuthPlugin::Ed25519, "");
    assert!(stored.verify(AuthPlugin::Ed25519, &nonce, &signature));
    assert_eq!(stored.proof_hash(AuthPlugin::Native), None);
    for stored in [
        StoredPassword::from_plaintext("x"),
        stored.decoy(),
        from_texts(&["*C4987F29526EA7767986167BDD4CF030E94B4B5E"]),
    ] {
        assert!(!stored.verify(AuthPlugin::Native, &SCRAMBLE, &[]));
        assert!(!stored.verify(AuthPlugin::CachingSha2, &SCRAMBLE, &[0]));
        assert!(!stored.verify(AuthPlugin::Ed25519, &NONCE, &[]));
    }
}

#[test]
fn derived_hashes_are_what_servers_store() {
    // From MariaDB 11.8: IDENTIFIED BY 'repl-secret', and VIA ed25519 USING PASSWORD('…').
    let derived = StoredPassword::from_plaintext("repl-secret");
    let given = from_texts(&[
        "*C4987F29526EA7767986167BDD4CF030E94B4B5E",
        "dEyoDqsp4cE9J/oWnNASBvQBTj638U/uz7Ib7mjONIA",
    ]);
    for plugin in [AuthPlugin::Native, AuthPlugin::Ed25519] {
        assert_eq!(derived.proof_hash(plugin), given.proof_hash(plugin));
        assert!(given.proof_hash(plugin).is_some());
        let (scramble, answer) = answer(plugin, "repl-secret");
        assert!(given.verify(plugin, &scramble, &answer));
    }
    assert!(!given.has(AuthPlugin::CachingSha2));
    assert_eq!(given.proof_hash(AuthPlugin::CachingSha2), None);
    assert_eq!(format!("{derived:?}"), "StoredPassword(…)");
}

#[test]
fn a_caching_sha2_hash_is_verified_once_in_full_then_fast() {
    // From MySQL 9.7; its salts contain control characters.
    for (password, hash) in [
        (
            "repl-secret",
            "0x244124303041241252643C6B71164A17365F06514E571C0E514C69664848444A555672506751423\
             266766A333830432E38626E5945513337664E6D7836744862756D71744C34",
        ),
        (
            "a password of more than thirty-two bytes, longer than the digest",
            "0x244124303041245D1A6E1046485E254B0C4D316F4C3E7D054C7748734D7068414D4D45633539486\
             B4A584C7437453667534E5334616E65707175466C78795578436B67657236",
        ),
    ] {
        let stored = from_texts(&[&hash.replace(' ', "")]);
        let (scramble, answer) = answer(AuthPlugin::CachingSha2, password);
        assert!(!stored.verify(AuthPlugin::CachingSha2, &scramble, &answer));
        assert!(!stored.verify_clear(b"repl-secreT"));
        assert!(!stored.verify_clear(b""));
        assert!(!stored.verify_clear(&[b'x'; CACHING_SHA2_PASSWORD_LENGTH_MAX + 1]));
        assert!(!stored.verify(AuthPlugin::CachingSha2, &scramble, &answer));
        // Whichever clone received the password: all of them know it now.
        assert!(stored.clone().verify_clear(password.as_bytes()));
        assert!(stored.verify(AuthPlugin::CachingSha2, &scramble, &answer));
        assert!(!stored.decoy().verify_clear(password.as_bytes()));
    }
}
