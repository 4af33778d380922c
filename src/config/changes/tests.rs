use std::path::Path;

use super::*;

fn config(text: &str) -> Config {
    let head = "[relay]\nserver_id = 900\ndata_dir = \"/nonexistent/data\"\n";
    Config::parse(&format!("{head}{text}"), Path::new("/nonexistent/c.toml")).unwrap()
}

const SOURCE: &str = "[[source]]\nname = \"m1\"\nhost = \"a\"\nuser = \"repl\"\n";

fn lines(before: &Config, after: &Config) -> Vec<String> {
    let changes = before.changes_to(after);
    changes.iter().map(Change::to_string).collect()
}

#[test]
fn same_configuration_has_no_changes() {
    let text = format!("{SOURCE}[[user]]\nname = \"r\"\npassword = \"x\"\n");
    assert_eq!(lines(&config(&text), &config(&text)), Vec::<String>::new());
}

#[test]
fn changes_have_old_and_new_value_and_passwords_are_not_shown() {
    let before = config(&format!(
        "{SOURCE}password = \"old secret\"\n[[user]]\nname = \"r\"\npassword = \"old secret\"\n\
         [[user]]\nname = \"gone\"\n"
    ));
    let after = config(&format!(
        "report_port = 5\n[log]\nmax_size = \"2GiB\"\nexpire_after = 0\nsync = \"100ms\"\n\
         {SOURCE}password = \"new secret\"\n[source.filter]\nreplicate_do_db = [\"a\"]\n\
         [[source]]\nname = \"m2\"\nhost = \"b\"\nuser = \"repl\"\n\
         [[user]]\nname = \"r\"\npassword = \"new secret\"\nhosts = [\"10.0.0.0/8\"]\nprivileges = []\n"
    ));
    let found = lines(&before, &after);
    assert_eq!(
        found,
        [
            "[relay] report_port: not set → 5",
            "[log] max_size: 1GiB → 2GiB",
            "[log] sync: commit → 100ms",
            "[log] expire_after: 7d → not set",
            "[source \"m1\"] password: changed",
            "[source \"m1\"] filter: none, everything is kept → replicate_do_db = [\"a\"]",
            "[user \"r\"] password: changed",
            "[user \"r\"] hosts: all → 10.0.0.0/8",
            "[user \"r\"] privileges: [replication] → []",
            "[user \"gone\"]: removed",
            "[source \"m2\"]: added",
        ]
    );
}

#[test]
fn what_cannot_change_while_the_relay_runs_stays() {
    let before = config(SOURCE);
    let new = config(&format!(
        "listen = \"0.0.0.0:1\"\nreplica_write_timeout = \"5s\"\n[log]\nmax_size = \"1MiB\"\nspill_size = \"1MiB\"\n\
         [filter]\nreplicate_do_db = [\"a\"]\n[limits]\nmax_connections = 5\n[alert]\nreplica_lag = \"1s\"\n\
         [admin]\nhttp = \"127.0.0.1:1\"\n{SOURCE}port = 5\n[[source]]\nname = \"m2\"\nhost = \"b\"\nuser = \"repl\"\n\
         [[user]]\nname = \"r\"\n"
    ));
    let now = before.with_changes_of(&new);
    assert_eq!(
        lines(&before, &now),
        [
            "[relay] replica_write_timeout: 1m → 5s",
            "[log] max_size: 1GiB → 1MiB",
            "[limits] max_connections: 200 → 5",
            "[alert] replica_lag: 5m → 1s",
            "[source \"m1\"] port: 3306 → 5",
            "[source \"m1\"] filter: none, everything is kept → replicate_do_db = [\"a\"]",
            "[source \"m2\"]: added",
            "[user \"r\"]: added",
        ]
    );
    assert_eq!(
        lines(&now, &new),
        [
            "[relay] listen: 0.0.0.0:3306 → 0.0.0.0:1",
            "[log] spill_size: 4MiB → 1MiB",
            "[admin] http: not set → 127.0.0.1:1",
        ]
    );
    assert!(
        before.sources[0]
            .filter
            .current()
            .replicate_do_db
            .is_empty()
    );
}

/// The running log makes nothing durable that could be acknowledged.
#[test]
fn semi_sync_waits_for_the_restart_that_changes_sync() {
    let sync =
        |policy: &str, source: &str| config(&format!("[log]\nsync = \"{policy}\"\n{source}"));
    let before = sync("never", SOURCE);
    let new = sync("commit", &format!("{SOURCE}semi_sync = true\n"));
    let changed = before.with_changes_of(&new);
    assert!(!changed.sources[0].semi_sync);
    assert_eq!(
        lines(&changed, &new),
        [
            "[log] sync: never → commit",
            "[source \"m1\"] semi_sync: false → true",
        ]
    );
    let before = sync("commit", SOURCE);
    assert!(before.with_changes_of(&new).sources[0].semi_sync);
}
