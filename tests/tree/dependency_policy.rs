//! Which packages may be in `Cargo.lock`: licences, banned crates, sources.
//!
//! Own code and not cargo-deny: this must run on a machine that has Rust and nothing else, and
//! cargo-deny takes minutes to build there. It can be run beside this (`cargo deny check` looks at
//! advisories too, which need the network); what must hold is here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Permissive licences: notice and disclaimer, nothing that reaches the program's own source.
const LICENCES_ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Licences of single packages beyond that: (package, licence, why it is all right).
const LICENCE_EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "webpki-roots",
    "CDLA-Permissive-2.0",
    "data, not code: Mozilla's root certificates; permissive; comes with mysql_async's rustls-tls",
)];

/// Licence exceptions (`… WITH …`) that only give further permissions.
const LICENCE_ADDITIONS: &[&str] = &["LLVM-exception"];

/// Packages that must not be in the lock file at all, and why.
const BANNED: &[(&str, &str)] = &[
    (
        "rsa",
        "timing side channel (RUSTSEC-2023-0071); aws-lc-rs has RSA-OAEP",
    ),
    ("openssl", "TLS is rustls with aws-lc-rs; no system library"),
    (
        "openssl-sys",
        "TLS is rustls with aws-lc-rs; no system library",
    ),
    (
        "native-tls",
        "TLS is rustls with aws-lc-rs; no system library",
    ),
    ("mysqlclient-sys", "the protocol is the project's own; GPL"),
    (
        "async-std",
        "one runtime: tokio; discontinued (RUSTSEC-2025-0052)",
    ),
    ("smol", "one runtime: tokio"),
    ("chrono", "one clock: jiff"),
    ("failure", "unmaintained; thiserror"),
    ("serde_yaml", "unmaintained"),
    ("atty", "unsound; std::io::IsTerminal"),
    ("users", "unmaintained"),
    ("ansi_term", "unmaintained"),
    ("net2", "unmaintained; socket2"),
];

/// Packages that must not be compiled into anything here, though `Cargo.lock` may name them.
/// ring: a second crypto library beside aws-lc-rs. rustls-webpki can be built on either, so that
/// the lock file and `cargo metadata` name ring, but no feature that is on here asks for it.
const NOT_COMPILED: &[&str] = &["ring"];

/// Packages that `Cargo.toml` must not ask for itself; others may depend on them.
const NOT_DIRECT: &[(&str, &str)] = &[
    ("lazy_static", "std::sync::LazyLock"),
    ("once_cell", "std::sync::OnceLock, LazyLock"),
    ("log", "tracing"),
    ("ring", "aws-lc-rs"),
    ("time", "jiff"),
    ("libc", "rustix: no unsafe"),
    (
        "async-trait",
        "async functions in traits are in the language",
    ),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The output of `cargo`. Without the network first; a machine that has only ever built this lacks
/// downloaded what no feature asks for, and fetches those manifests once.
fn cargo(arguments: &[&str]) -> String {
    let run = |offline: &[&str]| {
        Command::new(env!("CARGO"))
            .args(arguments)
            .arg("--locked")
            .args(offline)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo starts")
    };
    let mut output = run(&["--offline"]);
    if !output.status.success() {
        output = run(&[]);
    }
    assert!(
        output.status.success(),
        "cargo {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Only what this machine's target can use: others' packages need not have been downloaded.
/// The lock file's packages without that limit are read from `Cargo.lock`.
fn metadata() -> Value {
    let version = Command::new(env!("CARGO"))
        .args(["--version", "--verbose"])
        .output()
        .expect("cargo starts");
    let version = String::from_utf8(version.stdout).expect("UTF-8");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo says its host");
    let text = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        host,
    ]);
    serde_json::from_str(&text).expect("cargo metadata prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// `Cargo.lock`: (name, source) of every package.
fn locked_packages() -> Vec<(String, Option<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = std::fs::read_to_string(path).expect("Cargo.lock is committed");
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("[[package]]");
    let field = |package: &toml::Value, key| package.get(key)?.as_str().map(str::to_owned);
    packages
        .iter()
        .map(|package| {
            (
                field(package, "name").expect("a name"),
                field(package, "source"),
            )
        })
        .collect()
}

/// Whether the SPDX expression can be fulfilled with licences for which `allowed` holds: of an OR
/// one side, of an AND both. `/` is the old spelling of OR.
fn fulfils(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let result = any_of(&words, &mut at, allowed)?;
    if at != words.len() {
        return Err(format!("{:?} is left over", words[at]));
    }
    Ok(result)
}

fn any_of(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut result = all_of(words, at, allowed)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        result |= all_of(words, at, allowed)?;
    }
    Ok(result)
}

fn all_of(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut result = one_of(words, at, allowed)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        result &= one_of(words, at, allowed)?;
    }
    Ok(result)
}

fn one_of(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let word = *words.get(*at).ok_or("it ends in the middle")?;
    *at += 1;
    match word {
        "(" => {
            let result = any_of(words, at, allowed)?;
            if words.get(*at) != Some(&")") {
                return Err("a bracket is not closed".to_owned());
            }
            *at += 1;
            Ok(result)
        }
        ")" | "OR" | "AND" | "WITH" => Err(format!("{word} where a licence was expected")),
        licence if words.get(*at) == Some(&"WITH") => {
            let addition = *words.get(*at + 1).ok_or("it ends in the middle")?;
            *at += 2;
            Ok(allowed(licence) && LICENCE_ADDITIONS.contains(&addition))
        }
        licence => Ok(allowed(licence)),
    }
}

#[test]
fn every_licence_is_allowed() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "cargo metadata lists the dependencies");
    let mut findings = Vec::new();
    let mut unused: BTreeSet<&str> = LICENCE_EXCEPTIONS.iter().map(|row| row.0).collect();
    for package in packages {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        let exception = LICENCE_EXCEPTIONS.iter().find(|row| row.0 == name);
        unused.remove(name);
        let allowed = |licence: &str| {
            LICENCES_ALLOWED.contains(&licence) || exception.is_some_and(|row| row.1 == licence)
        };
        match fulfils(licence, &allowed) {
            Ok(true) => {}
            Ok(false) => findings.push(format!("{name}: {licence}")),
            Err(problem) => findings.push(format!("{name}: {licence:?}: {problem}")),
        }
    }
    assert!(
        findings.is_empty(),
        "licences:\n  {}",
        findings.join("\n  ")
    );
    assert!(
        unused.is_empty(),
        "exceptions that nothing needs: {unused:?}"
    );
}

