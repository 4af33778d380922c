//! The file is what was changed, and nothing of it is shown.

use std::os::unix::fs::PermissionsExt;

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::*;
use crate::data_file::crash_states::check_all;
use crate::data_file::recorder::{Fault, Recorder};
use crate::position::SourcePosition;
use crate::tls::TlsMode;

fn everything() -> ChangedSettings {
    ChangedSettings {
        host: Some("db9".to_owned()),
        port: Some(3309),
        user: Some("other".to_owned()),
        password: Some(Secret::new("it's \"hot\"\\\n[x]")),
        start: Some(SourceStart::FilePosition(SourcePosition::new(
            "bin.000002",
            4,
        ))),
        auto_position: Some(false),
        connect_retry: Some(Duration::from_secs(90)),
        read_timeout: Some(Duration::from_millis(1500)),
        get_source_public_key: Some(true),
        source_public_key_file: Some("/keys/m1.pem".into()),
        tls: Some(ClientTls {
            mode: TlsMode::VerifyIdentity,
            ca: Some("/tls/ca.pem".into()),
            cert: Some("/tls/cert.pem".into()),
            key: Some("/tls/key.pem".into()),
        }),
    }
}

#[test]
fn changes_are_read_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        ChannelChanges::load(dir.path())
            .unwrap()
            .channels
            .is_empty()
    );
    let mut changes = ChannelChanges::default();
    changes.change("m1", |channel| channel.settings.update(everything()));
    changes.change("m2", |channel| channel.is_stopped = true);
    changes.change("m3", |channel| {
        channel.is_added = true;
        channel.settings.update(everything());
    });
    changes.change("m4", |channel| channel.is_removed = true);
    changes.change("m5", |_| {});
    changes.save(dir.path()).unwrap();
    let path = dir.path().join(FILE);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = ChannelChanges::load(dir.path()).unwrap();
    assert_eq!(format!("{read:?}"), format!("{changes:?}"));
    assert!(!format!("{read:?}").contains("hot"));
    let names: Vec<&str> = read.channels.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["m1", "m2", "m3", "m4"], "m5 has no change");

    let mut configured =
        ["m1", "m2", "m4"].map(|name| SourceConfig::added(name, &SharedFilter::default()));
    configured[0].password_file = Some("/old".into());
    let wanted = read.apply(&configured, &SharedFilter::default());
    let [m1, m2, m3] = &wanted[..] else {
        panic!("{wanted:?}");
    };
    assert_eq!((m1.config.host.as_str(), m1.config.port), ("db9", 3309));
    assert_eq!(m1.config.password.expose(), "it's \"hot\"\\\n[x]");
    assert_eq!(m1.config.password_file, None);
    assert_eq!(m1.config.connect_retry_max, Duration::from_secs(90));
    assert_eq!(m1.config.auto_position, Some(false));
    assert_eq!(m1.changed.len(), 11, "{:?}", m1.changed);
    assert!(m2.is_stopped && m2.changed.is_empty() && m2.config.has_same_settings(&configured[1]));
    assert_eq!(
        (m3.config.name.as_str(), m3.changed.as_slice()),
        ("m3", &["added"][..])
    );
    assert!(!m3.is_stopped);
    let sentences = read.sentences(&configured, dir.path());
    assert_eq!(sentences.len(), 4, "{sentences:?}");
    assert!(!sentences.concat().contains("hot"), "{sentences:?}");
    // What is as it was configured again needs no entry.
    let mut changes = read;
    changes.change("m2", |channel| channel.is_stopped = false);
    changes.forget("m4");
    assert!(changes.get("m2").is_none() && changes.get("m4").is_none());
}

