//! Writing a rescue, and how the source applies it.

use std::sync::Arc;

use super::error::MissingError;
use super::listing::Listing;
use super::messages::{MissingRequest, Rescue};
use super::source_has::Known;
use crate::adoption::error::AttachError;
use crate::adoption::progress;
use crate::adoption::statements::{Address, Words};
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::gtid::GtidPosition;
use crate::identity::{Executed, IdentityKind};
use crate::relay_log::LogState;
use crate::relay_log::bridge;
use crate::relay_log::held::{LogPart, Logged};
use crate::relay_log::reader::FIRST_EVENT;

/// The name of the replication channel or connection by which a source applies a rescue.
const CHANNEL: &str = "binrelay";

/// Everything that is needed to write a rescue.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    pub(super) request: &'a MissingRequest,
    pub(super) relay_server_id: u32,
    pub(super) address: &'a Address,
    /// The address of the source.
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// The source's version.
    pub(super) version: &'a str,
    /// MariaDB: the source's `gtid_slave_pos`, if it was asked.
    pub(super) slave_pos: Option<&'a GtidPosition>,
    /// Whether a filter kept something from the log that the source lacks, or may have: then it does not have
    /// everything up to the position of another source.
    pub(super) is_filtered: bool,
    /// The names of the sources that are followed.
    pub(super) followed: &'a [Arc<str>],
    pub(super) part: &'a LogPart<'a>,
    pub(super) state: &'a LogState,
    pub(super) known: &'a Known,
}

