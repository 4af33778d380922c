//! `binrelay check`: whether a source could be followed, without following it.

use std::path::PathBuf;

use rand::Rng;

use super::error::ReceiverError;
use super::{Identities, ReceiverOptions, resume, start};
use crate::config::SourceConfig;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::identity::IdentityKind;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSource {
    /// By what its transactions are known.
    pub kind: IdentityKind,
    /// In words: who answers, and where a first start would begin.
    pub summary: String,
    /// In words: what would work, but not as well as it could, and how to mend it.
    pub warnings: Vec<String>,
}

impl ReceiverOptions {
    /// For a check of the source: nothing is stored.
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

/// Connects to the source, asks all that a receiver would ask, and begins a dump. `flavor` is the
/// configured one, `kind` that of the sources checked before.
///
/// # Errors
/// What would stop a receiver.
pub async fn check_source(
    options: &ReceiverOptions,
    identities: &Identities,
    flavor: Option<Flavor>,
    kind: Option<IdentityKind>,
) -> Result<CheckedSource, ReceiverError> {
    let (mut connection, facts) = super::connect(options).await?;
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
    // A source ends the dump of a replica when another with the same server_id comes. A relay may
    // be running with ours.
    let stranger = ReceiverOptions {
        server_id: rand::rng().random_range(0x4000_0000..0x7fff_ffff),
        ..options.clone()
    };
    let by_gtid = start::uses_gtids(options, &facts);
    let contact = start::explore(&mut connection, &stranger, facts).await?;
    let way = if by_gtid {
        "by GTID"
    } else {
        "by file and position"
    };
    let before = contact.before.to_text();
    let start = match by_gtid {
        true if before.is_empty() => "with the source's first transaction".to_owned(),
        true => format!("behind {before}"),
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
