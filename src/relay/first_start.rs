//! The first start of all: an empty data_dir, and sources of which nothing is known.
//!
//! All sources are asked at once where they start. What lies before any source's start counts as
//! delivered, so that a copy that comes by another path is not new. A source that does not answer
//! now joins later, if nothing is missing then.

use std::time::Duration;

use crate::binlog::FormatDescription;
use crate::config::FlavorChoice;
use crate::identity::Executed;
use crate::identity::Identity;
use crate::position::SourcePosition;
use crate::receiver::{FirstContact, Identities, ReceiverOptions, first_contact};
use crate::relay_log::SourceProgress;
use crate::status::Parts;

/// What a new log begins with.
pub(super) struct FirstStart {
    pub(super) format: FormatDescription,
    pub(super) before: Executed,
    pub(super) progress: Vec<SourceProgress>,
    /// See [`FirstContact::read_back_to`], by source.
    pub(super) read_back_to: Vec<Option<SourcePosition>>,
}

/// Asks the sources until at least one has answered.
pub(super) async fn first_start(
    receivers: &[ReceiverOptions],
    flavor: FlavorChoice,
    identities: &Identities,
    parts: &Parts,
) -> FirstStart {
    let (mut pause, longest) = pauses(receivers);
    loop {
        let contacts = ask_all(receivers, identities, parts).await;
        if let Some(first) = join(contacts, flavor) {
            return first;
        }
        // Growing, so that wrong passwords do not get the account locked, and no log is flooded.
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// The first and the longest pause between rounds in which no source answers: those of the source
/// with the shortest ones.
fn pauses(receivers: &[ReceiverOptions]) -> (Duration, Duration) {
    let shortest = |of: fn(&ReceiverOptions) -> Duration| receivers.iter().map(of).min();
    (
        shortest(|options| options.config.connect_retry).unwrap_or_default(),
        shortest(|options| options.config.connect_retry_max).unwrap_or_default(),
    )
}

async fn ask_all(
    receivers: &[ReceiverOptions],
    identities: &Identities,
    parts: &Parts,
) -> Vec<Option<FirstContact>> {
    let mut contacts = Vec::new();
    let asking = receivers
        .iter()
        .map(|options| async { first_contact(options, identities).await });
    for (answer, source) in join_all(asking).await.into_iter().zip(&parts.sources) {
        let name = source.config.name.as_str();
        contacts.push(match answer {
            Ok(contact) => Some(contact),
            Err(error) => {
                tracing::warn!(source = name, "first contact: {}", error.to_line());
                source.status.note_error(&error);
                None
            }
        });
    }
    // Not before: two sources that are one server must meet.
    for options in receivers {
        identities.forget(options.number);
    }
    contacts
}

/// Runs all futures together on this task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in pending.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *slot = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Puts the answers together; the flavor is the configured one, or that of the first source that
/// answered, and so is whether there are GTIDs. Sources of another kind are left out: their
/// receivers will say so.
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
                });
            }
            Some(first) => add(&mut first.before, &contact.before),
        }
    }
    first.map(|first| FirstStart {
        progress,
        read_back_to,
        ..first
    })
}

fn add(before: &mut Executed, more: &Executed) {
    match (before, more) {
        (Executed::MySql(set), Executed::MySql(more)) => set.union_with(more),
        (before @ Executed::MariaDb(_), Executed::MariaDb(more)) => {
            for gtid in more.iter() {
                before.record(&Identity::MariaDb(gtid));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::config::SourceConfig;
    use crate::flavor::Flavor;
    use crate::gtid::Uuid;
    use crate::receiver::tests::binlog::{Binlog, set_of};
    use crate::receiver::tests::receiver_options;
    use crate::receiver::tests::source::{FakeSource, config};
    use crate::receiver::{SourceState, SourceStatus};
    use crate::status::SourceParts;

    async fn start(configs: Vec<SourceConfig>) -> (FirstStart, Parts) {
        let sources = configs.iter().map(|config| SourceParts {
            config: config.clone(),
            status: Arc::new(SourceStatus::default()),
            ledger: Arc::default(),
        });
        let parts = Parts {
            server_id: 900,
            server_uuid: Uuid([9; 16]),
            started: Instant::now(),
            sources: sources.collect(),
        };
        let receivers: Vec<_> = (0..)
            .zip(configs)
            .map(|(number, config)| receiver_options(number, config, "/nowhere".as_ref()))
            .collect();
        let identities = Identities::default();
        let first = first_start(&receivers, FlavorChoice::Auto, &identities, &parts).await;
        (first, parts)
    }

    /// A port where nobody listens.
    async fn dead_port() -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn one_source_is_enough() {
        let binlog = Binlog::sample(Flavor::MySql, 86);
        let source = FakeSource::start(binlog.clone()).await;
        let purged = set_of(&binlog.executed()[..2]);
        source.state().purged = purged.clone();
        let configs = vec![config("m1", dead_port().await), source.config("m2")];
        let (first, parts) = start(configs).await;
        assert_eq!(first.before, Executed::MySql(purged));
        assert_eq!(first.progress[0], SourceProgress::default());
        assert_eq!(first.progress[1].server_id, 86);
        assert!(!first.progress[1].position.is_unknown());
        assert!(parts.sources[0].status.last_error().is_some());
    }

    #[tokio::test]
    async fn what_lies_before_any_start_counts_as_delivered() {
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
    async fn of_two_sources_that_are_one_server_one_begins() {
        let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
        let (first, parts) = start(vec![source.config("m1"), source.config("m2")]).await;
        let begun = first
            .progress
            .iter()
            .filter(|progress| !progress.position.is_unknown());
        assert_eq!(begun.count(), 1);
        let states = parts.sources.iter().map(|source| source.status.state());
        assert_eq!(
            states.filter(|state| *state == SourceState::Failed).count(),
            1
        );
    }
}
