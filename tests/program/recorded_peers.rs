//! The relay between two recordings: a listener plays a recorded master, and then a client plays the
//! recorded replicas of the same kind. No server is involved.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::recorded;
use crate::recorded::{Answered, Conversation, KINDS};
use crate::support::Deadline;
use crate::support::raw_client::{Dumped, RawClient};
use crate::support::relay::binrelay;
use crate::support::servers::free_port;
use binrelay::binlog::EventType;
use binrelay::binlog::event::EventHeader;
use binrelay::binlog::mariadb_gtid::MariaDbGtidEvent;
use binrelay::binlog::mysql_gtid::MySqlGtidEvent;
use binrelay::protocol::command::{self, BINLOG_THROUGH_GTID, BinlogDumpGtid};
use rustix::process::Signal;

const USER: &str = "fixture";
const PASSWORD: &str = "fixture-password";

/// Plays one connection's server; returns the requests that differ from the recorded ones.
fn play_master(mut client: TcpStream, conversation: &Conversation) -> Vec<String> {
    let mut findings = Vec::new();
    for packet in &conversation.packets {
        if !packet.from_client {
            client.write_all(&packet.bytes).expect("the relay reads");
            continue;
        }
        let mut header = [0; 4];
        client.read_exact(&mut header).expect("the relay's packet");
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).expect("the relay's packet");
        // A login contains the process's number and, with RSA, random bytes.
        if packet.sequence() == 0 && of_any_machine(&payload) != of_any_machine(packet.payload()) {
            findings.push(format!(
                "{}: {}, not {}",
                conversation.name,
                payload.escape_ascii(),
                packet.payload().escape_ascii()
            ));
        }
    }
    // Nothing more is sent; the relay disconnects when it is stopped.
    let _ = client.read(&mut [0; 64]);
    findings
}

/// A request without what depends on the machine: the host name and the port of a registration.
fn of_any_machine(request: &[u8]) -> &[u8] {
    match request.first() {
        Some(0x15) => &request[..5],
        _ => request,
    }
}

/// A master that accepts as many connections as were recorded.
fn master(conversations: Vec<Conversation>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let play = move || {
        let mut findings = Vec::new();
        for conversation in conversations {
            let (client, _) = listener.accept().expect("the relay connects");
            findings.extend(play_master(client, &conversation));
        }
        findings
    };
    (port, std::thread::spawn(play))
}

