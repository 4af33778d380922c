//! What an administrator does with a running relay: statements about its sources, in the dialect of its flavor, and reloads.

use std::process::Output;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row};

use super::raw_client::RawClient;
use super::relay::{Instance, RELAY_HOST};
use super::servers::{Kind, REPL_PASSWORD, Server, UNPRIVILEGED_USER};

/// The relay's account with "admin".
pub fn admin(relay: &Instance) -> Opts {
    account(relay, UNPRIVILEGED_USER)
}

/// An account of the relay.
pub fn account(relay: &Instance, user: &str) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(relay.port)
        .user(Some(user))
        .pass(Some(REPL_PASSWORD))
        .prefer_socket(false)
        .into()
}

/// Executes a statement; the error's number and text.
pub async fn ask(opts: &Opts, statement: &str) -> Result<(), (u16, String)> {
    let mut conn = Conn::new(opts.clone()).await.expect("a connection");
    let outcome = conn.query_drop(statement).await;
    conn.disconnect().await.ok();
    match outcome {
        Ok(()) => Ok(()),
        Err(mysql_async::Error::Server(error)) => Err((error.code, error.message)),
        Err(error) => panic!("{statement}: {error}"),
    }
}

/// Executes a statement as an administrator, which must succeed.
pub async fn administer(relay: &Instance, statement: &str) {
    if let Err((code, message)) = ask(&admin(relay), statement).await {
        panic!("{statement}: {code} {message}\n{}", relay.log());
    }
}

/// The statement for the source `name`: `verb` is START, STOP, RESET or `RESET … ALL`.
pub fn about(kind: Kind, verb: &str, name: &str) -> String {
    let (verb, all) = match verb.strip_suffix(" ALL") {
        Some(verb) => (verb, " ALL"),
        None => (verb, ""),
    };
    match kind.is_mariadb() {
        true => format!("{verb} SLAVE '{name}'{all}"),
        false => format!("{verb} REPLICA{all} FOR CHANNEL '{name}'"),
    }
}

/// The CHANGE statement for the source `name`; `options` are written as `MASTER_…`.
pub fn change(kind: Kind, name: &str, options: &str) -> String {
    match kind {
        Kind::MySql => {
            let options = options.replace("MASTER_", "SOURCE_");
            format!("CHANGE REPLICATION SOURCE TO {options} FOR CHANNEL '{name}'")
        }
        _ if kind.is_mariadb() => format!("CHANGE MASTER '{name}' TO {options}"),
        _ => format!("CHANGE MASTER TO {options} FOR CHANNEL '{name}'"),
    }
}

/// The options that make a source continue at the end of the server's binlog, instead of by GTID.
pub async fn at_its_end(server: &Server) -> String {
    let statement = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows: Vec<Row> = server.rows(statement).await;
    let row = rows.first().expect("a server with a binlog");
    let file: String = row.get(0).expect("a file");
    let position: u64 = row.get(1).expect("a position");
    let without_gtids = match server.kind.is_mariadb() {
        true => "MASTER_USE_GTID=no",
        false => "MASTER_AUTO_POSITION=0",
    };
    format!("MASTER_LOG_FILE='{file}', MASTER_LOG_POS={position}, {without_gtids}")
}

/// The option that makes a source continue by GTID.
pub fn by_gtid(kind: Kind) -> &'static str {
    match kind.is_mariadb() {
        true => "MASTER_USE_GTID=slave_pos",
        false => "MASTER_AUTO_POSITION=1",
    }
}

/// Waits until the source has this state; "gone" is a source that is not followed.
pub async fn wait_state(relay: &Instance, name: &str, state: &str) {
    let is_so = |status: &serde_json::Value| {
        let sources = status["sources"].as_array().expect("a list");
        let source = sources.iter().find(|source| source["name"] == name);
        source.map_or(state == "gone", |source| source["state"] == state)
    };
    let what = format!("{name} is {state}");
    relay.wait_status(&what, 60, is_so).await;
}

/// Writes the configuration, reloads it, and returns what is printed.
pub fn reload(relay: &Instance, text: &str) -> String {
    relay.write_config(text);
    let output = relay.run(&["reload"]);
    assert!(output.status.success(), "{}", printed(&output));
    printed(&output)
}

/// Everything that a program has printed.
pub fn printed(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

/// The ids of the connections that are sent the log, in the order of their logins.
pub fn dump_connections(relay: &Instance, user: &str, password: &str) -> Vec<String> {
    let mut client = RawClient::connect(RELAY_HOST, relay.port);
    client.login(user, password).expect("it may log in");
    let rows = client.query("SHOW PROCESSLIST").expect("it may see all");
    let dumps = rows.into_iter().filter(|row| {
        let command = row.get(4).cloned().flatten();
        command.is_some_and(|command| command.starts_with("Binlog Dump"))
    });
    dumps.filter_map(|row| row.into_iter().next()?).collect()
}

/// The names of its binlog files, oldest first.
pub fn log_names(relay: &Instance) -> Vec<String> {
    let mut client = RawClient::connect(RELAY_HOST, relay.port);
    let login = client.login(UNPRIVILEGED_USER, REPL_PASSWORD);
    login.expect("it may log in");
    let rows = client.query("SHOW BINARY LOGS").expect("it may see them");
    let names = rows.into_iter().map(|row| row.into_iter().next());
    names.map(|name| name.flatten().expect("a name")).collect()
}
