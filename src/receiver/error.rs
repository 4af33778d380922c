//! Why a source is not followed, and whether an immediate retry can help.

use std::time::Duration;

use crate::connection::{ConnectionError, ConnectionErrorCause};
use crate::flavor::Flavor;
use crate::gtid::GtidError;
use crate::position::SourcePosition;
use crate::protocol::ServerError;
use crate::transaction::TransactionError;

/// What stopped a receiver.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The connection could not be established, or broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The source refused to send its binlog, or stopped sending it.
    #[error("the source returned {0}")]
    Source(ServerError),
    /// The source ended the dump without an error: it is shutting down, or its dump thread was
    /// killed.
    #[error("the source ended the dump at {at}")]
    Ended {
        /// The end of the last event.
        at: SourcePosition,
    },
    /// Neither an event nor a heartbeat arrived in time.
    #[error("the source sent nothing for {}", display_seconds(*.0))]
    Silent(Duration),
    /// The events do not form transactions.
    #[error("at {at}: {cause}")]
    Transaction {
        /// The position before the event.
        at: SourcePosition,
        /// The problem.
        #[source]
        cause: TransactionError,
    },
    /// As [`ReceiverError::Transaction`], for the first time at this position: the network may have changed the
    /// event on its way.
    #[error("at {at}: {cause}; the event is requested again over a new connection")]
    Damaged {
        /// The position before the event.
        at: SourcePosition,
        /// The problem.
        #[source]
        cause: TransactionError,
    },
    /// The stream contradicts itself.
    #[error("at {at}: the source sent {found}, expected {expected}")]
    Stream {
        /// The position before the packet.
        at: SourcePosition,
        /// The content of the packet.
        found: String,
        /// The expected content.
        expected: &'static str,
    },
    /// The server is of another flavor than the relay log.
    #[error(
        "the source is a {found} server ({version}), but this relay log holds {expected} events; \
         correct host and port of this source, or use a separate relay for it"
    )]
    Flavor {
        /// The flavor of the log.
        expected: Flavor,
        /// The flavor of the server.
        found: Flavor,
        /// Its version.
        version: String,
    },
    /// The source's configuration must be changed.
    #[error("{what}; {remedy}")]
    Setup {
        /// The problem.
        what: String,
        /// The change to make.
        remedy: String,
    },
    /// The source's binlog is not the one that was received from it.
    #[error(
        "the source's history has changed: expected {expected}, found {found}. Its binlog was reset \
         (RESET MASTER, RESET BINARY LOGS AND GTIDS), its server was restored from an older copy, or \
         it lost its newest transactions in a crash. Nothing is received from it until an administrator \
         decides. Compare its data with the other masters and the replicas. If its binlog and data were \
         restored, run binrelay continue SOURCE. To follow the changed history, first give each other master \
         what it lacks, which binrelay missing shows, and then run binrelay continue SOURCE --new-history, \
         which says what is possible; or remove this source"
    )]
    History {
        /// What should be in its binlog.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Another server answers at the address than the one that is expected, and it is not followed here.
    #[error("{0}")]
    Elsewhere(String),
    /// A GTID set or position that the source sent cannot be read.
    #[error("{what}: {cause}")]
    Gtid {
        /// The name of the set or position.
        what: &'static str,
        /// The problem.
        #[source]
        cause: GtidError,
    },
    /// The source has loaded its semi-sync plugin since the dump was requested.
    #[error(
        "the source has loaded its semi-sync plugin; connecting again, to acknowledge transactions to it"
    )]
    SemiSyncLoaded,
    /// The relay log refuses this source's transactions.
    #[error("{0}")]
    Refused(String),
    /// The relay log accepts nothing more.
    #[error("the relay log has failed and accepts nothing more; see the relay's own error")]
    LogClosed,
}

fn display_seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// Server errors that an administrator must resolve: access denied (1044, 1045, 1130, 1227,
/// 1698), the password has expired (1820, 1862), the account is locked (3118, MariaDB 4151), TLS
/// is required (3159), a fatal error while reading the binlog (1236), and another replica with the relay's
/// server_id (MariaDB 4052), whose dump a quick retry would end, as it has ended the relay's.
const FATAL_CODES: [u16; 12] = [
    1044, 1045, 1130, 1227, 1236, 1698, 1820, 1862, 3118, 3159, 4052, 4151,
];

/// In the error that a server sends to a replica when another one with the same server_id (MariaDB) or server_uuid
/// has connected: 1236 (MySQL) or 4052 (MariaDB).
const SAME_REPLICA: &str = "same server_uuid/server_id";

