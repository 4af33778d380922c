use super::*;
use crate::protocol::ServerError;
use crate::protocol::response::encode_error;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

const SCRAMBLE: [u8; SCRAMBLE_LENGTH] = *b"abcdefghijklmnopqrst";

/// Without TLS, and without a key for the password.
const PLAIN: Protection = Protection::Plain(ServerKey::Refused);

fn switch_to(name: &str, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![HEADER_SWITCH];
    put_until_nul(&mut packet, name.as_bytes());
    packet.extend_from_slice(data);
    packet
}

fn sent(step: AuthStep) -> Vec<u8> {
    match step {
        AuthStep::Send(bytes) => bytes.to_vec(),
        other => panic!("expected something to send, got {other:?}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = 0;
        for index in 0..3 {
            word = word << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[test]
fn a_native_login_succeeds() {
    let secret = Secret::new("secret");
    let mut auth = ClientAuth::new("mysql_native_password", &SCRAMBLE, &secret, PLAIN);
    let expected = scramble_native(&SCRAMBLE, b"secret").unwrap();
    assert_eq!(*auth.response().unwrap(), expected);
    let step = auth.on_packet(&OkPacket::default().encode()).unwrap();
    assert!(matches!(step, AuthStep::Done(_)));
}

#[test]
fn empty_passwords_send_no_hash() {
    let secret = Secret::default();
    let auth = ClientAuth::new("mysql_native_password", &SCRAMBLE, &secret, PLAIN);
    assert!(auth.response().unwrap().is_empty());
    let auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, PLAIN);
    assert_eq!(*auth.response().unwrap(), [0]);
}

#[test]
fn a_caching_sha2_fast_login_succeeds() {
    let secret = Secret::new("secret");
    let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, PLAIN);
    assert_eq!(
        *auth.response().unwrap(),
        scramble_sha256(&SCRAMBLE, b"secret").unwrap()
    );
    assert!(matches!(
        auth.on_packet(&encode_fast_auth_success()).unwrap(),
        AuthStep::Read
    ));
    let done = auth.on_packet(&OkPacket::default().encode()).unwrap();
    assert!(matches!(done, AuthStep::Done(_)));
}

#[test]
fn caching_sha2_full_sends_the_password_over_tls_or_for_a_trusted_key() {
    let secret = Secret::new("secret");
    let full = [HEADER_MORE_DATA, FULL_AUTH_NEEDED];
    let answer = |protection| {
        let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, protection);
        auth.on_packet(&full)
    };
    for tls in [Protection::UnverifiedTls, Protection::VerifiedTls] {
        assert_eq!(sent(answer(tls).unwrap()), b"secret\0");
    }
    assert_eq!(answer(PLAIN).unwrap_err(), AuthError::KeyNotTrusted);
    let requested = answer(Protection::Plain(ServerKey::Requested));
    assert_eq!(sent(requested.unwrap()), [REQUEST_PUBLIC_KEY]);
}

/// A man in the middle of a login without TLS, who begins with either plugin and sends his own key,
/// requested or not.
#[test]
fn a_key_that_was_not_requested_is_never_used() {
    let (_, pem) = key_pair();
    let secret = Secret::new("secret");
    for (plugin, switches) in [
        ("caching_sha2_password", false),
        ("mysql_native_password", true),
    ] {
        let mut auth = ClientAuth::new(plugin, &SCRAMBLE, &secret, PLAIN);
        if switches {
            auth.on_packet(&encode_switch(AuthPlugin::CachingSha2, &SCRAMBLE))
                .unwrap();
        }
        let mut key = vec![HEADER_MORE_DATA];
        key.extend_from_slice(pem.as_bytes());
        assert!(auth.on_packet(&key).is_err(), "{plugin}");
        let full = [HEADER_MORE_DATA, FULL_AUTH_NEEDED];
        assert_eq!(auth.on_packet(&full).unwrap_err(), AuthError::KeyNotTrusted);
        assert!(auth.on_packet(&key).is_err(), "{plugin}");
    }
}

/// An RSA key pair, the public key in PEM.
fn key_pair() -> (OaepPrivateDecryptingKey, String) {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64(der.as_ref())
    );
    (OaepPrivateDecryptingKey::new(private).unwrap(), pem)
}

