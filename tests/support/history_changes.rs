//! A master that gets another history, and the way back that the relay's message names.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::relay::{Relay, run_binrelay};
use super::replication::{attach, retry_each_second};
use super::servers::{Kind, Server};
use super::topology::Mode;

/// RESET MASTER, whose new beginning its peer then follows.
pub async fn reset(m1: &Server, m2: &Server) {
    let (stop, reset) = match m2.kind.says_replica() {
        true => ("STOP REPLICA", "RESET BINARY LOGS AND GTIDS"),
        false => ("STOP SLAVE", "RESET MASTER"),
    };
    m2.sql(stop).await;
    m1.sql(reset).await;
    repoint(m2, "mysql-bin.000001").await;
}

/// A master follows its peer from the beginning of `file` on.
pub async fn repoint(m2: &Server, file: &str) {
    m2.sql(&match m2.kind.says_replica() {
        true => format!(
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS=4; \
             START REPLICA"
        ),
        false => format!(
            "STOP SLAVE; CHANGE MASTER TO MASTER_LOG_FILE='{file}', MASTER_LOG_POS=4; START SLAVE"
        ),
    })
    .await;
}

/// MySQL with GTIDs: M1 gets the data of its peer and a new identity.
pub async fn rebuild_from_peer(m1: &mut Server, m2: &mut Server) {
    m1.terminate();
    m2.terminate();
    std::fs::remove_dir_all(m1.data_dir()).expect("the data directory is removed");
    copy_directory(&m2.data_dir(), &m1.data_dir());
    std::fs::remove_file(m1.data_dir().join("auto.cnf")).expect("auto.cnf is removed");
    m1.restart().await;
    m2.restart().await;
    let executed = m1.value("SELECT @@GLOBAL.gtid_executed").await;
    let executed = executed.unwrap_or_default();
    m1.sql(&format!(
        "STOP REPLICA; RESET REPLICA ALL; RESET BINARY LOGS AND GTIDS; \
         SET GLOBAL gtid_purged = '{executed}'"
    ))
    .await;
    let at = Mode::MySqlAutoPosition.start_at("mysql-bin");
    let extra = retry_each_second(Kind::MySql);
    attach(m1, "127.0.0.1", m2.port, &at, extra).await;
    m2.sql("STOP REPLICA; START REPLICA").await;
}

/// MariaDB: M2 may have sent M1's new transactions, which have GTIDs of delivered ones.
fn has_sent_new_history(m2: &Value) -> bool {
    let message = m2["last_error"]["message"].as_str().unwrap_or_default();
    m2["state"] == "failed" && message.contains("a master has assigned the GTID again")
}

/// Waits until M2 has delivered everything.
pub async fn wait_m2(relay: &impl AsRef<Relay>) {
    let relay = relay.as_ref();
    let at_end = |status: &Value| {
        let m2 = &status["sources"][1];
        let is_at_end = m2["state"] == "streaming" && m2["seconds_behind"] == 0;
        is_at_end || has_sent_new_history(m2)
    };
    relay.wait_status("m2 is not behind", 60, at_end).await;
}

/// Waits until m1 is failed with this text in its message, and m2 has delivered everything; returns the message.
pub async fn wait_failed(relay: &impl AsRef<Relay>, text: &str) -> String {
    let relay = relay.as_ref();
    let failed = |status: &Value| {
        let m1 = &status["sources"][0];
        m1["state"] == "failed" && m1["last_error"].to_string().contains(text)
    };
    relay.wait_status("m1 is failed", 90, failed).await;
    wait_m2(relay).await;
    let m1 = relay.source_status("m1");
    m1["last_error"]["message"].as_str().unwrap().to_owned()
}

/// Waits until m1 has continued, and continues m2, whose own history has not changed, where that is necessary.
pub async fn continue_m2(relay: &impl AsRef<Relay>) {
    let relay = relay.as_ref();
    let decided = |status: &Value| {
        let sources = &status["sources"];
        let is_streaming = sources[1]["state"] == "streaming";
        sources[0]["state"] == "streaming" && (is_streaming || has_sent_new_history(&sources[1]))
    };
    relay.wait_status("m1 continues", 30, decided).await;
    if has_sent_new_history(&relay.source_status("m2")) {
        execute(relay, "binrelay continue m2");
    }
}

/// Runs a command as a message names it; it may be refused.
pub fn run(relay: &impl AsRef<Relay>, command: &str) -> Output {
    let config = relay.as_ref().config();
    let mut arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    arguments.extend(["--config", config.to_str().expect("a UTF-8 path")]);
    run_binrelay(&arguments)
}

/// Executes a command; returns what it printed.
pub fn execute(relay: &impl AsRef<Relay>, command: &str) -> String {
    let output = run(relay, command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}{errors}");
    text
}

/// Executes a command that is refused; returns the reason.
pub fn refusal(relay: &impl AsRef<Relay>, command: &str) -> String {
    let output = run(relay, command);
    assert_eq!(output.status.code(), Some(1), "{command}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `cp -a`.
pub fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.expect("cp can be run");
    assert!(status.success(), "cp -a {from:?} {to:?}: {status}");
}
