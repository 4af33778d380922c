//! The very first start: an empty data_dir, and sources of which nothing is known.
//!
//! All sources are asked at the same time where they start. Transactions before any source's start
//! count as delivered, so that a copy that arrives by another path is not new. A source that does
//! not answer now, or is stopped, joins later, if nothing is missing then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::alignment::align;
use super::first_contact::{FirstContact, first_contact};
use super::identities::Identities;
use super::options::ReceiverOptions;
use super::status::{SourceState, SourceStatus};
use crate::binlog::FormatDescription;
use crate::config::FlavorChoice;
use crate::identity::{Executed, IdentityKind};
use crate::merge::pairing::anchor::PrecedingTransactions;
use crate::position::SourcePosition;
use crate::relay_log::SourceProgress;

/// The pause between rounds when there is no source: one may be added meanwhile.
const WITHOUT_SOURCES: Duration = Duration::from_secs(60);

/// A source at the very first start: its receiver's settings, and where its errors are reported.
type Source = (ReceiverOptions, Arc<SourceStatus>);

/// What a new log begins with.
#[derive(Debug)]
pub struct FirstStart {
    /// The format of the log's events.
    pub format: FormatDescription,
    /// All transactions before the log.
    pub before: Executed,
    /// By source: its start; the default where the source joins later.
    pub progress: Vec<SourceProgress>,
    /// By source: see [`FirstContact::read_back_to`].
    pub read_back_to: Vec<Option<SourcePosition>>,
    /// Without GTIDs: what precedes another source's first file.
    pub preceding: Vec<PrecedingTransactions>,
}