#[test]
fn anything_else_is_refused_without_showing_it() {
    for text in [
        "[[channel]]\nname = \"m1\"\npassword = \"s3cret\" x",
        "[[channel]]\nname = \"m1\"\npassword = [\"s3cret\"]",
        "[[channel]]\nname = \"m1\"\npasswort = \"s3cret\"",
        "[[channel]]\nname = \"m1\"\npassword = 7316773",
        "[[channel]]\nname = \"m1\"\npassword = 7316773.5",
        "[[channel]]\nname = \"m1\"\npassword = s3cret",
        "[[channel]]\nname = \"m1\"\nport = \"s3cret\"",
        "[[channel]]\nname = \"m1\"\ntls = \"s3cret\"",
        "[[channel]]\nname = \"m1\"\nadded = \"s3cret\"",
        "channel = \"s3cret\"",
        "[[channel]]\nname = \"m 1\"",
        "[[channel]]\nstopped = true",
        "[[channel]]\nname = \"m1\"\nport = 0",
        "[[channel]]\nname = \"m1\"\nport = 70000",
        "[[channel]]\nname = \"m1\"\nhost = \"a b\"",
        "[[channel]]\nname = \"m1\"\nuser = \"\"",
        "[[channel]]\nname = \"m1\"\nstart = \"x\"",
        "[[channel]]\nname = \"m1\"\nconnect_retry = \"x\"",
        "[[channel]]\nname = \"m1\"\ntls = { mode = \"verify_ca\" }",
        "[[channel]]\nname = \"m1\"\ntls = { mode = \"on\" }",
        "[[channel]]\nname = \"m1\"\nadded = true",
        "[[channel]]\nname = \"m1\"\n[[channel]]\nname = \"m1\"",
        "x = 1",
    ] {
        let problem = ChannelChanges::parse(text).unwrap_err();
        let shows = problem.contains("s3cret") || problem.contains("7316773");
        assert!(!shows, "{problem}");
    }
    let wrong_type = ChannelChanges::parse("[[channel]]\nname = \"m1\"\npassword = 1");
    assert_eq!(
        wrong_type.unwrap_err(),
        "line 3 is not a key with a valid value"
    );
}

/// What four statements in turn leave in the file.
fn versions() -> Vec<ChannelChanges> {
    let mut changes = ChannelChanges::default();
    let mut versions = vec![changes.clone()];
    let mut next = |change: &dyn Fn(&mut ChannelChanges)| {
        change(&mut changes);
        versions.push(changes.clone());
    };
    next(&|changes| changes.change("m1", |channel| channel.is_stopped = true));
    next(&|changes| {
        changes.change("m3", |channel| {
            channel.is_added = true;
            channel.settings.update(everything());
        });
    });
    next(&|changes| changes.change("m1", |channel| channel.is_stopped = false));
    next(&|changes| changes.change("m2", |channel| channel.is_removed = true));
    versions
}

/// Which version the file has; it must be readable.
fn found(versions: &[ChannelChanges], dir: &Path) -> usize {
    let found = format!("{:?}", ChannelChanges::load(dir).unwrap());
    let is_found = |version: &ChannelChanges| format!("{version:?}") == found;
    versions
        .iter()
        .position(is_found)
        .expect("one of the versions")
}

#[test]
fn a_crash_leaves_what_a_statement_has_changed() {
    let versions = versions();
    let count = check_all(
        |dir, promised| {
            for (number, version) in (0..).zip(&versions) {
                version.save(dir).unwrap();
                promised.store(number, Ordering::SeqCst);
            }
        },
        |dir, promised| {
            let found = found(&versions, dir);
            assert!(found as u64 >= promised, "after {promised}: {found}");
            versions[1].save(dir).unwrap();
            assert_eq!(self::found(&versions, dir), 1);
        },
    );
    println!("{count} states after a crash");
    assert!(count > 200, "{count} states");
}

#[test]
fn an_error_at_any_operation_leaves_the_old_file_or_the_new_one() {
    let versions = versions();
    for errno in [Errno::IO, Errno::NOSPC, Errno::MFILE, Errno::ROFS] {
        for (from, short) in (0..).zip([false, true].into_iter().cycle()) {
            let dir = tempfile::tempdir().unwrap();
            versions[1].save(dir.path()).unwrap();
            let (recorder, _attached) = Recorder::attach(dir.path());
            let count = 1;
            recorder.set_fault(Some(Fault {
                from,
                count,
                errno,
                short,
            }));
            let saved = versions[2].save(dir.path());
            if recorder.failed() == 0 {
                assert!(from > 4, "{from} operations");
                break;
            }
            recorder.set_fault(None);
            let found = found(&versions, dir.path());
            assert!(matches!(found, 1 | 2), "{errno}, operation {from}: {found}");
            assert!(saved.is_err() || found == 2, "{errno}, operation {from}");
            versions[3].save(dir.path()).unwrap();
            assert_eq!(self::found(&versions, dir.path()), 3);
        }
    }
}
