//! Refusals: the relay answers a request as a real master of that flavor does.

use std::time::Duration;

use crate::support;
use crate::support::raw_client::{Dumped, RawClient, ServerError, normalise};
use crate::support::relay::{RELAY_SERVER_ID, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{attach, replica_status};
use crate::support::servers::{
    Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER,
};
use crate::support::topology::{Mode, replica_options, run_for};

const HOST: &str = "127.0.0.1";
const FIRST_FILE: &str = "mysql-bin.000001";

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_requests_are_refused_as_by_a_master() {
    compare(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_requests_are_refused_as_by_a_master() {
    compare(Mode::MySqlAutoPosition).await;
}

/// Two real masters: whatever differs between their answers does not belong to a refusal, and each of
/// the requests is one that a master refuses.
#[tokio::test(flavor = "multi_thread")]
async fn two_masters_refuse_alike() {
    let _turn = support::turn();
    for kind in [Kind::MariaDb, Kind::MySql] {
        let (one, other) = (master(kind, 86).await, master(kind, 18).await);
        compare_requests(kind, one.port, other.port);
        for (name, request) in REQUESTS {
            let answer = request(kind, one.port);
            println!("{kind}: {name}: {answer:?}");
            assert!(
                answer.is_some(),
                "{kind}: {name}: a master does not refuse this"
            );
        }
    }
}

async fn master(kind: Kind, server_id: u32) -> Server {
    let master = Server::start(kind, ServerOptions::new(server_id)).await;
    master
        .sql("CREATE DATABASE IF NOT EXISTS test; CREATE TABLE test.t (a INT PRIMARY KEY)")
        .await;
    for number in 0..20 {
        master
            .sql(&format!("INSERT INTO test.t VALUES ({number})"))
            .await;
    }
    master
}

fn compare_requests(kind: Kind, master: u16, found: u16) {
    for (name, request) in REQUESTS {
        assert_same_refusal(
            &format!("{kind}: {name}"),
            request(kind, master),
            request(kind, found),
        );
    }
    middle_of_an_event(kind, master, found);
    same_replica_twice(kind, master, found);
}

async fn compare(mode: Mode) {
    let _turn = support::turn();
    let kind = mode.kind();
    let master = master(kind, 86).await;
    let relay = follow(&master, None).await;
    run_for(500).await;
    compare_requests(kind, master.port, relay.port);
    equal_server_id(mode, &master, &relay).await;
    purged_gtids(kind, &master).await;
}

/// A relay whose files are named as the master's, without a filter.
async fn follow(master: &Server, start: Option<String>) -> Relay {
    let mut source = SourceOptions::of("m1", master);
    source.start = start;
    let mut options = RelayOptions::new(vec![source]);
    options.replicate_do_db.clear();
    options.log_extra = vec!["basename = \"mysql-bin\"".to_owned()];
    let relay = Relay::start(options);
    relay.wait_streaming().await;
    relay
}

fn assert_same_refusal(name: &str, expected: Option<ServerError>, found: Option<ServerError>) {
    let (master, relay) = (
        expected.as_ref().map(ServerError::normalised),
        found.as_ref().map(ServerError::normalised),
    );
    assert_eq!(
        relay, master,
        "{name}: the relay said {found:?}, a master {expected:?}"
    );
}

type Request = fn(Kind, u16) -> Option<ServerError>;

const REQUESTS: &[(&str, Request)] = &[
    ("wrong password", |_, port| {
        RawClient::connect(HOST, port)
            .login(REPL_USER, "wrong")
            .err()
    }),
    ("no privilege", no_privilege),
    ("unknown file", |kind, port| {
        refused_dump(kind, port, "mysql-bin.999999", 4)
    }),
    ("position past the end", |kind, port| {
        refused_dump(kind, port, FIRST_FILE, 0x7FFF_FFF0)
    }),
    ("position before the first event", |kind, port| {
        refused_dump(kind, port, FIRST_FILE, 1)
    }),
    ("dump before authentication", dump_before_authentication),
];

fn logged_in(port: u16) -> RawClient {
    let mut client = RawClient::connect(HOST, port);
    client
        .login(REPL_USER, REPL_PASSWORD)
        .unwrap_or_else(|error| panic!("port {port}: {error}"));
    client
}

/// MySQL knows replicas by their uuid, MariaDB by their server_id.
fn uuid(kind: Kind) -> Option<&'static str> {
    (kind == Kind::MySql).then_some("11111111-2222-3333-4444-555555555555")
}

fn refused_dump(kind: Kind, port: u16, file: &str, position: u32) -> Option<ServerError> {
    let mut client = logged_in(port);
    client
        .prepare_dump(77, uuid(kind))
        .expect("a replica may register");
    client.dump(77, file, position, 0);
    client.set_read_timeout(Duration::from_secs(3));
    client.read_to_error()
}

fn no_privilege(_: Kind, port: u16) -> Option<ServerError> {
    let mut client = RawClient::connect(HOST, port);
    client
        .login(UNPRIVILEGED_USER, REPL_PASSWORD)
        .expect("the unprivileged account may log in");
    client.dump(77, FIRST_FILE, 4, 0);
    client.read_to_error()
}

fn dump_before_authentication(_: Kind, port: u16) -> Option<ServerError> {
    let mut client = RawClient::connect(HOST, port);
    let mut payload = vec![0x12, 4, 0, 0, 0, 0, 0, 77, 0, 0, 0];
    payload.extend_from_slice(FIRST_FILE.as_bytes());
    client.write(&payload).expect("the packet is sent");
    client.read_to_error()
}

/// A master's text depends on the bytes that it reads as an event; the code does not.
fn middle_of_an_event(kind: Kind, master: u16, relay: u16) {
    let expected = refused_dump(kind, master, FIRST_FILE, 11).expect("a master refuses this");
    let found = refused_dump(kind, relay, FIRST_FILE, 11).expect("the relay must refuse this");
    assert_eq!(
        (found.code, &found.state),
        (expected.code, &expected.state),
        "{found} {expected}"
    );
}

/// The older connection is closed with or without an error, as by a master.
fn same_replica_twice(kind: Kind, master: u16, relay: u16) {
    let older_is_told = |port: u16| {
        let mut older = logged_in(port);
        older
            .prepare_dump(78, uuid(kind))
            .expect("a replica may register");
        older.dump(78, FIRST_FILE, 4, 0);
        assert!(
            matches!(older.next_event(), Dumped::Event(_)),
            "port {port}"
        );
        let mut newer = logged_in(port);
        newer
            .prepare_dump(78, uuid(kind))
            .expect("a replica may register");
        newer.dump(78, FIRST_FILE, 4, 0);
        assert!(
            matches!(newer.next_event(), Dumped::Event(_)),
            "port {port}"
        );
        loop {
            match older.next_event() {
                Dumped::Event(_) => {}
                Dumped::Error(error) => return Some(error),
                Dumped::End => return None,
                Dumped::Silence => panic!("port {port}: the older replica was not dropped"),
            }
        }
    };
    let (expected, found) = (older_is_told(master), older_is_told(relay));
    assert_same_refusal(&format!("{kind}: one replica twice"), expected, found);
}

/// A replica with the server_id of its source stops itself.
async fn equal_server_id(mode: Mode, master: &Server, relay: &Relay) {
    let mut messages = Vec::new();
    for (server_id, port) in [(86, master.port), (RELAY_SERVER_ID, relay.port)] {
        let replica = Server::start(mode.kind(), replica_options(mode.kind(), server_id)).await;
        attach(&replica, HOST, port, &mode.start_at("mysql-bin"), "").await;
        let deadline = support::Deadline::after_secs(20);
        let mut status = replica_status(&replica).await;
        while status.io_errno == 0 || status.io_running != "No" {
            assert!(
                !deadline.passed(),
                "a replica with server_id {server_id}: {status:?}"
            );
            run_for(100).await;
            status = replica_status(&replica).await;
        }
        assert_eq!(status.io_running, "No", "{status:?}");
        messages.push((status.io_errno, normalise(&status.io_error)));
    }
    assert_eq!(messages[1], messages[0], "{mode}: equal server ids");
}

/// A replica that needs purged transactions: of a master after PURGE, of a relay that began later.
async fn purged_gtids(kind: Kind, master: &Server) {
    let position = match kind.is_mariadb() {
        true => "SELECT @@gtid_binlog_pos",
        false => "SELECT @@GLOBAL.gtid_executed",
    };
    let position = master
        .value(position)
        .await
        .expect("a position")
        .replace('\n', "");
    let relay = follow(master, Some(format!("gtid:{position}"))).await;
    master.sql("FLUSH BINARY LOGS").await;
    let last = master.log_files().pop().expect("the master has files");
    let last = last.file_name().unwrap().to_str().unwrap().to_owned();
    master.sql("INSERT INTO test.t VALUES (1000)").await;
    let deadline = support::Deadline::after_secs(20);
    loop {
        // MariaDB purges only files that no checkpoint needs any more.
        master.sql(&format!("PURGE BINARY LOGS TO '{last}'")).await;
        if master.log_files().len() == 1 {
            break;
        }
        assert!(!deadline.passed(), "{master} does not purge its binlogs");
        run_for(200).await;
    }
    let request = |port: u16| {
        let mut client = logged_in(port);
        client
            .prepare_dump(79, uuid(kind))
            .expect("a replica may register");
        if kind.is_mysql() {
            client.dump_empty_gtid_set(79);
        } else {
            client
                .query("SET @slave_connect_state='0-86-1'")
                .expect("a position");
            client.dump(79, "", 4, 0);
        }
        client.set_read_timeout(Duration::from_secs(3));
        client.read_to_error()
    };
    let expected = request(master.port);
    assert!(
        expected.is_some(),
        "a master refuses a replica that needs purged GTIDs"
    );
    assert_same_refusal(
        &format!("{kind}: purged GTIDs"),
        expected,
        request(relay.port),
    );
}
