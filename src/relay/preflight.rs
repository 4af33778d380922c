//! Whether this machine has what `run` needs, for `binrelay check`. Nothing is created or changed.

use std::path::Path;

use rustix::fs::{Access, access};
use tokio::net::TcpListener;

use super::error::RelayError;
use super::open::{check_flavor, log_dir, source_names, tls_files};
use crate::admin;
use crate::config::Config;
use crate::data_dir;
use crate::http;
use crate::relay_log::recover::{Inspected, inspect};
use crate::relay_log::retention::space::free_bytes;
use crate::tls;

/// What was found, a sentence each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// `run` would end with this error.
    pub problems: Vec<String>,
    /// `run` would work, but not as intended.
    pub warnings: Vec<String>,
    /// What was not tested, and why.
    pub notes: Vec<String>,
    /// A problem says that the user may not enter data_dir: what cannot be read there is no other one.
    pub hides_data_dir: bool,
}

/// Tests the data directory, its free space, the certificate, and the addresses to listen on.
pub async fn preflight(config: &Config) -> Preflight {
    let mut found = Preflight::default();
    let dir = &config.relay.data_dir;
    if let Err(problem) = check_directory(dir) {
        found.problems.push(problem);
        found.hides_data_dir = is_hidden(dir);
    }
    found.warnings.extend(space_warning(config));
    if let Some(files) = tls_files(config)
        && let Err(error) = tls::server_config(Some(&files), dir)
    {
        found.problems.push(RelayError::from(error).to_string());
    }
    match data_dir::is_in_use(dir) {
        // Its own sockets would be found in use.
        Ok(true) => found.notes.push(format!(
            "data_dir {} is in use by a running binrelay, so the addresses of [relay] listen and [admin] \
             were not tested",
            dir.display()
        )),
        in_use => {
            let error = in_use.err().filter(|_| !found.hides_data_dir);
            found.problems.extend(error.map(|error| error.to_string()));
            found.problems.extend(listen_problems(config).await);
        }
    }
    found
}

/// How often the log is read again if that fails while it is written.
const READ_AGAIN_MAX: usize = 5;

/// From where the relay log of this configuration, if there is one, would be continued.
///
/// # Errors
/// The error with which `run` would end: the log is damaged, or is one of the other flavor.
pub fn inspect_log(config: &Config) -> Result<Option<Inspected>, RelayError> {
    let (dir, names) = (log_dir(config), source_names(config));
    let mut found = inspect(&dir, &names);
    for _ in 0..READ_AGAIN_MAX {
        if found.is_ok() || !data_dir::is_in_use(&dir.dir).unwrap_or(false) {
            break;
        }
        found = inspect(&dir, &names);
    }
    let found = found?;
    if let Some(log) = &found {
        check_flavor(config, &log.executed)?;
    }
    Ok(found)
}

/// The directory itself, or the one in which it would be created.
fn nearest_existing(dir: &Path) -> &Path {
    let mut existing = dir
        .ancestors()
        .filter(|path| path.symlink_metadata().is_ok());
    match existing.next() {
        Some(found) => found,
        None if dir.is_absolute() => Path::new("/"),
        None => Path::new("."),
    }
}

fn check_directory(dir: &Path) -> Result<(), String> {
    let existing = nearest_existing(dir);
    if !existing.is_dir() {
        return Err(format!(
            "cannot use data_dir {}: {} is not a directory; set data_dir to another path",
            dir.display(),
            existing.display()
        ));
    }
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    access(existing, needed).map_err(|cause| {
        format!(
            "cannot use data_dir {}: {}: {cause}; run check as the user that runs binrelay, which must own \
             data_dir",
            dir.display(),
            existing.display()
        )
    })
}

/// Whether this user cannot read what is in the directory.
fn is_hidden(dir: &Path) -> bool {
    let existing = nearest_existing(dir);
    !existing.is_dir() || access(existing, Access::READ_OK | Access::EXEC_OK).is_err()
}

/// Whether the disk is too small for what `[log]` allows.
fn space_warning(config: &Config) -> Option<String> {
    let dir = &config.relay.data_dir;
    let free = free_bytes(nearest_existing(dir)).ok()?;
    let used: u64 = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .sum();
    let (needed, key) = match config.log.max_total_size {
        Some(total) => (total.saturating_sub(used), "max_total_size"),
        None => (config.log.max_size, "max_size"),
    };
    (free < needed).then(|| {
        format!(
            "data_dir {}: the log may grow by {} MiB ({key}), but only {} MiB are free: free disk space, or \
             lower {key}",
            dir.display(),
            needed >> 20,
            free >> 20
        )
    })
}

async fn listen_problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let address = config.relay.listen.clone();
    if let Err(cause) = TcpListener::bind(&address).await {
        problems.push(RelayError::Listen { address, cause }.to_string());
    }
    if let Some(address) = config.admin.http
        && let Err(cause) = http::bind(address).await
    {
        let address = address.to_string();
        problems.push(RelayError::Http { address, cause }.to_string());
    }
    if let Err(cause) = check_socket(config).await {
        let path = config.admin.socket.clone();
        problems.push(RelayError::Admin { path, cause }.to_string());
    }
    problems
}

async fn check_socket(config: &Config) -> std::io::Result<()> {
    let socket = &config.admin.socket;
    admin::is_left_over(socket).await?;
    match socket.parent() {
        // It may not exist yet, and is tested by itself.
        Some(parent) if parent != log_dir(config).dir => {
            Ok(access(parent, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        _ => Ok(()),
    }
}
