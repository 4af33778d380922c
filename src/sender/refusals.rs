//! The errors that refuse or end a dump, with the texts of real servers (MySQL 9.7 and
//! MariaDB 10.11).

use super::without_checksums::Unreadable;
use crate::binlog::EventType;
use crate::binlog::columns::column_type;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::gtid::{GtidPosition, GtidSet, MariaDbGtid, ReceivedGtidSet};
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_MASTER_FATAL_ERROR_READING_BINLOG, ER_UNKNOWN_ERROR};

/// The longest text of a MySQL error, in bytes.
const ERROR_LENGTH_MAX: usize = 511;
/// MariaDB: another replica with the same server_id has connected. The old connection may be
/// re-established, so this is not fatal.
const ER_SLAVE_SAME_ID: u16 = 4052;
/// A GTID set that cannot be decoded (MySQL).
const ER_MALFORMED_GTID_SET_ENCODING: u16 = 1773;
/// A GTID list that cannot be parsed (MariaDB).
const ER_INCORRECT_GTID_STATE: u16 = 1941;
/// Two GTIDs of one domain in a list (MariaDB).
const ER_DUPLICATE_GTID_DOMAIN: u16 = 1943;

/// The wording of errors by flavor and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording {
    flavor: Flavor,
    is_new: bool,
}

/// The coordinates that an error at the end of a dump names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpCoordinates {
    /// The file that was requested.
    pub first_file: String,
    /// The position that was requested.
    pub first_position: u64,
    /// The file that was read last.
    pub file: String,
    /// Offset of the end (MySQL) or the start (MariaDB) of the last event read.
    pub last_event: u64,
    /// Offset at which reading stopped.
    pub last_byte: u64,
}

fn fatal(text: impl Into<String>) -> ServerError {
    ServerError::new(ER_MASTER_FATAL_ERROR_READING_BINLOG, text)
}

/// The name of a column type that MySQL 5.5 does not know.
fn column_name(number: u8) -> String {
    let name = match number {
        column_type::TIMESTAMP2 => "TIMESTAMP2",
        column_type::DATETIME2 => "DATETIME2",
        column_type::TIME2 => "TIME2",
        column_type::JSON => "JSON",
        column_type::VECTOR => "VECTOR",
        other => return other.to_string(),
    };
    name.to_owned()
}

impl Wording {
    /// The wording of a server of this version.
    pub fn of_version(version: &str) -> Self {
        Self {
            flavor: Flavor::of_version(version),
            is_new: version_numbers(version) >= (8, 0, 26),
        }
    }

