//! The targets of files: the configuration, small files of the data directory, and a replica's relay log.

use std::path::Path;

use binrelay::config::{Config, SourceStart};
use binrelay::data_dir::DataDir;
use binrelay::relay_log::LogDir;
use binrelay::secret::PasswordHash;

use super::last_of::last_of;
use super::scratch;

/// The input as a configuration file. No other file is read.
pub fn fuzz_configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let path = Path::new("/nowhere/binrelay.toml");
    match Config::parse_without_secrets(&text, path) {
        Ok(config) => {
            assert!(!config.sources.is_empty());
            for source in &config.sources {
                assert!(!source.host.is_empty() && source.port > 0);
                // A start that was read is printed in a form that is read again.
                let shown = source.start.to_string();
                let again = SourceStart::parse(&shown).map(|start| start.to_string());
                assert_eq!(again, Some(shown));
            }
        }
        Err(error) => {
            let text = error.to_string();
            let is_shown = |c: char| c == '\n' || !c.is_control();
            assert!(!text.is_empty() && text.chars().all(is_shown), "{text:?}");
        }
    }
    if let Ok(hash) = PasswordHash::parse(&text) {
        assert!(!hash.plugin().is_empty());
    }
}

/// The input as each small file of a data directory.
pub fn fuzz_small_files(data: &[u8]) {
    let dir = scratch().join("data");
    std::fs::create_dir_all(&dir).expect("a directory");
    let log_dir = LogDir {
        dir: dir.clone(),
        basename: "relay-bin".to_owned(),
    };
    std::fs::write(log_dir.list_path(), data).expect("a file");
    if let Ok(numbers) = log_dir.read_list() {
        log_dir.write_list(&numbers).expect("a list is written");
        assert_eq!(log_dir.read_list().expect("a list is read"), numbers);
    }
    std::fs::write(dir.join("auto.cnf"), data).expect("a file");
    if let Ok(opened) = DataDir::open(&dir, None) {
        let uuid = opened.server_uuid();
        drop(opened);
        let again = DataDir::open(&dir, None).expect("it was opened before");
        assert_eq!(again.server_uuid(), uuid);
    }
}

/// The input as a replica's relay log, for `attach --last-of`.
pub fn fuzz_last_of(data: &[u8]) {
    let path = scratch().join("last-of");
    std::fs::write(&path, data).expect("a file");
    let _ = last_of(&[path]);
}
