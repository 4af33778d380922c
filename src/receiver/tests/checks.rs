//! `binrelay check` of a source that was followed before: not a first start is tested, but what `run` would do.

use std::collections::HashMap;

use super::binlog::Binlog;
use super::following::{FOLLOW_MODES, FollowMode};
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::config::SourceStart;
use crate::relay_log::recover::Inspected;

/// A log that has everything of the source.
fn inspected(source: &FakeSource, flavor: Flavor) -> Inspected {
    let binlog = source.state().binlog.clone();
    let mut executed = Executed::empty(flavor);
    for identity in binlog.executed() {
        executed.record(identity);
    }
    let position = executed.as_mariadb().map(|state| state.position());
    let progress = SourceProgress {
        position: binlog.end(),
        server_id: 86,
        gtid_position: position.unwrap_or_default(),
        ..SourceProgress::default()
    };
    Inspected {
        executed,
        sources: HashMap::from([("m1".into(), progress)]),
    }
}

async fn check(
    mode: FollowMode,
    source: &FakeSource,
    log: &Inspected,
) -> Result<CheckedSource, ReceiverError> {
    let mut config = mode.config(source);
    // Where it was started long ago; the source has purged it since.
    config.start = SourceStart::FilePosition(SourcePosition::new("gone.000001", 154));
    let options = ReceiverOptions::of_check(0, &config, OWN);
    let kind = Some(log.executed.kind());
    check_source(&options, &Identities::default(), None, kind, Some(log)).await
}

#[tokio::test]
async fn started_source_is_asked_for_what_follows() {
    for mode in FOLLOW_MODES {
        let source = FakeSource::start(Binlog::sample(mode.flavor(), 86)).await;
        let log = inspected(&source, mode.flavor());
        let found = check(mode, &source, &log).await.unwrap();
        let expected = match mode {
            FollowMode::MySqlSet => "; resumes after GTID set \"".to_owned(),
            FollowMode::MariaDbPosition => "; resumes after GTID position \"".to_owned(),
            FollowMode::MySqlFile | FollowMode::MariaDbFile => {
                format!("; resumes at {}", source.state().binlog.end())
            }
        };
        assert!(found.summary.contains(&expected), "{}", found.summary);

        // It has purged what follows: a first start could begin, but the relay cannot resume.
        let purged = Plan::edit(Vec::clear, Then::Error(1236, "it was purged"));
        source.state().scan_plans.push_back(purged);
        let error = check(mode, &source, &log).await.unwrap_err().to_string();
        assert!(error.contains("it was purged"), "{mode:?}: {error}");
    }
}

/// Its own positions are not valid on another server, which may answer at its address.
#[tokio::test]
async fn another_server_is_not_asked_for_the_positions_of_the_one_before() {
    let mode = FollowMode::MySqlFile;
    let source = FakeSource::start(Binlog::sample(mode.flavor(), 86)).await;
    let mut log = inspected(&source, mode.flavor());
    log.sources.get_mut("m1").unwrap().server_id = 18;
    let found = check(mode, &source, &log).await.unwrap();
    let expected = "another server than before answers (server_id 86 instead of 18)";
    assert!(found.summary.contains(expected), "{}", found.summary);
}
