//! What needs a server that has been prepared for it, or its client: privileges, semi-sync plug-ins, `help`.

use std::process::Stdio;

use mysql_async::Conn;

use super::answered::{Answered, ask};
use super::rule::Rule;
use crate::support::relay::Relay;
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, program};

/// The account of the relay sees all connections: the server's is granted the same. MySQL has the variables of
/// semi-sync with the plug-ins only.
pub async fn prepare(kind: Kind, source: &Server) {
    let grant = format!("SET sql_log_bin = 0; GRANT PROCESS ON *.* TO {REPL_USER}@'%'");
    source.sql(&grant).await;
    if has_semi_sync(kind) && kind.is_mysql() {
        let roles = match kind.says_replica() {
            true => ["source", "replica"],
            false => ["master", "slave"],
        };
        for role in roles {
            let install =
                format!("INSTALL PLUGIN rpl_semi_sync_{role} SONAME 'semisync_{role}.so'");
            source.sql(&install).await;
        }
    }
}

/// Whether it has semi-sync: the packages of MySQL 5.6 do not contain the plug-ins.
fn has_semi_sync(kind: Kind) -> bool {
    kind != Kind::MySql56
}

pub async fn compare(kind: Kind, source: &Server, ours: &mut Conn, theirs: &mut Conn) {
    grants(kind, source, ours).await;
    events(kind, ours, theirs).await;
    let statements = [
        "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl_semi_sync_%_enabled' AND Variable_name <> \
         'rpl_semi_sync_master_enabled' OR Variable_name LIKE 'rpl_semi_sync_%_wait_no_%' OR Variable_name LIKE \
         'rpl_semi_sync_%_count' OR Variable_name IN ('rpl_semi_sync_master_timeout', \
         'rpl_semi_sync_source_timeout')",
        "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Rpl_semi_sync_%_clients' OR Variable_name LIKE \
         'Rpl_semi_sync_%_status' OR Variable_name LIKE 'Rpl_semi_sync_%_send_ack'",
        "SELECT @@global.rpl_semi_sync_slave_enabled",
        "SELECT @@global.rpl_semi_sync_replica_enabled",
    ];
    for statement in statements.iter().filter(|_| has_semi_sync(kind)) {
        let (ours, theirs) = (ask(ours, statement).await, ask(theirs, statement).await);
        assert!(
            Rule::SameNames.accepts(&ours, &theirs),
            "{kind}: {statement}\n  relay:  {}\n  server: {}",
            ours.outline(),
            theirs.outline()
        );
    }
}

/// Events from a position of a file; each has a name of its own for it.
async fn events(kind: Kind, ours: &mut Conn, theirs: &mut Conn) {
    let statement = |file: &str| format!("show binlog events in '{file}' from 4 limit 2");
    let ours = ask(ours, &statement("relay-bin.000001")).await;
    let theirs = ask(theirs, &statement("mysql-bin.000001")).await;
    assert!(ours.is_alike(&theirs), "{kind}: {}", ours.outline());
    for answer in [&ours, &theirs] {
        let outline = answer.outline();
        assert_eq!(answer.rows().len(), 2, "{kind}: {outline}");
        assert_eq!(
            answer.rows()[0][1].as_deref(),
            Some("4"),
            "{kind}: {outline}"
        );
    }
}

/// The privileges of the account, as the server shows them; the relay shows no password.
async fn grants(kind: Kind, source: &Server, ours: &mut Conn) {
    let mut root = source.connect().await;
    let theirs = ask(&mut root, &format!("SHOW GRANTS FOR {REPL_USER}@'%'")).await;
    let Answered::Rows(columns, mut rows) = theirs else {
        panic!("{kind}: {theirs:?}");
    };
    for value in rows.iter_mut().flatten().flatten() {
        if let Some((grant, _)) = value.split_once(" IDENTIFIED BY ") {
            *value = grant.to_owned();
        }
    }
    for statement in [
        "SHOW GRANTS",
        "SHOW GRANTS FOR CURRENT_USER()",
        "SHOW GRANTS FOR CURRENT_USER",
    ] {
        let expected = Answered::Rows(columns.clone(), rows.clone());
        assert_eq!(ask(ours, statement).await, expected, "{kind}: {statement}");
    }
    root.disconnect().await.ok();
}

/// The server's client prints the description of all topics.
pub fn help_is_printed(kind: Kind, relay: &Relay) {
    let output = program(kind, "client")
        .args(["--host=127.0.0.1", "--execute=help contents"])
        .arg(format!("--port={}", relay.port))
        .args([
            format!("--user={REPL_USER}"),
            format!("--password={REPL_PASSWORD}"),
        ])
        .args(match kind.is_mariadb() {
            true => &["--skip-ssl"][..],
            // Newer ones of MySQL have commands of their own only on request, unless they are in a terminal.
            false => &["--ssl-mode=REQUIRED", "--loose-commands"],
        })
        .stdin(Stdio::null())
        .output()
        .expect("the client starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}: {complaints}");
    for part in [
        "Name: 'binrelay'",
        "Description:",
        "What this is: binrelay, a binlog relay",
        "Settings and counters: SHOW VARIABLES",
    ] {
        assert!(printed.contains(part), "{kind}: no {part:?} in {printed}");
    }
}