    fn source(self) -> &'static str {
        match self.flavor {
            Flavor::MySql if self.is_new => "source",
            _ => "master",
        }
    }

    fn replica(self) -> &'static str {
        match self.flavor {
            Flavor::MySql if self.is_new => "replica",
            _ => "slave",
        }
    }

    /// A dump by GTID set, but the log's transactions have no GTIDs.
    pub fn gtid_mode_is_off(self) -> ServerError {
        let (thread, mode) = match self.is_new {
            true => (
                "replication sender thread",
                "this server has GTID_MODE = OFF",
            ),
            false => ("slave dump thread", "this master has GTID_MODE = OFF"),
        };
        fatal(format!(
            "The {thread} cannot start in AUTO_POSITION mode: {mode} instead of ON."
        ))
    }

    /// The file does not exist, or no longer exists.
    pub fn unknown_file(self) -> ServerError {
        fatal("Could not find first log file name in binary log index file")
    }

    /// The file after the current one is gone.
    pub fn no_next_file(self, coordinates: &DumpCoordinates) -> ServerError {
        fatal(format!(
            "could not find next log{}",
            self.suffix(coordinates)
        ))
    }

    /// The position is below 4.
    pub fn position_too_low(self, file: &str, position: u64) -> ServerError {
        match self.flavor {
            Flavor::MySql => fatal(format!(
                "Client requested {} to start replication from position < 4",
                self.source()
            )),
            Flavor::MariaDb => self.impossible_position(file, position),
        }
    }

    /// The position is past the end of the file.
    pub fn position_too_high(self, file: &str, position: u64) -> ServerError {
        match self.flavor {
            Flavor::MySql => fatal(format!(
                "Client requested {} to start replication from position > file size",
                self.source()
            )),
            Flavor::MariaDb => self.impossible_position(file, position),
        }
    }

    fn impossible_position(self, file: &str, position: u64) -> ServerError {
        fatal(format!(
            "Client requested master to start replication from impossible position; the first \
             event '{file}' at {position}, the last event read from '{file}' at 4, the last byte \
             read from '{file}' at 4."
        ))
    }

    /// No event begins at the position.
    pub fn position_in_event(self, file: &str, position: u64, head: u64, end: u64) -> ServerError {
        let coordinates = DumpCoordinates {
            first_file: file.to_owned(),
            first_position: position,
            file: file.to_owned(),
            last_event: if self.flavor == Flavor::MySql {
                head
            } else {
                position
            },
            last_byte: if self.flavor == Flavor::MySql {
                end
            } else {
                position + 19
            },
        };
        let text = match self.flavor {
            Flavor::MySql => format!(
                "binlog truncated in the middle of event; consider out of disk space on {}",
                self.source()
            ),
            Flavor::MariaDb => "bogus data in log event".to_owned(),
        };
        fatal(text + &self.suffix(&coordinates))
    }

    /// The client did not report that it supports checksums.
    pub fn no_checksums(self, coordinates: &DumpCoordinates) -> ServerError {
        let replica = self.capital_replica();
        fatal(format!(
            "{replica} can not handle replication events with the checksum that {} is configured \
             to log{}",
            self.source(),
            self.suffix(coordinates)
        ))
    }

    /// The client does not know checksums, nor this event; real servers have no such error.
    pub fn unreadable(self, cause: Unreadable, file: &str, position: u64) -> ServerError {
        let replica = self.replica();
        let capital = self.capital_replica();
        let (what, action) = match cause {
            Unreadable::Event(event_type) => {
                let action = match event_type {
                    EventType::WRITE_ROWS | EventType::UPDATE_ROWS | EventType::DELETE_ROWS => {
                        "set log_bin_use_v1_row_events = ON on its sources, or "
                    }
                    event_type if event_type.is_gtid() => "set gtid_mode = OFF on its sources, or ",
                    _ => "",
                };
                (format!("{event_type} events"), action)
            }
            Unreadable::Column(column_type) => (
                format!("columns of type {}", column_name(column_type)),
                "set binlog_format = STATEMENT on its sources, or ",
            ),
            Unreadable::StatusVariables => ("so many status variables".to_owned(), ""),
        };
        fatal(format!(
            "{capital} can not handle {what}, at file {file}, position {position}: {action}use a \
             newer {replica}. It does not set @master_binlog_checksum, so it is served as MySQL 5.5"
        ))
    }

    fn capital_replica(self) -> &'static str {
        match self.replica() {
            "replica" => "Replica",
            _ => "Slave",
        }
    }

    /// A log file cannot be read.
    pub fn read_error(self, coordinates: &DumpCoordinates) -> ServerError {
        fatal(format!(
            "I/O error reading log event{}",
            self.suffix(coordinates)
        ))
    }

    /// Another connection of the same replica has begun a dump.
    pub fn same_replica(self, coordinates: &DumpCoordinates) -> ServerError {
        let suffix = self.suffix(coordinates);
        match self.flavor {
            Flavor::MySql => fatal(format!(
                "A {0} with the same server_uuid/server_id as this {0} has connected to the \
                 {1}{suffix}",
                self.replica(),
                self.source(),
            )),
            Flavor::MariaDb => ServerError::new(
                ER_SLAVE_SAME_ID,
                format!("A slave with the same server_uuid/server_id is already connected{suffix}"),
            ),
        }
    }

    /// The set cannot be decoded.
    pub fn malformed_set(self) -> ServerError {
        ServerError::new(
            ER_MALFORMED_GTID_SET_ENCODING,
            "Malformed GTID set encoding.",
        )
    }

    /// The replica has transactions with the relay's own server_uuid that the relay does not have.
    pub fn replica_is_ahead(self) -> ServerError {
        let (source, replica) = (self.source(), self.replica());
        let capital = self.capital_replica();
        let mut text = format!(
            "{capital} has more GTIDs than the {source} has, using the {source}'s SERVER_UUID. \
             This may indicate that the the last binary log file was truncated or lost, e.g., \
             after a power failure when sync_binlog != 1. The {source} may have rolled back \
             transactions that were already replicated to the {replica}. Replicate any \
             transactions that {source} has rolled back from {replica} to {source}, and/or commit \
             empty transactions on {source} to account for transactions that have been committed \
             on {source} but are not included in GTID_EXECUTED."
        );
        text.truncate(text.floor_char_boundary(ERROR_LENGTH_MAX));
        fatal(text)
    }

    /// The replica lacks transactions that precede the first file.
    pub fn purged(self, set: &ReceivedGtidSet, missing: &GtidSet) -> ServerError {
        let source = self.source();
        let text = match self.is_new {
            true => format!(
                "Cannot replicate because the {source} purged required binary logs. Replicate the \
                 missing transactions from elsewhere, or provision a new {} from backup. Consider \
                 increasing the {source}'s binary log expiration period. ",
                self.replica()
            ),
            false => {
                return fatal(
                    "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but \
                     the master has purged binary logs containing GTIDs that the slave requires.",
                );
            }
        };
        // Each interval takes a byte at least.
        if let Some(set) = set.to_small_set(ERROR_LENGTH_MAX) {
            let details = format!(
                "The GTID set sent by the {} is '{}', and the missing transactions are '{}'",
                self.replica(),
                set.to_mysql_string(),
                missing.to_mysql_string()
            );
            if text.len() + details.len() <= ERROR_LENGTH_MAX {
                return fatal(text + &details);
            }
        }
        fatal(format!(
            "{text}The GTID sets and the missing purged transactions are too long to print in \
             this message. For more information, please see the {source}'s error log or the \
             manual for GTID_SUBTRACT"
        ))
    }

    /// A transaction without a GTID in an auto-position dump.
    pub fn anonymous_transaction(self, file: &str, position: u64) -> ServerError {
        fatal(format!(
            "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file {file}, \
             position {position}."
        ))
    }

    /// `@slave_connect_state` is not a list of GTIDs.
    pub fn bad_connect_state(self) -> ServerError {
        ServerError::new(ER_INCORRECT_GTID_STATE, "Could not parse GTID list")
    }

    /// `@slave_connect_state` names a domain twice.
    pub fn duplicate_domain(self, first: MariaDbGtid, second: MariaDbGtid) -> ServerError {
        ServerError::new(
            ER_DUPLICATE_GTID_DOMAIN,
            format!(
                "GTID {second} and {first} conflict (duplicate domain id {})",
                first.domain_id
            ),
        )
    }

    /// MariaDB: the position of START SLAVE UNTIL cannot be parsed.
    pub fn bad_until_position(self) -> ServerError {
        ServerError::new(
            ER_UNKNOWN_ERROR,
            "Out of memory or malformed slave request when obtaining UNTIL position sent from slave",
        )
    }

    /// The log contains neither the GTID nor anything after it.
    pub fn gtid_not_found(self, gtid: MariaDbGtid) -> ServerError {
        fatal(format!(
            "Error: connecting slave requested to start from GTID {gtid}, which is not in the \
             master's binlog"
        ))
    }

    /// The log continued without the GTID.
    pub fn gtid_diverged(self, gtid: MariaDbGtid) -> ServerError {
        fatal(format!(
            "Error: connecting slave requested to start from GTID {gtid}, which is not in the \
             master's binlog. Since the master's binlog contains GTIDs with higher sequence \
             numbers, it probably means that the slave has diverged due to executing extra \
             erroneous transactions"
        ))
    }

    /// In strict mode: the log lacks the GTID, but has earlier and later ones of its server.
    pub fn gtid_hole(self, gtid: MariaDbGtid) -> ServerError {
        fatal(format!(
            "The binlog on the master is missing the GTID {gtid} requested by the slave (even \
             though both a prior and a subsequent sequence number does exist), and GTID strict \
             mode is enabled"
        ))
    }

    /// Transactions after the position were purged.
    pub fn gtid_purged(self, _position: &GtidPosition) -> ServerError {
        fatal(
            "Could not find GTID state requested by slave in any binlog files. Probably the slave \
             state is too old and required binlog files have been purged.",
        )
    }

    fn suffix(self, coordinates: &DumpCoordinates) -> String {
        let directory = match self.flavor {
            Flavor::MySql => "./",
            Flavor::MariaDb => "",
        };
        format!(
            "; the first event '{}' at {}, the last event read from '{directory}{}' at {}, the last \
             byte read from '{directory}{}' at {}.",
            coordinates.first_file,
            coordinates.first_position,
            coordinates.file,
            coordinates.last_event,
            coordinates.file,
            coordinates.last_byte
        )
    }
}
