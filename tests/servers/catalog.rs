//! `binrelay list` and `binrelay search` over the log of two masters, as text and as JSON.

use std::collections::BTreeSet;

use mysql_async::Row;
use serde_json::Value;

use crate::support;
use crate::support::relay::run_binrelay;
use crate::support::seed;
use crate::support::topology::{Mode, Topology, TopologyOptions, gtid_executed};

#[tokio::test(flavor = "multi_thread")]
async fn mysql() {
    transactions_are_found(Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    transactions_are_found(Mode::MariaDbFilePosition).await;
}

/// Prints with status 0.
fn print(topology: &Topology, arguments: &[&str]) -> String {
    let config = topology.relay.config();
    let config = ["--config", config.to_str().expect("UTF-8")];
    let output = run_binrelay(&[arguments, &config].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// M1's newest transaction, which M2 has applied: its GTID, and the coordinates after it on M1.
async fn newest(topology: &Topology, mode: Mode) -> (String, String, u64) {
    let m1 = &topology.m1;
    topology.settle(30).await;
    m1.sql("USE test; CREATE TABLE searched (a INT PRIMARY KEY); INSERT INTO searched VALUES (1)")
        .await;
    let gtid = match mode {
        Mode::MySqlAutoPosition => {
            let uuid = m1.value("SELECT @@GLOBAL.server_uuid").await.unwrap();
            let executed = gtid_executed(m1).await;
            let own = executed.split(',').find(|set| set.starts_with(&uuid));
            let last = own.unwrap().rsplit(['-', ':']).next().unwrap();
            format!("{uuid}:{last}")
        }
        _ => m1.value("SELECT @@gtid_current_pos").await.unwrap(),
    };
    let events: Vec<Row> = m1.rows("SHOW BINLOG EVENTS").await;
    let is_begin = |event: &Row| {
        let info: String = event.get("Info").unwrap();
        info.split([' ', '\'']).any(|word| word == gtid)
    };
    let mut events = events.iter().skip_while(|event| !is_begin(event));
    let end = events.find(|event| event.get::<String, _>("Event_type").unwrap() == "Xid");
    let end = end.expect("the end of the transaction");
    let (file, position) = (
        end.get("Log_name").unwrap(),
        end.get("End_log_pos").unwrap(),
    );
    topology.settle(30).await;
    (gtid, file, position)
}

async fn transactions_are_found(mode: Mode) {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(mode, seed());
    options.replicas = 0;
    let topology = Topology::start(options).await;
    let (gtid, source_file, source_end) = newest(&topology, mode).await;
    // Both have delivered it, and it is in the commit index.
    let found = json(&print(&topology, &["search", "--gtid", &gtid, "--json"]));
    assert_eq!(found["gtid"], gtid.as_str(), "{mode}: {found}");
    assert_eq!(found["file"], "relay-bin.000001", "{mode}: {found}");
    let server_id = topology.m1.options.server_id;
    assert_eq!(found["server_id"], server_id, "{mode}: {found}");
    assert_eq!(found["filtered"], false, "{mode}: {found}");
    let copies = found["copies"].as_array().unwrap();
    let places: Vec<&Value> = copies.iter().chain([&found["delivered_by"]]).collect();
    let names: BTreeSet<&str> = places
        .iter()
        .map(|place| place["source"].as_str().unwrap())
        .collect();
    assert_eq!(names, BTreeSet::from(["m1", "m2"]), "{mode}: {found}");
    let on_m1 = places.iter().find(|place| place["source"] == "m1").unwrap();
    assert_eq!(on_m1["file"], source_file.as_str(), "{mode}: {found}");
    assert_eq!(on_m1["end_position"], source_end, "{mode}: {found}");
    as_text_and_by_time(&topology, mode, &gtid, &found);
    // The coordinates in the relay log are those of its events.
    let file = topology.relay.log_files().remove(0);
    let file = file.to_str().expect("UTF-8");
    let (begin, end) = (
        found["position"].to_string(),
        found["end_position"].to_string(),
    );
    let range = ["--start-position", &begin, "--stop-position", &end];
    let output = run_binrelay(&[&["dump", file], &range[..]].concat());
    let events = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{mode}: {events}");
    assert!(events.contains(&gtid), "{mode}: {gtid}: {events}");
    list_agrees(&topology, mode);
}

fn as_text_and_by_time(topology: &Topology, mode: Mode, gtid: &str, found: &Value) {
    let text = print(topology, &["search", "--gtid", gtid]);
    let (begin, end) = (&found["position"], &found["end_position"]);
    let delivered = &found["delivered_by"];
    for line in [
        format!("transaction   {gtid}"),
        format!("relay log     relay-bin.000001:{begin}, up to {end}"),
        format!(
            "committed     {} on server_id {}",
            found["committed"].as_str().unwrap(),
            topology.m1.options.server_id
        ),
        format!(
            "delivered by  {}, up to {}:{}",
            delivered["source"].as_str().unwrap(),
            delivered["file"].as_str().unwrap(),
            delivered["end_position"]
        ),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{mode}: {line}: {text}"
        );
    }
    // Times of MariaDB have no microseconds: an earlier transaction may have the same.
    let committed = found["committed"].as_str().unwrap();
    let by_time = ["search", "--datetime", committed];
    let earliest = json(&print(topology, &[&by_time[..], &["--json"]].concat()));
    assert_eq!(earliest["committed"], committed, "{mode}: {earliest}");
    if topology.m1.kind.is_mysql() {
        assert_eq!(earliest, *found, "{mode}");
    }
    let text = print(topology, &by_time);
    let first = format!("transaction   {}", earliest["gtid"].as_str().unwrap());
    assert!(text.starts_with(&first), "{mode}: {text}");
    let config = topology.relay.config();
    let late = ["search", "--datetime", "2100-01-01T00:00:00Z", "--config"];
    let output = run_binrelay(&[&late[..], &[config.to_str().expect("UTF-8")]].concat());
    assert_eq!(output.status.code(), Some(1), "{mode}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("binrelay list shows"), "{mode}: {error}");
}

/// `list` agrees with what `status` shows of the log.
fn list_agrees(topology: &Topology, mode: Mode) {
    let status = topology.relay.status();
    let lines = print(topology, &["list", "--json"]);
    let files: Vec<Value> = lines.lines().map(json).collect();
    let [file] = files.as_slice() else {
        panic!("{mode}: {lines}");
    };
    assert_eq!(file["file"], status["relay"]["file"], "{mode}: {lines}");
    assert_eq!(
        file["bytes"], status["relay"]["position"],
        "{mode}: {lines}"
    );
    let sources = status["sources"].as_array().unwrap();
    let kept = sources
        .iter()
        .map(|source| source["transactions"]["kept"].as_u64().unwrap());
    assert_eq!(file["transactions"], kept.sum::<u64>(), "{mode}: {status}");
    let gtids = file["gtids"].as_str().unwrap();
    assert_eq!(gtids, status["relay"]["gtid_executed"], "{mode}: {lines}");
    let (first, last) = (
        file["first"].as_str().unwrap(),
        file["last"].as_str().unwrap(),
    );
    assert!(first <= last, "{mode}: {lines}");
    let table = print(topology, &["list"]);
    let [header, row] = table.lines().collect::<Vec<_>>()[..] else {
        panic!("{mode}: {table}");
    };
    assert!(header.contains("first commit (UTC)"), "{mode}: {table}");
    for value in [&file["file"], &file["first"], &file["last"], &file["gtids"]] {
        assert!(
            row.contains(value.as_str().unwrap()),
            "{mode}: {value}: {table}"
        );
    }
    for value in [&file["bytes"], &file["transactions"]] {
        let value = value.to_string();
        let is_shown = row.split_whitespace().any(|word| word == value);
        assert!(is_shown, "{mode}: {value}: {table}");
    }
}
