//! `binrelay check`: whether a source can be followed, without following it.

use std::path::PathBuf;

use rand::Rng;

use super::connect::connect;
use super::error::ReceiverError;
use super::first_contact::explore;
use super::identities::Identities;
use super::options::ReceiverOptions;
use super::resume;
use crate::config::SourceConfig;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::identity::IdentityKind;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSource {
    /// How its transactions are identified.
    pub kind: IdentityKind,
    /// As text: the server, and where a first start would begin.
    pub summary: String,
    /// As text: what would work, but not as well as it could, and how to fix it.
    pub warnings: Vec<String>,
}

impl ReceiverOptions {
    /// For a check of the source, which stores nothing.
    pub fn of_check(number: u16, config: &SourceConfig, server_id: u32) -> Self {
        Self {
            number,
            config: config.clone(),
            server_id,
            server_uuid: Uuid::random(),
            spill_dir: PathBuf::new(),
            spill_size: 0,
        }
    }
}

/// Connects to the source, asks everything that a receiver asks, and starts a dump. `flavor` is the
/// configured one, `kind` that of the sources checked before.
///
/// # Errors
/// Errors that would stop a receiver.
pub async fn check_source(
    options: &ReceiverOptions,
    identities: &Identities,
    flavor: Option<Flavor>,
    kind: Option<IdentityKind>,
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
    let useless_rules = facts.useless_rules(&options.config.filter);
    // A source ends the dump of a replica when another with the same server_id connects. A relay may
    // already be running with the configured one.
    let stranger = ReceiverOptions {
        server_id: rand::rng().random_range(0x4000_0000..0x7fff_ffff),
        ..options.clone()
    };
    let by_gtid = facts.follows_by_gtid(&options.config);
    let contact = explore(&mut connection, &stranger, facts).await?;
    let way = if by_gtid {
        "by GTID"
    } else {
        "by file and position"
    };
    let before = contact.before.to_text();
    let start = match by_gtid {
        true if before.is_empty() => "with the source's first transaction".to_owned(),
        true => format!("after {before}"),
        false => format!("at {}", contact.progress.position),
    };
    let facts = &contact.facts;
    Ok(CheckedSource {
        kind: facts.identity_kind(),
        summary: format!(
            "ok: {} {}, server_id {}, followed {way}; a first start begins {start}",
            facts.flavor, facts.version, facts.server_id
        ),
        warnings: shared_domain.into_iter().chain(useless_rules).collect(),
    })
}
