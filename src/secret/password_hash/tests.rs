use super::*;

/// As MariaDB 11.8 and MySQL 9.7 store a password.
const NATIVE: &str = "*C4987F29526EA7767986167BDD4CF030E94B4B5E";
const ED25519: &str = "dEyoDqsp4cE9J/oWnNASBvQBTj638U/uz7Ib7mjONIA";
const SHA2_HEX: &str = "0x244124303041241252643C6B71164A17365F06514E571C0E514C69664848444A55567\
    2506751423266766A333830432E38626E5945513337664E6D7836744862756D71744C34";
const SHA2: &str = "$A$005$abcdefghijklmnopqrst0123456789012345678901234567890123456789./a";

#[test]
fn each_form_is_recognised() {
    for (text, plugin) in [
        (NATIVE, "mysql_native_password"),
        (ED25519, "ed25519"),
        (SHA2_HEX, "caching_sha2_password"),
        (SHA2, "caching_sha2_password"),
    ] {
        let hash = PasswordHash::parse(text).unwrap();
        assert_eq!(hash.plugin(), plugin);
        assert_eq!(format!("{hash:?}"), format!("{plugin} ***"));
    }
    let lower = PasswordHash::parse(&NATIVE.to_lowercase()).unwrap();
    assert_eq!(lower, PasswordHash::parse(NATIVE).unwrap());
    let parsed = PasswordHash::parse(SHA2_HEX).unwrap();
    let PasswordHash::CachingSha2(hash) = &parsed else {
        panic!("not caching_sha2_password");
    };
    assert_eq!(hash.kilorounds, 10);
    assert_eq!(hash.salt[..4], [0x12, b'R', b'd', b'<']);
    assert_eq!(hash.digest[39..], *b"qtL4");
    assert_eq!(format!("{hash:?}"), "***");
}

#[test]
fn a_truncated_or_longer_hash_is_refused() {
    for text in [NATIVE, ED25519, SHA2_HEX, SHA2] {
        for cut in 0..text.len() {
            assert!(PasswordHash::parse(&text[..cut]).is_err(), "{text}: {cut}");
        }
        assert!(PasswordHash::parse(&format!("{text}a")).is_err(), "{text}");
    }
}

#[test]
fn other_texts_are_refused_without_repeating_them() {
    for text in [
        "secret",
        "*C4987F29526EA7767986167BDD4CF030E94B4B5G",
        "*+4987F29526EA7767986167BDD4CF030E94B4B5E",
        // Base64 of 32 bytes that are not a point of the curve; and the padded form of a key.
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "dEyoDqsp4cE9J/oWnNASBvQBTj638U/uz7Ib7mjONIA=",
        // Too few rounds, a sign in the rounds, a $ in the salt, a digit that crypt does not have.
        "$A$004$abcdefghijklmnopqrst0123456789012345678901234567890123456789./a",
        "$A$+05$abcdefghijklmnopqrst0123456789012345678901234567890123456789./a",
        "$A$005$abcdefghijklmnopqrs$0123456789012345678901234567890123456789./a",
        "$A$005$abcdefghijklmnopqrst0123456789012345678901234567890123456789.+a",
        "0xé4",
        "*é",
    ] {
        let expected = PasswordHash::parse(text).unwrap_err();
        assert!(!expected.contains(text), "{text}: {expected}");
    }
}