/// Polls the sources until at least one answers.
pub async fn first_start(
    sources: &[Source],
    flavor: FlavorChoice,
    identities: &Identities,
) -> FirstStart {
    let (mut pause, longest) = pauses(sources);
    loop {
        let contacts = ask_all(sources, identities).await;
        let preceding = preceding_transactions(sources, &contacts).await;
        if let (Some(preceding), Some(first)) = (preceding, join(contacts, flavor)) {
            return FirstStart { preceding, ..first };
        }
        // Growing, so that wrong passwords do not lock the account, and the log is not flooded.
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// The first and the longest pause between rounds in which no source answers: those of the source
/// with the shortest ones.
fn pauses(sources: &[Source]) -> (Duration, Duration) {
    let shortest = |of: fn(&Source) -> Duration| sources.iter().map(of).min();
    (
        shortest(|(options, _)| options.config.connect_retry).unwrap_or(WITHOUT_SOURCES),
        shortest(|(options, _)| options.config.connect_retry_max).unwrap_or(WITHOUT_SOURCES),
    )
}

/// See [`align`]; `None` if a source reports that order decides nothing.
async fn preceding_transactions(
    sources: &[Source],
    contacts: &[Option<FirstContact>],
) -> Option<Vec<PrecedingTransactions>> {
    let answered = sources.iter().zip(contacts);
    let answered = answered.filter_map(|((options, _), contact)| {
        let contact = contact.as_ref()?;
        let is_anonymous = contact.facts.identity_kind() == IdentityKind::Anonymous;
        is_anonymous.then_some((options, contact))
    });
    let (number, error) = match align(answered).await {
        Ok(preceding) => return Some(preceding),
        Err(not_aligned) => not_aligned,
    };
    let source = sources.iter().find(|(options, _)| options.number == number);
    if let Some((options, status)) = source {
        let name = options.config.name.as_str();
        tracing::error!(source = name, "{}", error.to_line(name));
        status.note_error(&error, name);
    }
    None
}

async fn ask_all(sources: &[Source], identities: &Identities) -> Vec<Option<FirstContact>> {
    let mut contacts = Vec::new();
    let asking = sources.iter().map(|(options, status)| async {
        match status.state() {
            SourceState::Stopped => None,
            _ => Some(first_contact(options, identities).await),
        }
    });
    for (answer, (options, status)) in join_all(asking).await.into_iter().zip(sources) {
        let name = options.config.name.as_str();
        contacts.push(match answer {
            None => None,
            Some(Ok(contact)) => Some(contact),
            Some(Err(error)) => {
                tracing::warn!(
                    source = name,
                    "the source cannot be followed yet: {}",
                    error.to_line(name)
                );
                status.note_error(&error, name);
                None
            }
        });
    }
    // Only now: sources that are the same server must still conflict.
    for (options, _) in sources {
        identities.forget(options.number);
    }
    contacts
}

/// Joins the answers. The flavor is the configured one, or that of the first source that answered,
/// which also decides whether there are GTIDs. Sources of another kind are skipped: their receivers
/// report it.
fn join(contacts: Vec<Option<FirstContact>>, flavor: FlavorChoice) -> Option<FirstStart> {
    let mut answered = contacts.iter().flatten();
    let leading = answered.find(|contact| match flavor {
        FlavorChoice::Fixed(flavor) => contact.facts.flavor == flavor,
        FlavorChoice::Auto => true,
    });
    let kind = leading?.facts.identity_kind();
    let mut first: Option<FirstStart> = None;
    let mut progress = vec![SourceProgress::default(); contacts.len()];
    let mut read_back_to = vec![None; contacts.len()];
    for ((contact, slot), back) in contacts
        .into_iter()
        .zip(&mut progress)
        .zip(&mut read_back_to)
    {
        let Some(contact) = contact.filter(|contact| contact.facts.identity_kind() == kind) else {
            continue;
        };
        *slot = contact.progress;
        *back = contact.read_back_to;
        match &mut first {
            None => {
                let (format, before) = (contact.format, contact.before);
                first = Some(FirstStart {
                    format,
                    before,
                    progress: Vec::new(),
                    read_back_to: Vec::new(),
                    preceding: Vec::new(),
                });
            }
            Some(first) => first.before.count_all(&contact.before),
        }
    }
    first.map(|first| FirstStart {
        progress,
        read_back_to,
        ..first
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceConfig;
    use crate::flavor::Flavor;
    use crate::receiver::SourceState;
    use crate::receiver::tests::binlog::{Binlog, set_of};
    use crate::receiver::tests::receiver_options;
    use crate::receiver::tests::source::{FakeSource, config};

    async fn start(configs: Vec<SourceConfig>) -> (FirstStart, Vec<Source>) {
        let sources = (0..).zip(configs).map(|(number, config)| {
            let options = receiver_options(number, config, "/nowhere".as_ref());
            (options, Arc::default())
        });
        let sources: Vec<Source> = sources.collect();
        let identities = Identities::default();
        let first = first_start(&sources, FlavorChoice::Auto, &identities).await;
        (first, sources)
    }

    /// What only the second one knows of a server that was replaced is not the last transaction of its domain.
    #[test]
    fn retired_servers_do_not_move_the_position_before_the_log() {
        let state = |text: &str| Executed::MariaDb(text.parse().unwrap());
        let mut before = state("1-2-60");
        before.count_all(&state("1-3-50,1-2-60"));
        assert_eq!(before, state("1-3-50,1-2-60"));
    }

    /// A port without a listener.
    async fn dead_port() -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn one_source_that_answers_is_enough() {
        let binlog = Binlog::sample(Flavor::MySql, 86);
        let source = FakeSource::start(binlog.clone()).await;
        let purged = set_of(&binlog.executed()[..2]);
        source.state().purged = purged.clone();
        let configs = vec![config("m1", dead_port().await), source.config("m2")];
        let (first, sources) = start(configs).await;
        assert_eq!(first.before, Executed::MySql(purged));
        assert_eq!(first.progress[0], SourceProgress::default());
        assert_eq!(first.progress[1].server_id, 86);
        assert!(!first.progress[1].position.is_unknown());
        assert!(sources[0].1.last_error().is_some());
    }

    #[tokio::test]
    async fn transactions_before_any_start_count_as_delivered() {
        let (one, two) = (
            Binlog::sample(Flavor::MySql, 86),
            Binlog::sample(Flavor::MySql, 87),
        );
        let sources = [
            FakeSource::start(one.clone()).await,
            FakeSource::start(two.clone()).await,
        ];
        sources[0].state().purged = set_of(&one.executed()[..2]);
        sources[1].state().purged = set_of(&two.executed()[..3]);
        let (first, _) = start(vec![sources[0].config("m1"), sources[1].config("m2")]).await;
        let before = [&one.executed()[..2], &two.executed()[..3]].concat();
        assert_eq!(first.before, Executed::MySql(set_of(&before)));
    }

    #[tokio::test]
    async fn one_of_two_sources_that_are_the_same_server_begins() {
        let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
        let (first, sources) = start(vec![source.config("m1"), source.config("m2")]).await;
        let begun = first
            .progress
            .iter()
            .filter(|progress| !progress.position.is_unknown());
        assert_eq!(begun.count(), 1);
        let states = sources.iter().map(|(_, status)| status.state());
        assert_eq!(
            states.filter(|state| *state == SourceState::Failed).count(),
            1
        );
    }
}
