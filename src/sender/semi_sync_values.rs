//! The variables and counters of semi-sync replication that the relay can fill truly, under the names of a server of
//! its flavor and version. MySQL servers have them with the plug-ins only, MariaDB always.

use super::relay_view::RelayView;
use super::replicas::Replicas;
use super::source_rows::SourceRow;
use super::value::Value;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;

/// How a version names the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// MariaDB: master and slave.
    MariaDb,
    /// MySQL before 8.0.26: the same.
    OldMySql,
    /// MySQL since then: source and replica.
    NewMySql,
}

fn naming(relay: &RelayView<'_>) -> Naming {
    match relay.flavor {
        Flavor::MariaDb => Naming::MariaDb,
        Flavor::MySql if version_numbers(relay.version) >= (8, 0, 26) => Naming::NewMySql,
        Flavor::MySql => Naming::OldMySql,
    }
}

/// The variables. Those of the master's side are the settings by which the relay waits for its own replicas before it
/// acknowledges to a source. MySQL shows with a count of 0 that it does not wait; MariaDB has no count, so what says how
/// long it waits is left out then.
pub fn variables(relay: &RelayView<'_>) -> Vec<(&'static str, Value)> {
    let number = |number: u128| Value::Number(number.to_string());
    let wait = relay.replica_wait;
    let timeout = number(wait.timeout.as_millis());
    let count = number(wait.replicas as u128);
    // It waits until the timeout, even if no replica is connected.
    let without_replicas = number(1);
    let acknowledges = relay.sources.read().iter().any(|source| source.semi_sync);
    let acknowledges = number(acknowledges.into());
    // A replica with semi-sync expects another form of packets if this exists, whatever its value.
    let mut variables = vec![("rpl_semi_sync_master_enabled", number(1))];
    variables.extend(match naming(relay) {
        Naming::NewMySql => vec![
            ("rpl_semi_sync_source_enabled", number(1)),
            ("rpl_semi_sync_source_timeout", timeout),
            ("rpl_semi_sync_source_wait_for_replica_count", count),
            ("rpl_semi_sync_source_wait_no_replica", without_replicas),
            ("rpl_semi_sync_replica_enabled", acknowledges),
        ],
        Naming::MariaDb if wait.replicas == 0 => {
            vec![("rpl_semi_sync_slave_enabled", acknowledges)]
        }
        Naming::OldMySql | Naming::MariaDb => vec![
            ("rpl_semi_sync_master_timeout", timeout),
            ("rpl_semi_sync_master_wait_no_slave", without_replicas),
            ("rpl_semi_sync_slave_enabled", acknowledges),
        ],
    });
    let has_old_count =
        naming(relay) == Naming::OldMySql && version_numbers(relay.version) >= (5, 7, 3);
    if has_old_count {
        let count = number(wait.replicas as u128);
        variables.push(("rpl_semi_sync_master_wait_for_slave_count", count));
    }
    variables
}

/// The variables of these whose 1 or 0 SHOW VARIABLES displays as ON or OFF.
pub const SWITCHES: [&str; 6] = [
    "rpl_semi_sync_master_enabled",
    "rpl_semi_sync_master_wait_no_slave",
    "rpl_semi_sync_replica_enabled",
    "rpl_semi_sync_slave_enabled",
    "rpl_semi_sync_source_enabled",
    "rpl_semi_sync_source_wait_no_replica",
];

/// The counters: how many replicas acknowledge, whether those that are waited for do so in time, and whether sources
/// wait for the relay.
pub fn counters(relay: &RelayView<'_>, replicas: &Replicas) -> Vec<(&'static str, String)> {
    let switch = |is_on: bool| if is_on { "ON" } else { "OFF" }.to_owned();
    let clients = replicas.semi_sync_count().to_string();
    // Of none that it waits for, whatever its clients acknowledge.
    let waits = relay.replica_wait.replicas > 0;
    let in_time = switch(waits && !replicas.acknowledged.have_timed_out());
    let sources = relay.sources.read();
    let acknowledges = switch(sources.iter().any(|source| source.is_semi_sync_active));
    match naming(relay) {
        Naming::NewMySql => vec![
            ("Rpl_semi_sync_replica_status", acknowledges),
            ("Rpl_semi_sync_source_clients", clients),
            ("Rpl_semi_sync_source_status", in_time),
        ],
        Naming::OldMySql => vec![
            ("Rpl_semi_sync_master_clients", clients),
            ("Rpl_semi_sync_master_status", in_time),
            ("Rpl_semi_sync_slave_status", acknowledges),
        ],
        Naming::MariaDb => vec![
            ("Rpl_semi_sync_master_clients", clients),
            ("Rpl_semi_sync_master_status", in_time),
            ("Rpl_semi_sync_slave_send_ack", sent(&sources).to_string()),
            ("Rpl_semi_sync_slave_status", acknowledges),
        ],
    }
}

/// Acknowledgements sent to all sources.
fn sent(sources: &[SourceRow]) -> u64 {
    sources.iter().map(|source| source.acknowledgements).sum()
}
