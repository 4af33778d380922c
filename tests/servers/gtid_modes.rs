//! `gtid_mode` between ON and OFF: `check` and `run` refuse such a source with the same words, and
//! follow it once it has the mode that they name. A direct replica with auto-position stops too.

use crate::support;
use crate::support::relay::{Relay, RelayOptions, SourceOptions, run_binrelay};
use crate::support::replication::{StartAt, attach, replica_status};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::{replica_options, run_for};

#[tokio::test(flavor = "multi_thread")]
async fn sources_between_two_modes_are_refused_by_check_and_run() {
    let _turn = support::turn();
    let replica = Server::start(Kind::MySql, replica_options(Kind::MySql, 11)).await;
    for (mode, cure) in [("ON_PERMISSIVE", "ON"), ("OFF_PERMISSIVE", "OFF")] {
        let options = ServerOptions::new(86).extra(format!("--gtid-mode={mode}"));
        let source = Server::start(Kind::MySql, options).await;
        direct_replica_stops(&replica, &source, mode).await;

        let relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m", &source)]));
        relay
            .wait_status("the source is failed", 20, |status| {
                status["sources"][0]["state"] == "failed"
            })
            .await;
        let error = relay.source_status("m")["last_error"]["message"].to_string();
        let error = error.trim_matches('"').to_owned();
        assert!(error.contains(&format!("gtid_mode = {mode},")), "{error}");
        assert!(
            error.contains(&format!("SET GLOBAL gtid_mode = {cure} ")),
            "{error}"
        );
        let (code, text) = check(&relay);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&error), "run: {error}\ncheck: {text}");

        source.sql(&format!("SET GLOBAL gtid_mode = {cure}")).await;
        relay.wait_streaming().await;
        let (code, text) = check(&relay);
        assert_eq!(code, Some(0), "{text}");
    }
}

fn check(relay: &Relay) -> (Option<i32>, String) {
    let config = relay.config();
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

async fn direct_replica_stops(replica: &Server, source: &Server, mode: &str) {
    let at = StartAt::AutoPosition;
    attach(replica, "127.0.0.1", source.port, &at, "").await;
    let deadline = support::Deadline::after_secs(20);
    loop {
        let error = replica_status(replica).await.io_error;
        if error.contains("GTID_MODE") {
            println!("a direct replica of {mode}: {error}");
            break;
        }
        assert!(!deadline.passed(), "{mode}: {error}");
        run_for(100).await;
    }
    replica.sql("STOP REPLICA; RESET REPLICA ALL").await;
}
