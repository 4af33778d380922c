//! The same with the kinds and modes that the other tests leave out, in the long profile only.

use super::{loses_last_transactions, reset, restored, restored_meanwhile, restored_with_defaults};
use crate::support::servers::Kind;
use crate::support::topology::Mode;

const OTHER_MARIADBS: [(Kind, Mode); 4] = [
    (Kind::MariaDb105, Mode::MariaDbFilePosition),
    (Kind::MariaDb105, Mode::MariaDbSlavePos),
    (Kind::MariaDb118, Mode::MariaDbFilePosition),
    (Kind::MariaDb118, Mode::MariaDbSlavePos),
];

/// Prints each kind and mode when its turn comes.
fn each<const N: usize>(all: [(Kind, Mode); N]) -> impl Iterator<Item = (Kind, Mode)> {
    let print = |(kind, mode): &(Kind, Mode)| println!("{kind}, {mode}");
    all.into_iter().inspect(print)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mariadbs_restored_from_an_older_copy() {
    for (kind, mode) in each(OTHER_MARIADBS) {
        restored(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mysqls_restored_from_an_older_copy() {
    for (kind, mode) in each([(Kind::MySql56, Mode::MySqlAutoPosition)]) {
        restored(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mariadbs_after_reset_master() {
    for (kind, mode) in each(OTHER_MARIADBS) {
        reset(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mysqls_after_reset_master() {
    for (kind, mode) in each([
        (Kind::MySql, Mode::MySqlNoGtids),
        (Kind::MySql56, Mode::MySqlAutoPosition),
    ]) {
        reset(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn others_restored_while_the_relay_is_stopped() {
    for (kind, mode) in each([
        (Kind::MySql56, Mode::MySqlAutoPosition),
        (Kind::MariaDb105, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbSlavePos),
    ]) {
        restored_meanwhile(kind, mode, 60).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn others_restored_with_the_default_retry() {
    for (kind, mode) in each([
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
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_binlogs_without_their_last_transactions() {
    for (kind, mode) in each([
        (Kind::MySql56, Mode::MySqlAutoPosition),
        (Kind::MariaDb, Mode::MariaDbSlavePos),
        (Kind::MariaDb105, Mode::MariaDbFilePosition),
        (Kind::MariaDb118, Mode::MariaDbFilePosition),
    ]) {
        loses_last_transactions(kind, mode).await;
    }
}
