//! The same with the kinds and modes that the other tests leave out, in the long profile only.

use super::{loses_last_transactions, reset, restored, restored_meanwhile, restored_with_defaults};
use crate::support::servers::Kind;
use crate::support::topology::Mode;
use crate::support::{Profile, profile};

const OTHER_MARIADBS: [(Kind, Mode); 4] = [
    (Kind::MariaDb105, Mode::MariaDbFilePosition),
    (Kind::MariaDb105, Mode::MariaDbSlavePos),
    (Kind::MariaDb118, Mode::MariaDbFilePosition),
    (Kind::MariaDb118, Mode::MariaDbSlavePos),
];

/// Kinds and modes of a test that runs in the long profile.
fn in_long<const N: usize>(all: [(Kind, Mode); N]) -> impl Iterator<Item = (Kind, Mode)> {
    let is_long = profile() == Profile::Long;
    let all = all.into_iter().filter(move |_| is_long);
    all.inspect(|(kind, mode)| println!("{kind}, {mode}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn other_mariadbs_restored_from_an_older_copy() {
    for (kind, mode) in in_long(OTHER_MARIADBS) {
        restored(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_mysqls_restored_from_an_older_copy() {
    for (kind, mode) in in_long([(Kind::MySql56, Mode::MySqlAutoPosition)]) {
        restored(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_mariadbs_after_reset_master() {
    for (kind, mode) in in_long(OTHER_MARIADBS) {
        reset(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_mysqls_after_reset_master() {
    for (kind, mode) in in_long([
        (Kind::MySql, Mode::MySqlNoGtids),
        (Kind::MySql56, Mode::MySqlAutoPosition),
    ]) {
        reset(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_restored_while_the_relay_is_stopped() {
    for (kind, mode) in in_long([
        (Kind::MySql56, Mode::MySqlAutoPosition),
        (Kind::MariaDb105, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbSlavePos),
    ]) {
        restored_meanwhile(kind, mode, 60).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_restored_with_the_default_retry() {
    for (kind, mode) in in_long([
        (Kind::MySql, Mode::MySqlAutoPosition),
        (Kind::MySql56, Mode::MySqlAutoPosition),
        (Kind::MariaDb, Mode::MariaDbSlavePos),
        (Kind::MariaDb105, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbFilePosition),
    ]) {
        restored_with_defaults(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_binlogs_without_their_last_transactions() {
    for (kind, mode) in in_long([
        (Kind::MySql56, Mode::MySqlAutoPosition),
        (Kind::MariaDb, Mode::MariaDbSlavePos),
        (Kind::MariaDb105, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbFilePosition),
    ]) {
        loses_last_transactions(kind, mode).await;
    }
}
