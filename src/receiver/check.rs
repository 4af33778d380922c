//! `binrelay check`: whether a source can be followed, without following it.

use std::path::PathBuf;
use std::time::Duration;

use rand::Rng;

use super::auto_increment::AutoIncrement;
use super::connect::connect;
use super::control::{
    ControlConnection, ControlError, Grants, Replication, SemiSync, ServerSettings,
};
use super::different_rules::RuledSource;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::first_contact::explore;
use super::identities::Identities;
use super::options::ReceiverOptions;
use super::resume;
use super::resumption::try_resuming;
use super::semi_sync_status::problem;
use super::source_retention::SourceRetention;
use super::source_settings::LoggingSettings;
use crate::config::SourceConfig;
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::identity::IdentityKind;
use crate::relay_log::recover::Inspected;

/// A source that keeps its binlogs for less than this is warned of.
const RETENTION_MIN: Duration = Duration::from_secs(86_400);

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSource {
    /// How its transactions are identified.
    pub kind: IdentityKind,
    /// `SELECT VERSION()`.
    pub version: String,
    /// As text: the server, and the position from which a first start would begin, or at which it resumes.
    pub summary: String,
    /// As text: problems that do not prevent following the source, and how to fix them.
    pub warnings: Vec<String>,
    /// As text: what matters only in some cases.
    pub notes: Vec<String>,
    /// Whether it logs what it replicates, if that is known.
    pub logs_updates: Option<bool>,
    /// Its rules, and of whom it has transactions.
    pub rules: RuledSource,
    /// How it generates AUTO_INCREMENT values, if clients may write to it.
    pub auto_increment: Option<AutoIncrement>,
}

impl ReceiverOptions {
    /// For a check of the source, which stores nothing.
    pub fn of_check(number: u16, config: &SourceConfig, server_id: u32) -> Self {
        Self {
            number,
            config: config.clone(),
            server_id,
            server_uuid: Uuid::random(),
            // A check is not a replica to be found.
            report: (String::new(), 0),
            spill_dir: PathBuf::new(),
            spill_size: 0,
            max_transaction_size: u64::MAX,
        }
    }

    /// For reading a source's binlog beside the dump of a running relay: with a server_id of its own.
    pub(super) fn of_stranger(config: &SourceConfig) -> Self {
        Self::of_check(0, config, stranger_id())
    }
}

fn stranger_id() -> u32 {
    rand::rng().random_range(0x4000_0000..0x7fff_ffff)
}

/// Finds where a first start would begin; returns it as the end of a sentence.
async fn first_start(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: SourceFacts,
) -> Result<String, ReceiverError> {
    let by_gtid = facts.follows_by_gtid(&options.config);
    let contact = explore(connection, options, facts).await?;
    let before = contact.before.to_text();
    Ok(match by_gtid {
        true if before.is_empty() => {
            "a first start begins with the source's first transaction".to_owned()
        }
        true => format!("a first start begins after {before}"),
        false => format!("a first start begins at {}", contact.progress.position),
    })
}

