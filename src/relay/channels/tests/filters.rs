//! A source follows the rules of its own section, or those of `[filter]`, whatever has added it.

use std::sync::atomic::Ordering;

use super::*;
use crate::config::{ChangedSettings, FilterConfig};

fn rules(database: &str) -> FilterConfig {
    FilterConfig {
        replicate_ignore_db: vec![database.to_owned()],
        ..FilterConfig::default()
    }
}

/// The rules of `name`.
fn followed(relay: &Relay, name: &str) -> FilterConfig {
    (*relay.source(name).config.filter.current()).clone()
}

/// How many transactions of `name` were dropped by rules.
fn filtered(relay: &Relay, name: &str) -> u64 {
    relay.source(name).counters.filtered.load(Ordering::Relaxed)
}

#[tokio::test]
async fn source_that_a_statement_added_gets_the_rules_of_its_new_section() {
    let (first, second) = (
        FakeSource::start(Binlog::sample(Flavor::MySql, 1)).await,
        FakeSource::start(Binlog::sample(Flavor::MySql, 2)).await,
    );
    let (m1, m2) = (first.config("m1"), second.config("m2"));
    let mut relay = Relay::start(vec![m1.clone()]).await;
    relay.until_received("m1", &first).await;
    let settings = ChangedSettings {
        host: Some(m2.host.clone()),
        port: Some(m2.port),
        user: Some(m2.user.clone()),
        password: Some(m2.password.clone()),
        connect_retry: Some(m2.connect_retry),
        tls: Some(m2.tls.clone()),
        ..ChangedSettings::default()
    };
    relay
        .ask(SourceChange::Change {
            name: "m2".to_owned(),
            settings: Box::new(settings),
            position: None,
        })
        .await;
    relay.ask(start("m2")).await;
    relay.until_received("m2", &second).await;
    let everything = FilterConfig::default();
    assert_eq!(followed(&relay, "m2"), everything);

    // 1. The file has it now, with rules of its own, and other ones in [filter].
    second.state().binlog.commit(2, 7);
    let own = SharedFilter::new(rules("test"));
    let section = SourceConfig {
        filter: own.clone(),
        ..relay.source("m2").config.clone()
    };
    let with_section = vec![m1.clone(), section];
    let former = relay.source("m2").config.filter.clone();
    let global = SharedFilter::new(rules("global"));
    relay
        .channels
        .configure(with_section.clone(), global)
        .await
        .unwrap();
    assert_eq!(followed(&relay, "m2"), rules("test"));
    let meanwhile = (*former.current()).clone();
    assert_eq!(meanwhile, everything, "never those of [filter]");
    relay.until_received("m2", &second).await;
    assert_eq!(filtered(&relay, "m2"), 1);

    // 2. The next reload changes them, as it does for every section.
    own.replace(Arc::new(rules("other")));
    let global = SharedFilter::new(rules("global"));
    relay
        .channels
        .configure(with_section, global)
        .await
        .unwrap();
    assert_eq!(followed(&relay, "m2"), rules("other"));

    // 3. The file does not have it any longer: the rules of [filter], also when they change.
    second.state().binlog.commit(2, 8);
    for database in ["global", "newer"] {
        let global = SharedFilter::new(rules(database));
        relay
            .channels
            .configure(vec![m1.clone()], global)
            .await
            .unwrap();
        assert_eq!(followed(&relay, "m2"), rules(database));
    }
    relay.until_received("m2", &second).await;
    assert_eq!(filtered(&relay, "m2"), 1);
    relay.stop().await;
}