impl Writing<'_> {
    /// Writes the rescue; `None` if it would be empty.
    pub(super) fn write(&self, listing: &Listing) -> Result<Option<Rescue>, MissingError> {
        if self.flavor() == Flavor::MariaDb && listing.skipped > 0 && !self.request.with_altered {
            return Err(MissingError::Skips {
                source_name: self.request.source.clone(),
                count: listing.skipped,
            });
        }
        let log_dir = self.part.log_dir;
        let with_altered = self.request.with_altered;
        let count = match with_altered {
            true => listing.total,
            false => listing.total - listing.altered,
        };
        if count == 0 {
            return Ok(None);
        }
        if log_dir.basename == bridge::BASENAME {
            return Err(AttachError::Basename(log_dir.basename.clone()).into());
        }
        let contains = |logged: &Logged| {
            !logged.emptied && (with_altered || !logged.altered) && !self.known.has(logged)
        };
        // mariadb-binlog refuses a file that begins with a GTID of a domain and continues with lower ones, as where
        // masters share a domain.
        let head = match &self.known.executed {
            Executed::MariaDb(_) => Executed::empty(Flavor::MariaDb),
            executed => executed.clone(),
        };
        let written = bridge::write_rescue(self.part, self.relay_server_id, &head, &contains);
        let (written, end) = written?;
        let file = bridge::name(written.number);
        let path = log_dir.dir.join(&file).display().to_string();
        let source = &self.request.source;
        tracing::info!("{file} is written: {count} transactions that {source} lacks");
        Ok(Some(Rescue {
            statements: self.statements(&file, end),
            command: self.command(&path),
            after_statements: self.after_statements(),
            after_command: self.after_command(listing),
            before_following: self.positions()?,
            path,
            file,
            end_position: end,
            transactions: count,
        }))
    }

    fn kind(&self) -> IdentityKind {
        self.state.executed.kind()
    }

    /// The flavor is the log's: a version may have been set to anything.
    fn flavor(&self) -> Flavor {
        self.kind().flavor()
    }

    fn words(&self) -> Words {
        Words::of(self.flavor(), version_numbers(self.version))
    }

    /// MySQL before 5.7 has one connection only.
    fn has_channels(&self) -> bool {
        self.flavor() == Flavor::MariaDb || version_numbers(self.version) >= (5, 7, 6)
    }

    /// A statement about the replication connection: `START SLAVE`, options, and where it is named.
    fn of_channel(&self, statement: &str, rest: &str) -> String {
        match self.flavor() {
            _ if !self.has_channels() => format!("{statement}{rest};"),
            Flavor::MariaDb => format!("{statement} '{CHANNEL}'{rest};"),
            Flavor::MySql => format!("{statement}{rest} FOR CHANNEL '{CHANNEL}';"),
        }
    }

    fn statements(&self, file: &str, end: u64) -> Vec<String> {
        let (words, version) = (self.words(), version_numbers(self.version));
        let (replica, word) = match words {
            Words::Master => ("SLAVE", "MASTER"),
            Words::Source => ("REPLICA", "SOURCE"),
        };
        let by_gtid = match self.flavor() {
            Flavor::MariaDb => ", MASTER_USE_GTID=no",
            Flavor::MySql if version >= (5, 6, 5) => ", WORD_AUTO_POSITION=0",
            Flavor::MySql => "",
        };
        let options = format!("WORD_LOG_FILE='{file}', WORD_LOG_POS={FIRST_EVENT}{by_gtid}");
        let change = words.change(self.address, &options);
        let change = change.trim_end_matches(';');
        let (statement, options) = change.split_once(" TO ").unwrap_or((change, ""));
        let until = format!(" UNTIL {word}_LOG_FILE='{file}', {word}_LOG_POS={end}");
        let mut lines = Vec::new();
        if !self.has_channels() {
            lines.push(format!(
                "-- This replaces the configuration as a replica of the lost server: note SHOW {replica} STATUS"
            ));
            lines.push(format!("STOP {replica};"));
        } else if self.flavor() == Flavor::MySql && version < (8, 0, 0) {
            lines.push(
                "-- Needs master_info_repository=TABLE and relay_log_info_repository=TABLE"
                    .to_owned(),
            );
        }
        lines.push(self.of_channel(statement, &format!(" TO {options}")));
        lines.push(self.of_channel(&format!("START {replica}"), &until));
        lines
    }

    /// Without GTIDs, a client's statements would get the server_id of the source: no other server could
    /// recognise them as copies.
    fn command(&self, path: &str) -> Option<String> {
        let (reads, applies) = match self.kind() {
            IdentityKind::Anonymous => return None,
            IdentityKind::MySql => ("mysqlbinlog", "mysql"),
            IdentityKind::MariaDb => ("mariadb-binlog", "mariadb"),
        };
        let (host, port) = (self.host, self.port);
        Some(format!(
            "{reads} {path} | {applies} --binary-mode -h {host} -P {port} -u root -p"
        ))
    }

    fn after_statements(&self) -> Vec<String> {
        let replica = match self.words() {
            Words::Master => "SLAVE",
            Words::Source => "REPLICA",
        };
        let reset = match self.flavor() {
            Flavor::MariaDb => format!("RESET {replica} '{CHANNEL}' ALL;"),
            Flavor::MySql => self.of_channel(&format!("RESET {replica} ALL"), ""),
        };
        vec![self.of_channel(&format!("STOP {replica}"), ""), reset]
    }

    /// MariaDB: statements of a client do not change `gtid_slave_pos`.
    fn after_command(&self, listing: &Listing) -> Vec<String> {
        if !matches!(self.known.executed, Executed::MariaDb(_)) {
            return Vec::new();
        }
        let last = listing.last.values();
        let Some(slave_pos) = self.slave_pos else {
            let last: Vec<String> = last.map(ToString::to_string).collect();
            return vec![format!(
                "-- Set gtid_slave_pos: take its present value, and for each of these domains replace the GTID by: {}",
                last.join(",")
            )];
        };
        let mut position = slave_pos.clone();
        last.for_each(|gtid| position.set(*gtid));
        vec![
            "STOP ALL SLAVES;".to_owned(),
            format!("SET GLOBAL gtid_slave_pos='{position}';"),
        ]
    }

    /// Where the other sources' binlogs are continued by file and position: the source then has everything that
    /// the relay has received from them. Not so with a filter: it would skip what the filter has dropped.
    fn positions(&self) -> Result<Vec<String>, MissingError> {
        if self.kind() == IdentityKind::MySql {
            return Ok(Vec::new());
        }
        if self.is_filtered {
            let source = &self.request.source;
            return Ok(vec![format!(
                "-- No position is printed for the return of another source: {source} would skip forever what the \
                 relay's filter has dropped or changed. If a lost server returns, compare the data, and rebuild \
                 one of the two"
            )]);
        }
        let word = match self.words() {
            Words::Master => "MASTER",
            Words::Source => "SOURCE",
        };
        let statement = match self.words() {
            Words::Master => "CHANGE MASTER TO",
            Words::Source => "CHANGE REPLICATION SOURCE TO",
        };
        let paths = self.part.path_names()?;
        let others = self.followed.iter();
        let others = others.filter(|name| ***name != *self.request.source);
        let positions = others.filter_map(|name| {
            let progress = progress(&paths, self.state, name)?;
            let (at, server_id) = (&progress.position, progress.server_id);
            let source = &self.request.source;
            (!at.is_unknown()).then(|| {
                format!(
                    "-- If {name} (server_id {server_id}) returns with its binlog, {source} has it up to here, and \
                     follows it by file and position from there: {statement} {word}_LOG_FILE='{}', {word}_LOG_POS={};",
                    at.file, at.offset,
                )
            })
        });
        Ok(positions.collect())
    }
}