/// Connects to the source, sends the queries that a receiver sends, and starts a dump. `flavor` is
/// the configured one, `kind` that of the relay log or of the sources checked before.
///
/// # Errors
/// Errors that would stop a receiver.
pub async fn check_source(
    options: &ReceiverOptions,
    identities: &Identities,
    flavor: Option<Flavor>,
    kind: Option<IdentityKind>,
    log: Option<&Inspected>,
) -> Result<CheckedSource, ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    if let Some(expected) = flavor.filter(|flavor| *flavor != facts.flavor) {
        let (found, version) = (facts.flavor, facts.version);
        return Err(ReceiverError::Flavor {
            expected,
            found,
            version,
        });
    }
    if let Some(kind) = kind {
        resume::check_kind(kind, &facts)?;
    }
    identities.note(options.number, &facts, options.server_id)?;
    let shared_domain = identities.shared_domain(options.number, &facts);
    let useless_rules = facts.useless_rules(&options.config.filter.current());
    // A source ends the dump of a replica when another with the same server_id connects. A relay
    // with the configured server_id may already be running.
    let stranger = ReceiverOptions {
        server_id: stranger_id(),
        ..options.clone()
    };
    let by_gtid = facts.follows_by_gtid(&options.config);
    let asked = ask(&options.config).await;
    let started = log.and_then(|log| Some((log, log.started(&options.config.name)?)));
    let start = match started {
        Some((log, first)) => try_resuming(&mut connection, &stranger, &facts, log, first).await,
        None => first_start(&mut connection, &stranger, facts.clone()).await,
    };
    let start = start.map_err(|error| with_statement(error, asked.as_ref().ok()))?;
    let way = if by_gtid {
        "by GTID"
    } else {
        "by file and position"
    };
    let facts = &facts;
    let settings = asked.as_ref().ok().map(|answers| &answers.settings);
    let writable = settings.filter(|settings| !settings.read_only);
    let logs_updates = settings.map(|settings| settings.logs_replicated);
    let logging = asked.as_ref().ok().map(|answers| &answers.logging);
    let replication = asked.as_ref().ok().map(|answers| &answers.replication);
    let rules = ruled(options, facts.server_id, replication);
    let notes = logging.map(|logging| logging.notes(options.config.semi_sync));
    Ok(CheckedSource {
        auto_increment: writable.map(|settings| settings.auto_increment),
        kind: facts.identity_kind(),
        logs_updates,
        rules,
        version: facts.version.clone(),
        notes: notes.unwrap_or_default(),
        summary: format!(
            "ok: {} {}, server_id {}, followed {way}; TLS: {}; {start}",
            facts.flavor, facts.version, facts.server_id, facts.tls
        ),
        warnings: shared_domain
            .into_iter()
            .chain(useless_rules)
            .chain(control_warnings(options, asked))
            .collect(),
    })
}

fn ruled(
    options: &ReceiverOptions,
    server_id: u32,
    replication: Option<&Replication>,
) -> RuledSource {
    RuledSource {
        name: options.config.name.clone(),
        server_id,
        logs_of: replication.and_then(Replication::logs_of),
        rules_of: replication.map(Replication::rules_of).unwrap_or_default(),
        rules: options.config.filter.current(),
    }
}

/// The answers on the control connection.
struct Answers {
    settings: ServerSettings,
    grants: Grants,
    retention: SourceRetention,
    logging: LoggingSettings,
    replication: Replication,
    /// Whether the user may ask for the end of the binlog.
    shows_end: bool,
}

async fn ask(config: &SourceConfig) -> Result<Answers, ControlError> {
    let mut connection = ControlConnection::open(config).await?;
    let settings = connection.settings().await?;
    let answers = Answers {
        grants: connection.grants().await?,
        retention: connection.retention().await?,
        logging: connection.logging_settings().await?,
        replication: connection.replication(&settings).await?,
        shows_end: connection.source_end(&settings).await?.position.is_some(),
        settings,
    };
    connection.close().await;
    Ok(answers)
}

/// The error, with the exact statement if a missing privilege caused it.
fn with_statement(error: ReceiverError, answers: Option<&Answers>) -> ReceiverError {
    let statement = answers.and_then(|answers| answers.grants.missing_replication_slave());
    match statement {
        Some(statement) => ReceiverError::setup(
            format!("the source's user lacks the privilege REPLICATION SLAVE ({error})"),
            format!("execute on the source: {statement}"),
        ),
        None => error,
    }
}

fn control_warnings(
    options: &ReceiverOptions,
    answers: Result<Answers, ControlError>,
) -> Vec<String> {
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => {
            return vec![format!(
                "the control connection is not available, so seconds_behind will only be \
                 estimated: {error}"
            )];
        }
    };
    let mut warnings = answers.logging.warnings();
    if !answers.shows_end {
        let (settings, grants) = (&answers.settings, &answers.grants);
        let version = settings.version_numbers();
        let statement = grants.missing_replication_client(settings.flavor, version);
        warnings.push(format!(
            "the source does not show the end of its binlog to this user, so seconds_behind may \
             only be estimated; execute on the source: {}",
            statement
                .as_deref()
                .unwrap_or("SHOW GRANTS, and grant REPLICATION CLIENT or BINLOG MONITOR")
        ));
    }
    if let Some(expires) = answers.retention.expires_after
        && expires < RETENTION_MIN
    {
        warnings.push(format!(
            "the source purges its binlogs after {} s ({}): if the source or the relay is unavailable for \
             longer, replication from it cannot continue",
            expires.as_secs(),
            answers.retention.variable
        ));
    }
    if options.config.semi_sync && answers.settings.semi_sync != SemiSync::On {
        warnings.push(problem(answers.settings.semi_sync).to_owned());
    }
    warnings
}
