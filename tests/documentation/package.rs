//! The files that `tools/package` puts together: they exist, agree with each other, and can be read by the programs that they
//! are for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::{assert_none, read};

/// The instructions of a Containerfile (<https://docs.docker.com/reference/dockerfile/>).
const INSTRUCTIONS: [&str; 17] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The assets of the package: source, destination, mode.
fn assets() -> Vec<[String; 3]> {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let assets = assets.as_array().expect("a list");
    assets
        .iter()
        .map(|asset| {
            let words = asset.as_array().expect("a list");
            let words = words
                .iter()
                .map(|word| word.as_str().expect("a text").to_owned());
            words.collect::<Vec<_>>().try_into().expect("three words")
        })
        .collect()
}

#[test]
fn assets_of_the_package_exist() {
    let mut missing = Vec::new();
    for [source, destination, mode] in assets() {
        assert!(
            ["644", "640", "755"].contains(&mode.as_str()),
            "{source}: {mode}"
        );
        assert!(destination.starts_with("usr/") || destination.starts_with("etc/"));
        // Built by tools/package.
        if source.starts_with("target/") {
            continue;
        }
        let path = root().join(&source);
        let (directory, name) = (path.parent(), path.file_name());
        let directory = directory.expect("a directory");
        let name = name.and_then(|name| name.to_str()).expect("UTF-8");
        let is_there = match name.split_once('*') {
            None => path.is_file(),
            Some((_, end)) => directory.read_dir().is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(end))
                })
            }),
        };
        if !is_there {
            missing.push(source);
        }
    }
    assert_none("assets of Cargo.toml that do not exist", &missing);
}

#[test]
fn unit_starts_the_program_as_the_user_that_the_package_makes() {
    let unit = read("tools/package.d/binrelay.service");
    let value = |key: &str| {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        let values: Vec<&str> = lines.filter_map(|rest| rest.strip_prefix('=')).collect();
        values.concat()
    };
    let program = value("ExecStart");
    let program = program.split(' ').next().unwrap_or_default();
    let is_program = |asset: &[String; 3]| format!("/{}binrelay", asset[1]) == program;
    assert!(assets().iter().any(is_program), "{program}");
    let script = read("tools/package.d/postinst");
    assert!(
        script.contains(&format!("--no-create-home {}\n", value("User"))),
        "{script}"
    );
    let configuration: toml::Table = read("tools/package.d/binrelay.toml").parse().expect("TOML");
    let data_dir = configuration["relay"]["data_dir"].as_str().expect("a text");
    assert_eq!(data_dir, format!("/var/lib/{}", value("StateDirectory")));
    for line in unit.lines().filter(|line| !line.is_empty()) {
        let is_known = line.starts_with(['#', '[']) || line.contains('=');
        assert!(is_known, "{line}");
    }
}

#[test]
fn scripts_of_the_package_are_shell() {
    for name in ["postinst", "postrm"] {
        let path = root().join("tools/package.d").join(name);
        let output = Command::new("sh").arg("-n").arg(path).output();
        let output = output.expect("a shell");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {errors}");
    }
}

/// The rules of a linter that matter here: a fixed release, nothing left of apt, not root, a program and not a shell.
#[test]
fn containerfile_is_sound() {
    let text = read("tools/package.d/Containerfile").replace("\\\n", " ");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instructions: Vec<(&str, &str)> = lines
        .map(|line| {
            line.split_once(' ')
                .expect("an instruction and its arguments")
        })
        .collect();
    let known: BTreeSet<&str> = INSTRUCTIONS.into();
    for (instruction, _) in &instructions {
        assert!(known.contains(instruction), "{instruction}");
    }
    let of = |wanted: &str| -> Vec<&str> {
        let found = instructions
            .iter()
            .filter(|(instruction, _)| *instruction == wanted);
        found.map(|(_, arguments)| arguments.trim()).collect()
    };
    assert_eq!(instructions[0].0, "FROM");
    let image = of("FROM")[0];
    assert!(
        image.contains(':') && !image.ends_with(":latest"),
        "{image}"
    );
    assert_eq!(of("USER"), ["binrelay"]);
    for run in of("RUN") {
        let installs = run.contains("apt-get install");
        let is_clean =
            run.contains("--no-install-recommends") && run.contains("/var/lib/apt/lists/*");
        assert!(!installs || is_clean, "{run}");
    }
    for wanted in ["ENTRYPOINT", "CMD"] {
        let words: Vec<String> = serde_json::from_str(of(wanted)[0]).expect("a list of words");
        assert!(!words.is_empty());
    }
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
}

/// What counts as unhealthy is restarted by some orchestrators: not a relay that says that a source is down.
#[test]
fn degraded_relay_is_healthy() {
    let text = read("tools/package.d/Containerfile");
    let check = text.lines().find(|line| line.starts_with("HEALTHCHECK "));
    let (_, words) = check
        .and_then(|line| line.split_once(" CMD "))
        .expect("a command");
    let words: Vec<String> = serde_json::from_str(words).expect("a list of words");
    for (status, is_healthy) in [(0, true), (3, true), (1, false), (2, false), (127, false)] {
        let [shell, option, script] = words.as_slice() else {
            panic!("{words:?}");
        };
        let script = format!("binrelay() {{ return {status}; }}; {script}");
        let ended = Command::new(shell).arg(option).arg(script).status();
        assert_eq!(ended.expect("a shell").success(), is_healthy, "{status}");
    }
}