#[test]
fn no_banned_package() {
    let locked: BTreeMap<String, Option<String>> = locked_packages().into_iter().collect();
    for (name, why) in BANNED {
        assert!(!locked.contains_key(*name), "{name} is banned: {why}");
    }
}

#[test]
fn cargo_toml_asks_for_no_superseded_package() {
    let metadata = metadata();
    let root = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .find(|package| package["name"] == "binrelay")
        .expect("this package");
    for dependency in root["dependencies"].as_array().expect("dependencies") {
        let name = text(dependency, "name");
        if let Some((_, instead)) = NOT_DIRECT.iter().find(|row| row.0 == name) {
            panic!("Cargo.toml asks for {name}: use {instead}");
        }
    }
}

/// What `cargo tree` lists is what features really switch on; `cargo metadata` lists more.
#[test]
fn one_crypto_library_is_compiled() {
    let tree = cargo(&[
        "tree", "--prefix", "none", "--edges", "all", "--format", "{p}",
    ]);
    let compiled: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(compiled.contains("aws-lc-rs"), "{compiled:?}");
    for name in NOT_COMPILED {
        assert!(
            !compiled.contains(name),
            "{name} is compiled: see cargo tree -i {name}"
        );
    }
}

#[test]
fn every_package_comes_from_crates_io() {
    for (name, source) in locked_packages() {
        match source.as_deref() {
            Some(CRATES_IO) => {}
            None => assert_eq!(name, "binrelay", "a package of a path"),
            Some(other) => panic!("{name} comes from {other}"),
        }
    }
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = |licence: &str| matches!(licence, "MIT" | "Apache-2.0");
    let cases = [
        ("MIT", Ok(true)),
        ("GPL-2.0", Ok(false)),
        ("GPL-2.0 OR MIT", Ok(true)),
        ("GPL-2.0/MIT", Ok(true)),
        ("GPL-2.0 AND MIT", Ok(false)),
        ("MIT OR Apache-2.0 AND GPL-2.0", Ok(true)), // AND binds tighter
        ("(MIT OR Apache-2.0) AND GPL-2.0", Ok(false)),
        ("(MIT OR GPL-2.0) AND (Apache-2.0)", Ok(true)),
        ("Apache-2.0 WITH LLVM-exception", Ok(true)),
        ("Apache-2.0 WITH Unknown-exception", Ok(false)),
    ];
    for (expression, expected) in cases {
        assert_eq!(fulfils(expression, &allowed), expected, "{expression}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT MIT"] {
        assert!(fulfils(broken, &allowed).is_err(), "{broken}");
    }
}
