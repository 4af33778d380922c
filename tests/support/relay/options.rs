//! What a test sets in the configuration of the relay, and around it.

use std::path::{Path, PathBuf};

use crate::support::servers::{REPL_PASSWORD, REPL_USER, Server, UNPRIVILEGED_USER};

/// The relay's own server_id in every test.
pub const RELAY_SERVER_ID: u32 = 900;

#[derive(Clone, Debug)]
pub struct SourceOptions {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// A file with the password of `user`, instead of that of all tests.
    pub password_file: Option<PathBuf>,
    /// None: `earliest`, the relay's default.
    pub start: Option<String>,
    pub auto_position: Option<bool>,
    /// Further lines of the `[[source]]` section.
    pub extra: Vec<String>,
}

impl SourceOptions {
    pub fn at(name: &str, port: u16) -> SourceOptions {
        SourceOptions {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            user: REPL_USER.to_owned(),
            password_file: None,
            start: None,
            auto_position: None,
            // A killed master is back within seconds; growing to a minute would only cost time.
            extra: vec![
                "connect_retry = \"200ms\"".to_owned(),
                "connect_retry_max = \"1s\"".to_owned(),
            ],
        }
    }

    pub fn of(name: &str, server: &Server) -> SourceOptions {
        SourceOptions::at(name, server.port)
    }
}

#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The program; the one that was built with the tests unless a measurement compares others.
    pub program: PathBuf,
    pub server_id: u32,
    /// The address in `listen`, as it is written before a port.
    pub listen_on: String,
    /// A port that is free where the program runs, if that is another host.
    pub port: Option<u16>,
    pub sources: Vec<SourceOptions>,
    /// Empty: no filter.
    pub replicate_do_db: Vec<String>,
    /// Further lines of `[relay]` and `[log]`.
    pub relay_extra: Vec<String>,
    pub log_extra: Vec<String>,
    /// Lines of `[admin]`.
    pub admin_extra: Vec<String>,
    /// Accounts beyond the two of all tests, by name and stored hash; they may replicate.
    pub hashed_users: Vec<(String, String)>,
    /// Where its directory is, instead of [`directories::base`].
    pub base: Option<PathBuf>,
    /// Its data directory, instead of one in its directory.
    pub data_dir: Option<PathBuf>,
    /// Whether the listening socket is kept open while the relay is not running, as systemd does with
    /// `FileDescriptorStoreMax=`.
    pub keeps_socket: bool,
    /// Copied into the fresh data directory: for measurements, which must not contain the generation of keys.
    pub data_files: Vec<PathBuf>,
}

impl RelayOptions {
    pub fn new(sources: Vec<SourceOptions>) -> RelayOptions {
        RelayOptions {
            program: env!("CARGO_BIN_EXE_binrelay").into(),
            server_id: RELAY_SERVER_ID,
            listen_on: "0.0.0.0".to_owned(),
            port: None,
            sources,
            replicate_do_db: vec!["test".to_owned()],
            relay_extra: Vec::new(),
            log_extra: Vec::new(),
            admin_extra: Vec::new(),
            hashed_users: Vec::new(),
            base: None,
            data_dir: None,
            keeps_socket: false,
            data_files: Vec::new(),
        }
    }

    /// The configuration file's text.
    pub fn toml(&self, data_dir: &Path, port: u16) -> String {
        let quote = |text: &str| format!("{text:?}");
        let mut text = format!(
            "[relay]\nserver_id = {}\ndata_dir = {}\nlisten = \"{}:{port}\"\n",
            self.server_id,
            quote(&data_dir.display().to_string()),
            self.listen_on
        );
        text.extend(self.relay_extra.iter().map(|line| format!("{line}\n")));
        text.push_str("\n[log]\n");
        text.extend(self.log_extra.iter().map(|line| format!("{line}\n")));
        if !self.replicate_do_db.is_empty() {
            text.push_str(&format!(
                "\n[filter]\nreplicate_do_db = {:?}\n",
                self.replicate_do_db
            ));
        }
        for source in &self.sources {
            let password = match &source.password_file {
                Some(file) => format!("password_file = {file:?}"),
                None => format!("password = {}", quote(REPL_PASSWORD)),
            };
            text.push_str(&format!(
                "\n[[source]]\nname = {}\nhost = {}\nport = {}\nuser = {}\n{password}\n",
                quote(&source.name),
                quote(&source.host),
                source.port,
                quote(&source.user),
            ));
            if let Some(start) = &source.start {
                text.push_str(&format!("start = {}\n", quote(start)));
            }
            if let Some(auto_position) = source.auto_position {
                text.push_str(&format!("auto_position = {auto_position}\n"));
            }
            text.extend(source.extra.iter().map(|line| format!("{line}\n")));
        }
        // A user must have a privilege; this one lacks the one that a replica needs.
        for (name, privileges) in [
            (REPL_USER, "[\"replication\"]"),
            (UNPRIVILEGED_USER, "[\"admin\"]"),
        ] {
            text.push_str(&format!(
                "\n[[user]]\nname = {}\npassword = {}\nprivileges = {privileges}\n",
                quote(name),
                quote(REPL_PASSWORD)
            ));
        }
        if !self.admin_extra.is_empty() {
            text.push_str(&format!("\n[admin]\n{}\n", self.admin_extra.join("\n")));
        }
        for (name, hash) in &self.hashed_users {
            text.push_str(&format!(
                "\n[[user]]\nname = {}\npassword_hash = {}\nprivileges = [\"replication\"]\n",
                quote(name),
                quote(hash)
            ));
        }
        text
    }
}
