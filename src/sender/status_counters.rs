//! The rows of SHOW STATUS.

use std::sync::atomic::Ordering::Relaxed;

use super::semi_sync_values;
use super::source_rows::SourceRowState;
use super::statement_context::StatementContext;
use crate::flavor::Flavor;

/// All rows, by name.
pub fn all(context: &StatementContext<'_>) -> Vec<(String, String)> {
    let registry = context.caller.replicas;
    let clients = registry.clients();
    let own = clients
        .iter()
        .find(|client| client.id == context.caller.connection_id);
    let running = clients.iter().filter(|client| {
        let replica = client.replica();
        let is_dump = replica.is_some_and(|replica| replica.progress.dumping.load(Relaxed));
        // This statement is counted below.
        let is_other = client.id != context.caller.connection_id;
        is_other && (is_dump || client.is_executing())
    });
    let running = running.count();
    let counters = &registry.counters;
    let open = clients.iter().map(|client| &*client.traffic);
    let (received, sent) = counters.bytes(open);
    let questions = counters.questions.load(Relaxed);
    let mut values = vec![
        ("Aborted_connects", counters.aborted_connects.load(Relaxed)),
        ("Bytes_received", received),
        ("Bytes_sent", sent),
        ("Com_binlog_dump", counters.dumps.load(Relaxed)),
        ("Connections", counters.connections.load(Relaxed)),
        ("Max_used_connections", counters.max_used_connections()),
        ("Questions", questions),
        ("Threads_connected", clients.len() as u64),
        // The dumps, statements that wait, and this statement.
        ("Threads_running", running as u64 + 1),
        ("Uptime", registry.uptime_seconds()),
    ];
    if let Some(own) = own {
        values.push(("Connection_seconds", own.connected_seconds()));
    }
    if context.relay.flavor == Flavor::MariaDb {
        let sources = context.relay.sources.read();
        let streaming = sources
            .iter()
            .filter(|source| source.state == SourceRowState::Streaming);
        let registered = clients.iter().filter(|client| client.replica().is_some());
        values.extend([
            ("Slave_connections", counters.registrations.load(Relaxed)),
            ("Slaves_connected", registered.count() as u64),
            ("Slaves_running", streaming.count() as u64),
        ]);
    }
    let mut values: Vec<(String, String)> = values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect();
    let semi_sync = semi_sync_values::counters(&context.relay, registry).into_iter();
    values.extend(semi_sync.map(|(name, value)| (name.to_owned(), value)));
    values.sort();
    values
}