#[test]
fn caching_sha2_full_by_rsa_decrypts_to_the_password() {
    let (private, pem) = key_pair();
    let secret = Secret::new("a password longer than the scramble of 20 bytes");
    let full = [HEADER_MORE_DATA, FULL_AUTH_NEEDED];
    let requested = Protection::Plain(ServerKey::Requested);
    let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, requested);
    auth.on_packet(&full).unwrap();
    let mut packet = vec![HEADER_MORE_DATA];
    packet.extend_from_slice(pem.as_bytes());
    let requested = sent(auth.on_packet(&packet).unwrap());
    let pinned = Protection::Plain(ServerKey::Pinned(pem.into_bytes()));
    let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, pinned);
    let pinned = sent(auth.on_packet(&full).unwrap());

    for encrypted in [requested, pinned] {
        let mut clear = vec![0; private.min_output_size()];
        let clear = private
            .decrypt(&OAEP_SHA1_MGF1SHA1, &encrypted, &mut clear, None)
            .unwrap();
        let clear: Vec<u8> = clear
            .iter()
            .zip(SCRAMBLE.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        assert_eq!(clear, format!("{}\0", secret.expose()).as_bytes());
    }
}

#[test]
fn an_unusable_public_key_is_reported() {
    let secret = Secret::new("secret");
    let requested = Protection::Plain(ServerKey::Requested);
    for key in [
        "",
        "no key",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        let mut auth = ClientAuth::new(
            "caching_sha2_password",
            &SCRAMBLE,
            &secret,
            requested.clone(),
        );
        auth.on_packet(&[HEADER_MORE_DATA, FULL_AUTH_NEEDED])
            .unwrap();
        let mut packet = vec![HEADER_MORE_DATA];
        packet.extend_from_slice(key.as_bytes());
        let error = auth.on_packet(&packet).unwrap_err();
        assert!(matches!(error, AuthError::PublicKey(_)), "{key:?}: {error}");
    }
}

#[test]
fn ed25519_signs_for_the_key_that_mariadb_stores() {
    // ED25519_PASSWORD('secret'), from MariaDB's documentation of the plugin.
    let stored = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY=";
    let nonce: [u8; 32] = std::array::from_fn(|index| index as u8);
    let secret = Secret::new("secret");
    let mut auth = ClientAuth::new("mysql_native_password", &SCRAMBLE, &secret, PLAIN);
    let signature = sent(
        auth.on_packet(&switch_to("client_ed25519", &nonce))
            .unwrap(),
    );
    assert_eq!(signature.len(), 64);
    UnparsedPublicKey::new(&ED25519, decode_base64(stored))
        .verify(&nonce, &signature)
        .unwrap();
}

