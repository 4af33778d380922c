//! Programs that ask again and again: mysqld_exporter and HAProxy.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::stage::{Outcome, Stage, has};
use crate::support;
use crate::support::http::get;
use crate::support::programs::trade;
use crate::support::servers::{REPL_PASSWORD, REPL_USER, free_port, signal};
use crate::support::topology::run_for;

/// A program that runs until it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Running(command.process_group(0).spawn().expect("it can be run"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal(&self.0, rustix::process::Signal::KILL);
        self.0.wait().ok();
    }
}

async fn wait_for_port(port: u16) -> Outcome {
    let deadline = support::Deadline::after_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if deadline.passed() {
            return Err(format!("nothing listens at {port}"));
        }
        run_for(100).await;
    }
    Ok(())
}

/// The default collectors and those that are of use here, in two scrapes without an error, with an account that may do
/// nothing else.
pub async fn exporter(stage: &Stage) -> Outcome {
    let port = free_port();
    let mut command = trade("administration", "prometheus-mysqld-exporter");
    command.args([
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--collect.slave_hosts".to_owned(),
        "--collect.binlog_size".to_owned(),
        "--collect.info_schema.processlist".to_owned(),
        "--collect.engine_innodb_status".to_owned(),
    ]);
    let relay = stage.relay.port;
    let address = format!("monitor:@(127.0.0.1:{relay})/");
    let _running = Running::start(command.env("DATA_SOURCE_NAME", address));
    wait_for_port(port).await?;
    for _ in 0..2 {
        let (_, _, metrics) = get(port, "/metrics", "");
        let parts = [
            "\nmysql_up 1\n",
            "\nmysql_exporter_last_scrape_error 0\n",
            "mysql_slave_status_slave_io_running{",
            "mysql_slave_status_seconds_behind_master{",
            "mysql_binlog_files ",
        ];
        has(&metrics, &parts)?;
        let failed = "mysql_exporter_collector_success{";
        let failed = metrics
            .lines()
            .find(|line| line.starts_with(failed) && line.ends_with(" 0"));
        if let Some(line) = failed {
            return Err(line.to_owned());
        }
    }
    Ok(())
}

/// HAProxy's checks in each form find the relay, write nothing to its log, and clients reach it.
pub async fn haproxy(stage: &Stage, directory: &Path) -> Outcome {
    let forms = [
        "option mysql-check user haproxy post-41",
        "option mysql-check user haproxy",
        "option mysql-check user monitor",
        "option mysql-check",
        "option tcp-check",
    ];
    let ports = forms.map(|_| free_port());
    let mut text =
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n"
            .to_owned();
    for (port, form) in ports.iter().zip(forms) {
        let relay = stage.relay.port;
        text.push_str(&format!(
            "listen l{port}\n bind 127.0.0.1:{port}\n {form}\n server relay 127.0.0.1:{relay} check inter 200\n",
        ));
    }
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text).expect("written");
    let before = stage.relay.log().lines().count();
    let mut command = trade("administration", "haproxy");
    let _running = Running::start(command.args(["-db", "-f", file.to_str().expect("UTF-8")]));
    for port in &ports {
        wait_for_port(*port).await?;
    }
    run_for(5000).await;
    let log = stage.relay.log();
    let written: Vec<&str> = log.lines().skip(before).collect();
    if !written.is_empty() {
        return Err(format!("checks are logged: {written:#?}"));
    }
    for (port, form) in ports.into_iter().zip(forms) {
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(REPL_USER))
            .pass(Some(REPL_PASSWORD));
        let conn = Conn::new(opts).await;
        let mut conn = conn.map_err(|error| format!("{form}: {error}"))?;
        let id: Option<u32> = conn
            .query_first("SELECT @@server_id")
            .await
            .expect("an answer");
        if id != Some(900) {
            return Err(format!("{form}: server_id {id:?}"));
        }
        conn.disconnect().await.ok();
    }
    Ok(())
}