struct Relay {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Relay {
    fn start(master: u16, by_gtid: bool) -> Relay {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let text = format!(
            "[relay]\nserver_id = 900\nserver_uuid = \"00000000-0000-0000-0000-000000000900\"\n\
             data_dir = {:?}\nlisten = \"127.0.0.1:{port}\"\n[log]\nbasename = \"mysql-bin\"\n\
             [[source]]\nname = \"m1\"\nhost = \"127.0.0.1\"\nport = {master}\nuser = \"{USER}\"\n\
             password = \"{PASSWORD}\"\nauto_position = {by_gtid}\ntls = {{ mode = \"disabled\" }}\n\
             [[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\n",
            directory.path().join("data")
        );
        let config = directory.path().join("config.toml");
        std::fs::write(&config, text).expect("a configuration");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let child = binrelay()
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("binrelay can be started");
        Relay {
            child,
            port,
            directory,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Waits until so many transactions of the source are in the relay's log.
    fn wait_kept(&mut self, count: usize) {
        let deadline = Deadline::after_secs(90);
        loop {
            let output = binrelay()
                .args(["status", "--json", "--config"])
                .arg(self.directory.path().join("config.toml"))
                .output()
                .expect("binrelay can be run");
            let status: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            let kept = &status["sources"][0]["transactions"]["kept"];
            if kept.as_u64() == Some(count as u64) {
                return;
            }
            let ended = self.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "binrelay has ended:\n{}", self.log());
            assert!(!deadline.passed(), "{kept}, not {count}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, Signal::TERM).expect("binrelay runs");
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The transactions' events in the last dump, as `comparable` has them.
fn streamed(conversations: &[Conversation]) -> Vec<Vec<u8>> {
    let exchanges = conversations.last().expect("a connection").exchanges();
    let dump = exchanges.last().expect("a dump");
    assert!(dump.is_dump());
    let events = dump.answer.iter().map(|packet| &packet.payload()[1..]);
    events.filter_map(comparable).collect()
}

/// What the relay passes on of an event: all but its position; of an opener the identity. None for an
/// event that it does not pass on.
fn comparable(event: &[u8]) -> Option<Vec<u8>> {
    let header = EventHeader::parse(event).expect("a header");
    if header.event_type.is_control() {
        return None;
    }
    Some(match header.event_type {
        EventType::MARIADB_GTID => {
            let opener = MariaDbGtidEvent::parse(event, true).expect("a GTID event");
            format!("{} {}", opener.gtid, opener.flags2 & !2).into_bytes()
        }
        gtid if gtid.is_gtid() => {
            let opener = MySqlGtidEvent::parse(event, true).expect("a GTID event");
            let gtid = opener.gtid.expect("a GTID");
            format!("{gtid} {:?}", opener.original_commit_time_us).into_bytes()
        }
        _ => [&event[..13], &event[17..event.len() - 4]].concat(),
    })
}

fn openers(events: &[Vec<u8>], conversations: &[Conversation]) -> usize {
    let exchanges = conversations.last().expect("a connection").exchanges();
    let dump = exchanges.last().expect("a dump");
    let types = dump
        .answer
        .iter()
        .map(|packet| EventType(packet.payload()[5]));
    let count = types.filter(|event_type| event_type.is_gtid()).count();
    assert!(count > 5 && count < events.len(), "{count}");
    count
}

/// Plays a recorded replica or tool to the relay: the kinds of the answers, and then the events.
fn play_client(port: u16, conversation: &Conversation, expected: &[Vec<u8>]) {
    let name = &conversation.name;
    let mut client = RawClient::connect("127.0.0.1", port);
    client.set_read_timeout(Duration::from_secs(60));
    client
        .login(USER, PASSWORD)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for exchange in conversation.exchanges() {
        if let Some(statement) = conversation.statement(&exchange) {
            let answered = client.query(statement);
            let is_same = match (&answered, exchange.answered()) {
                (Ok(rows), Answered::Ok) => rows.is_empty(),
                (Ok(rows), Answered::Rows(columns)) => rows.iter().all(|r| r.len() == columns),
                (Err(_), theirs) => theirs == Answered::Error,
                (Ok(_), Answered::Error) => false,
            };
            assert!(is_same, "{name}: {statement}: {answered:?}");
            continue;
        }
        client.command(exchange.command.payload());
        if !exchange.is_dump() {
            let answer = client.read().expect("an answer").expect("an answer");
            assert_eq!(answer[0], 0, "{name}: {answer:?}");
            continue;
        }
        let mut events = Vec::new();
        while events.len() < expected.len() {
            match client.next_event() {
                Dumped::Event(event) => events.extend(comparable(&event)),
                other => panic!("{name}: {other:?} after {} events", events.len()),
            }
        }
        assert!(events == expected, "{name}: the events differ");
        return;
    }
    panic!("{name}: no dump");
}

#[test]
fn a_recorded_master_reaches_recorded_replicas() {
    for kind in KINDS {
        for by_gtid in [false, true] {
            let form = if by_gtid { "gtid" } else { "file" };
            let conversations = recorded::conversations(kind, &format!("relay-{form}"));
            let expected = streamed(&conversations);
            let count = openers(&expected, &conversations);
            let (port, played) = master(conversations);
            let mut relay = Relay::start(port, by_gtid);
            relay.wait_kept(count);
            for replica in recorded::conversations(kind, &format!("replica-{form}")) {
                play_client(relay.port, &replica, &expected);
            }
            let tools = recorded::conversations(kind, "tool");
            play_client(relay.port, &tools[0], &expected);
            relay.stop();
            let findings = played.join().expect("the master was played");
            assert!(findings.is_empty(), "{}", findings.join("\n"));
        }
    }
}

fn rss_kib(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a size").parse().expect("a number")
}

/// Dumps with the largest GTID sets that a packet of 16 MiB holds, of which the log has nothing: they took
/// 163 MB each. A set of which the log has everything is freed at the end of the log.
#[test]
fn large_gtid_sets_of_replicas_take_little_memory() {
    const SET_LEN: usize = 15_600_000;
    const DUMPS: u64 = 4;
    let conversations = recorded::conversations("mysql-9.7", "relay-gtid");
    let expected = streamed(&conversations);
    let count = openers(&expected, &conversations);
    let (port, played) = master(conversations);
    let mut relay = Relay::start(port, true);
    relay.wait_kept(count);
    let mut set = 1u64.to_le_bytes().to_vec();
    set.extend_from_slice(&[7; 16]);
    let intervals = (SET_LEN - 32) as u64 / 16;
    set.extend_from_slice(&intervals.to_le_bytes());
    for gno in (1..=intervals).map(|number| 2 * number) {
        set.extend_from_slice(&gno.to_le_bytes());
        set.extend_from_slice(&(gno + 1).to_le_bytes());
    }
    let process = relay.child.id();
    let before = rss_kib(process, "VmRSS:");
    let mut clients = Vec::new();
    for number in 0..DUMPS as u32 {
        let mut client = RawClient::connect("127.0.0.1", relay.port);
        client.set_read_timeout(Duration::from_secs(60));
        client.login(USER, PASSWORD).expect("a login");
        let uuid = format!("00000000-0000-0000-0000-00000000010{number}");
        client
            .prepare_dump(101 + number, Some(&uuid))
            .expect("prepared");
        client.command(&command::binlog_dump_gtid(&BinlogDumpGtid {
            flags: BINLOG_THROUGH_GTID,
            server_id: 101 + number,
            file: b"",
            position: 4,
            set: &set,
        }));
        let mut events = Vec::new();
        while events.len() < expected.len() {
            match client.next_event() {
                Dumped::Event(event) => events.extend(comparable(&event)),
                other => panic!("{other:?} after {} events", events.len()),
            }
        }
        clients.push(client);
    }
    let after = rss_kib(process, "VmRSS:");
    let peak = rss_kib(process, "VmHWM:");
    let each = after.saturating_sub(before) * 1024 / DUMPS;
    println!(
        "a set of {SET_LEN} bytes: {each} bytes each; peak {} MiB",
        peak >> 10
    );
    assert!(each < 2 * SET_LEN as u64, "{each}");
    drop(clients);
    relay.stop();
    drop(played);
}