fn decode_base64(text: &str) -> Vec<u8> {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[test]
fn the_clear_password_is_sent_over_verified_tls_only() {
    let secret = Secret::new("secret");
    let switch = switch_to("mysql_clear_password", b"");
    for protection in [
        PLAIN,
        Protection::Plain(ServerKey::Requested),
        Protection::UnverifiedTls,
    ] {
        let mut auth = ClientAuth::new("mysql_native_password", &SCRAMBLE, &secret, protection);
        let error = auth.on_packet(&switch).unwrap_err();
        assert_eq!(error, AuthError::ClearPasswordUnverified);
    }
    let verified = Protection::VerifiedTls;
    let mut auth = ClientAuth::new("mysql_native_password", &SCRAMBLE, &secret, verified);
    assert_eq!(sent(auth.on_packet(&switch).unwrap()), b"secret\0");
    // Not even a greeting that names the plugin makes the first answer clear text.
    let verified = Protection::VerifiedTls;
    let auth = ClientAuth::new("mysql_clear_password", &SCRAMBLE, &secret, verified);
    assert_eq!(auth.plugin(), AuthPlugin::Native);
}

#[test]
fn a_switch_uses_the_new_scramble() {
    let secret = Secret::new("secret");
    let other = *b"tsrqponmlkjihgfedcba";
    let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, PLAIN);
    let packet = encode_switch(AuthPlugin::Native, &other);
    let answer = sent(auth.on_packet(&packet).unwrap());
    assert_eq!(answer, scramble_native(&other, b"secret").unwrap());
    for cut in 0..packet.len() - 1 {
        let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, PLAIN);
        assert!(auth.on_packet(&packet[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn unknown_plugins_and_refusals_are_distinguished() {
    let secret = Secret::new("secret");
    let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, PLAIN);
    let error = auth
        .on_packet(&switch_to("auth_gssapi_client", b"x"))
        .unwrap_err();
    assert_eq!(
        error,
        AuthError::UnsupportedPlugin("auth_gssapi_client".into())
    );
    let error = auth.on_packet(&[HEADER_SWITCH]).unwrap_err();
    assert_eq!(
        error,
        AuthError::UnsupportedPlugin("mysql_old_password".into())
    );
    let denied = ServerError::new(1045, "Access denied");
    let error = auth.on_packet(&encode_error(&denied)).unwrap_err();
    assert_eq!(error, AuthError::Protocol(ProtocolError::Server(denied)));
}

#[test]
fn an_endless_authentication_is_an_error() {
    let secret = Secret::new("secret");
    let mut auth = ClientAuth::new("caching_sha2_password", &SCRAMBLE, &secret, PLAIN);
    let packet = encode_switch(AuthPlugin::Native, &SCRAMBLE);
    let rounds = (0..100)
        .take_while(|_| auth.on_packet(&packet).is_ok())
        .count();
    assert_eq!(rounds, ROUNDS_MAX);
}

#[test]
fn scrambles_have_no_nul_and_differ() {
    let scrambles: Vec<_> = (0..200).map(|_| new_scramble()).collect();
    assert!(
        scrambles
            .iter()
            .flatten()
            .all(|byte| (1..128).contains(byte) && *byte != b'$')
    );
    assert_ne!(scrambles[0], scrambles[1]);
}

#[test]
fn secrets_are_never_shown() {
    let secret = Secret::new("topsecret");
    assert!(!format!("{secret:?}").contains("topsecret"));
}

#[test]
fn the_certificate_proof_is_what_mariadb_clients_compute() {
    let password = crate::protocol::StoredPassword::from_plaintext("secret");
    let scramble: [u8; SCRAMBLE_LENGTH] = std::array::from_fn(|index| index as u8 + 1);
    let hash = password.proof_hash(AuthPlugin::Native).unwrap();
    let proof = certificate_proof(hash, &scramble, b"certificate");
    // Computed with another program; an 11.8 replica with default settings accepts such a proof.
    let expected = "88E2770F7B3AF4AEE2DB92972983F2BA41DE13F5AAA7A1BB1B25D43CA774B193";
    assert_eq!(proof, [b"\x01", expected.as_bytes()].concat());
}

#[test]
fn a_password_ends_with_its_nul() {
    let packet = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
    assert_eq!(
        decode_password(packet(b"pass\0"), &[]).unwrap().as_slice(),
        b"pass"
    );
    assert_eq!(decode_password(packet(b"\0"), &[]).unwrap().as_slice(), b"");
    assert!(decode_password(packet(b"pass"), &[]).is_none());
    assert!(decode_password(packet(b""), &[]).is_none());
    assert_eq!(
        decode_password(packet(&[b'p' ^ 1, 2]), &[1, 2])
            .unwrap()
            .as_slice(),
        b"p"
    );
}