impl ReceiverError {
    /// A problem in the source's configuration, and how to resolve it.
    pub fn setup(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        ReceiverError::Setup {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// The position before an INCIDENT event without a GTID, if it is one.
    pub(super) fn incident_at(&self) -> Option<&SourcePosition> {
        match self {
            ReceiverError::Transaction {
                at,
                cause: TransactionError::Incident { .. },
            } => Some(at),
            _ => None,
        }
    }

    /// Whether an administrator must act before it can work.
    pub fn is_failure(&self) -> bool {
        match self {
            ReceiverError::Connection(error) => match &error.cause {
                ConnectionErrorCause::Server(error) => FATAL_CODES.contains(&error.code),
                ConnectionErrorCause::TlsNotOffered
                | ConnectionErrorCause::TlsNoLongerOffered
                | ConnectionErrorCause::CertificateProof
                | ConnectionErrorCause::CompressionNotOffered
                | ConnectionErrorCause::TlsSettings(_)
                | ConnectionErrorCause::Tls(_)
                | ConnectionErrorCause::Authentication(_) => true,
                _ => false,
            },
            ReceiverError::Source(error) => FATAL_CODES.contains(&error.code),
            ReceiverError::Ended { .. }
            | ReceiverError::Silent(_)
            | ReceiverError::SemiSyncLoaded => false,
            ReceiverError::Transaction { cause, .. } => {
                !matches!(cause, TransactionError::Spill { .. })
            }
            ReceiverError::Damaged { .. }
            | ReceiverError::Stream { .. }
            | ReceiverError::Elsewhere(_) => false,
            ReceiverError::Flavor { .. }
            | ReceiverError::Setup { .. }
            | ReceiverError::History { .. }
            | ReceiverError::Gtid { .. }
            | ReceiverError::Refused(_)
            | ReceiverError::LogClosed => true,
        }
    }

    /// The server's error code; 0 if it is not a server error.
    pub fn code(&self) -> u16 {
        self.server_error().map_or(0, |error| error.code)
    }

    /// The server's error, if it is one.
    fn server_error(&self) -> Option<&ServerError> {
        match self {
            ReceiverError::Connection(error) => error.server_error(),
            ReceiverError::Source(error) => Some(error),
            _ => None,
        }
    }

    /// The remedy, where the error's own text does not name it.
    pub fn advice(&self) -> Option<&'static str> {
        if let ReceiverError::Connection(error) = self
            && let ConnectionErrorCause::Tls(error) = &error.cause
        {
            return Some(tls_advice(error));
        }
        if let ReceiverError::Transaction { cause, .. } = self
            && cause.may_be_of_network()
        {
            return Some(
                "check the file with mysqlbinlog --verify-binlog-checksum on the source: if it is good there, something \
                 between the source and the relay changes what it sends; if it is damaged, execute the transaction's \
                 changes on the replicas, unless another source has delivered it, and run binrelay continue SOURCE --at \
                 FILE:POS with its end",
            );
        }
        let error = self.server_error()?;
        if error.message.contains(SAME_REPLICA) {
            return Some(
                "another replica uses this relay's server_id or server_uuid; stop the copy, or give it its own \
                 [relay] server_id and remove auto.cnf in its data_dir",
            );
        }
        match error.code {
            1045 | 1698 => {
                Some("correct the user and password of this source, or the account on the source")
            }
            1044 | 1227 => {
                Some("GRANT REPLICATION SLAVE ON *.* to this source's user on the source")
            }
            1130 => Some("allow this host for the account on the source"),
            1236 => Some(
                "if the source has purged transactions that the relay still needs, and other sources have \
                 delivered them (MySQL: or the replicas have their changes), run binrelay continue SOURCE --at \
                 earliest; otherwise restore the binlog files on the source, or seed the replicas again. If the source was \
                 reset or restored, see binrelay help messages, Recovering a failed source, first",
            ),
            1820 | 1862 | 3118 | 4151 => {
                Some("set a new password on the source or unlock the account (ALTER USER)")
            }
            3159 => Some("set mode = \"required\" in this source's [source.tls]"),
            _ => None,
        }
    }

    /// The error in one line, with its remedy. `source` is the source's name.
    pub fn to_line(&self, source: &str) -> String {
        let line = match self.advice() {
            Some(advice) => format!("{self}; {advice}"),
            None => self.to_string(),
        };
        // It contains text that the source sent.
        let line = line.replace(char::is_control, " ");
        line.replace(
            "binrelay continue SOURCE",
            &format!("binrelay continue {source}"),
        )
    }
}

fn tls_advice(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError, Error};
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "set host of this source to a name in its server's certificate, or mode = \"verify_ca\" in its \
             [source.tls]"
        }
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => {
            "renew the certificate of the source's server, or set mode = \"required\" in this source's \
             [source.tls], which verifies no certificate"
        }
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
            "correct ca in this source's [source.tls], or the certificate of the source's server, or set mode = \
             \"required\" there, which verifies no certificate"
        }
        Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        )
        | Error::PeerIncompatible(_) => {
            "enable TLS 1.2 or later on the source's server, or set mode = \"disabled\" in this source's \
             [source.tls]"
        }
        _ => {
            "correct cert and key in this source's [source.tls], or the authorities that the source's server trusts"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_that_needs_other_settings_is_a_failure_with_advice() {
        use rustls::{CertificateError, Error};
        for (error, advice) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "correct ca in",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                "set host",
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "renew the certificate",
            ),
            (
                Error::AlertReceived(rustls::AlertDescription::ProtocolVersion),
                "enable TLS 1.2",
            ),
            (
                Error::AlertReceived(rustls::AlertDescription::CertificateRequired),
                "correct cert and key",
            ),
        ] {
            let error = ReceiverError::Connection(ConnectionError {
                peer: "db1:3306".to_owned(),
                phase: crate::connection::Phase::Tls,
                cause: ConnectionErrorCause::Tls(Box::new(error)),
            });
            assert!(error.is_failure(), "{error}");
            assert!(error.advice().unwrap().starts_with(advice), "{error}");
        }
    }

    /// The rows of `messages.md`, Recovering a failed source, that a failure must have; none for an error that is retried.
    fn rows(error: &ReceiverError) -> &'static [&'static str] {
        match error {
            ReceiverError::Connection(_) => &["connection"],
            ReceiverError::Source(_) => &["source"],
            ReceiverError::Ended { .. }
            | ReceiverError::Silent(_)
            | ReceiverError::Damaged { .. }
            | ReceiverError::Stream { .. }
            | ReceiverError::SemiSyncLoaded
            | ReceiverError::Elsewhere(_) => &[],
            ReceiverError::Transaction { .. } => &["transaction"],
            ReceiverError::Flavor { .. } => &["flavor"],
            ReceiverError::Setup { .. } => &["setup", "other server"],
            ReceiverError::History { .. } => &["history"],
            ReceiverError::Gtid { .. } => &["gtid"],
            ReceiverError::Refused(_) => &["refused"],
            ReceiverError::LogClosed => &["log closed"],
        }
    }

    /// One error of each kind.
    fn errors() -> Vec<ReceiverError> {
        let at = SourcePosition::new("bin.000001", 4);
        let text = || "text".to_owned();
        vec![
            ReceiverError::Connection(ConnectionError {
                peer: text(),
                phase: crate::connection::Phase::Authentication,
                cause: ConnectionErrorCause::TlsNotOffered,
            }),
            ReceiverError::Source(ServerError::new(1236, "purged")),
            ReceiverError::Ended { at: at.clone() },
            ReceiverError::Silent(Duration::from_secs(1)),
            ReceiverError::Transaction {
                at: at.clone(),
                cause: TransactionError::Incident {
                    number: 1,
                    message: text(),
                },
            },
            ReceiverError::Damaged {
                at: at.clone(),
                cause: TransactionError::TooLarge,
            },
            ReceiverError::Stream {
                at,
                found: text(),
                expected: "text",
            },
            ReceiverError::Flavor {
                expected: Flavor::MySql,
                found: Flavor::MariaDb,
                version: text(),
            },
            ReceiverError::Elsewhere(text()),
            ReceiverError::setup("what", "remedy"),
            ReceiverError::History {
                expected: text(),
                found: text(),
            },
            ReceiverError::Gtid {
                what: "text",
                cause: "x".parse::<crate::gtid::GtidSet>().unwrap_err(),
            },
            ReceiverError::SemiSyncLoaded,
            ReceiverError::Refused(text()),
            ReceiverError::LogClosed,
        ]
    }

    #[test]
    fn recovery_from_every_kind_of_failure_is_documented() {
        let text = include_str!("../cli/messages.md");
        let section = text.split("## Recovering a failed source").nth(1).unwrap();
        let table = section
            .split("Messages of `binrelay continue`")
            .next()
            .unwrap();
        let mut documented: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split([':', '|']).next())
            .map(str::trim)
            .collect();
        documented.retain(|kind| !matches!(*kind, "failure"));
        documented.dedup();
        let mut expected: Vec<&str> = Vec::new();
        for error in errors() {
            assert_eq!(error.is_failure(), !rows(&error).is_empty(), "{error:?}");
            expected.extend(rows(&error));
        }
        documented.sort_unstable();
        expected.sort_unstable();
        assert_eq!(documented, expected);
    }

    #[test]
    fn messages_name_the_command_with_the_source() {
        let purged = ReceiverError::Source(ServerError::new(1236, "purged"));
        let line = purged.to_line("m1");
        assert!(
            line.contains("run binrelay continue m1 --at earliest;"),
            "{line}"
        );
        assert!(!line.contains("SOURCE"), "{line}");
    }

    #[test]
    fn second_relay_with_the_same_identity_is_not_taken_for_purged_binlogs() {
        let text = "A replica with the same server_uuid/server_id as this replica has connected to the source";
        for code in [1236, 4052] {
            let error = ReceiverError::Source(ServerError::new(code, text));
            assert!(error.is_failure(), "{code}");
            let line = error.to_line("m1");
            assert!(line.contains("remove auto.cnf in its data_dir"), "{line}");
            assert!(!line.contains("purged"), "{line}");
        }
    }
}
