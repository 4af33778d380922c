//! The fuzz targets' bodies over seeded inputs: random bytes, valid messages and captured binlogs,
//! each cut, flipped and spliced. The same sequence on every run; BINRELAY_FUZZ_ROUNDS sets how many
//! inputs a target gets, or BINRELAY_FUZZ_SECONDS for how long it gets some, BINRELAY_FUZZ_SEED another
//! sequence. `tools/fuzz/run` runs it for long.

#[path = "../../tools/fuzz/bodies.rs"]
mod bodies;
mod text_seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Profile, profile};
use binrelay::binlog::event::{self, EventHeader};
use binrelay::binlog::{EventType, MAGIC};
use binrelay::gtid::{BinlogState, GtidSet};
use binrelay::protocol::command;
use binrelay::protocol::framing::put_packet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use text_seeds::{configurations, gtid_texts, statements, texts};

/// Inputs for each target, by profile; the gate's take a few seconds unoptimised.
const ROUNDS_GATE: u64 = 2000;
const ROUNDS_LONG: u64 = 100_000;
/// No input may take longer, also unoptimised and on a busy machine.
const INPUT_LIMIT: Duration = Duration::from_secs(20);
/// Longest random input, in bytes.
const RANDOM_LEN_MAX: usize = 400;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// The captured binlogs of the newest servers, whose events have nearly all forms; those of all
/// kinds are damaged byte by byte by the program `hostile`.
fn captured_binlogs() -> Vec<Vec<u8>> {
    let read = |kind: &str| {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-fixtures");
        let bytes = std::fs::read(fixtures.join(kind).join("basic.binlog")).expect(kind);
        assert!(bytes.starts_with(&MAGIC), "{kind}");
        bytes
    };
    ["mysql-9.7", "mariadb-11.8"].map(read).to_vec()
}

/// The events of a binlog file.
fn events_of(file: &[u8]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    let mut rest = &file[MAGIC.len()..];
    while let Ok(header) = EventHeader::parse(rest) {
        let Some((event, tail)) = rest.split_at_checked(header.event_size as usize) else {
            break;
        };
        events.push(event.to_vec());
        rest = tail;
    }
    events
}

fn event(event_type: EventType, body: &[u8]) -> Vec<u8> {
    let header = EventHeader {
        timestamp: 1_700_000_000,
        event_type,
        server_id: 1,
        event_size: 0,
        log_pos: 0,
        flags: 0,
    };
    event::build(header, body)
}

fn query_body(database: &str, statement: &str) -> Vec<u8> {
    let mut body = vec![0; 13];
    body[8] = database.len() as u8;
    body.extend_from_slice(database.as_bytes());
    body.push(0);
    body.extend_from_slice(statement.as_bytes());
    body
}

fn gtid_body() -> Vec<u8> {
    let mut body = vec![1];
    body.extend_from_slice(&[0x3e; 16]);
    body.extend_from_slice(&5_u64.to_le_bytes());
    body.push(2);
    body.extend_from_slice(&4_u64.to_le_bytes());
    body.extend_from_slice(&5_u64.to_le_bytes());
    body
}

fn table_map_body() -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 4];
    body.extend_from_slice(b"test\0\x01t\0\x01\x03\0\x01");
    body
}

fn rows_body() -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0xff];
    body.extend_from_slice(&[0, 1, 0, 0, 0]);
    body
}

/// A table map and a row of it, in the form that the target of rows reads: columns of every sort of
/// type, an image that has all of them.
fn rows_seeds() -> Vec<Vec<u8>> {
    let types = [
        3, 8, 5, 246, 16, 10, 19, 18, 17, 13, 15, 254, 254, 252, 255, 245, 242, 140,
    ];
    let metadata = [
        8, 10, 2, 4, 1, 6, 3, 2, 20, 0, 254, 20, 247, 1, 2, 4, 4, 4, 2,
    ];
    let mut map = b"\x07\0\0\0\0\0\x01\0\x04test\0\x01t\0".to_vec();
    map.push(types.len() as u8);
    map.extend_from_slice(&types);
    map.push(metadata.len() as u8);
    map.extend_from_slice(&metadata);
    map.extend_from_slice(&[0xff, 0xff, 0xff, 1, 1, 0xc0, 13, 1, 2]);
    let mut row = vec![0; 3];
    row.extend_from_slice(&[
        1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f,
    ]);
    row.extend_from_slice(&[0x80, 0, 0, 1, 5, 0x0a, 0xaa, 1, 2, 3, 0x80, 0, 1, 0, 0, 1]);
    row.extend_from_slice(&[0x99, 1, 2, 3, 4, 5, 6, 0x5e, 1, 2, 3, 7, 120]);
    row.extend_from_slice(b"\x03abc\x02de\x02\x02\0bl");
    row.extend_from_slice(b"\x05\0\0\0\0\0\0\0\x01");
    let document = b"\x02\x01\0\x0b\0\x0c\x07\0\x03abc";
    row.extend_from_slice(&[12, 0, 0, 0]);
    row.extend_from_slice(document);
    row.extend_from_slice(b"\x08\0\0\0\0\0\x80\x3f\0\0\0\x40\x06\0\0short");
    let with_body = |head: &[u8]| {
        let mut seed = (map.len() as u16).to_le_bytes().to_vec();
        seed.extend_from_slice(&map);
        seed.extend_from_slice(&[7, 0, 0, 0, 0, 0, 1, 0]);
        seed.extend_from_slice(head);
        seed.extend_from_slice(&row);
        seed
    };
    vec![
        with_body(&[18, 0xff, 0xff, 0xff]),
        with_body(&[2, 0, 18, 0xff, 0xff, 0xff]),
        document.to_vec(),
        b"\x00\x03$.a\x03\x05\x02\x00\x01\x04$[1]\x02\x04\x00\x02\x03$.b".to_vec(),
        b"\x8a\x03\xe8+)\x19\x05\xa3`\x14\x0cw\0\0".to_vec(),
    ]
}

/// A transaction in the form that the assembler's target reads.
fn assembler_stream(choice: u8) -> Vec<u8> {
    let mut mariadb = 99_u64.to_le_bytes().to_vec();
    mariadb.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let parts = [
        (EventType::GTID, gtid_body()),
        (EventType::QUERY, query_body("test", "BEGIN")),
        (EventType::TABLE_MAP, table_map_body()),
        (EventType::WRITE_ROWS, rows_body()),
        (EventType::XID, vec![9; 8]),
        (EventType::GTID, gtid_body()),
        (
            EventType::QUERY,
            query_body("other", "CREATE TABLE t (a INT)"),
        ),
        (EventType::MARIADB_GTID, mariadb),
        (EventType::INTVAR, vec![2; 9]),
        (
            EventType::QUERY,
            query_body("test", "INSERT INTO t VALUES (1)"),
        ),
        (EventType::XID, vec![9; 8]),
    ];
    let mut stream = vec![choice];
    for (event_type, body) in parts {
        stream.push(event_type.0);
        stream.extend_from_slice(&(body.len() as u16).to_le_bytes());
        stream.extend_from_slice(&body);
    }
    stream
}

fn wire_messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for text in gtid_texts() {
        let text = String::from_utf8(text).expect("UTF-8");
        let mut bytes = Vec::new();
        if let Ok(set) = text.parse::<GtidSet>() {
            set.encode(&mut bytes);
        } else if let Ok(state) = text.parse::<BinlogState>() {
            state.encode_gtid_list(&mut bytes);
        }
        messages.push(bytes);
    }
    messages
}

fn packets() -> Vec<Vec<u8>> {
    // Hand-made after the protocol's documentation: greeting, login with TLS request, OK, ERR,
    // authentication switch, a result set of one row (length-prefixed, as its target reads it).
    let mut greeting = b"\x0a8.0.41\0\x08\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15".to_vec();
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
    let mut login = b"\x85\xa6\xff\x01\0\0\0\x01\x2d".to_vec();
    login.extend_from_slice(&[0; 23]);
    let mut ssl_request = login.clone();
    ssl_request[1] |= 0x08; // CLIENT_SSL
    login.extend_from_slice(b"repl\0\x03abcmysql_native_password\0\x0e\x04_pid\x0812345678");
    let ok = b"\0\x01\x02\x02\0\0\0done".to_vec();
    let error = b"\xff\xd4\x04#HY000Could not find first log file".to_vec();
    let switch = b"\xfemysql_native_password\0abcdefghijklmnopqrst\0".to_vec();
    let column = b"\x03def\0\0\0\x01a\x01a\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0";
    let mut result = vec![1, 1, column.len() as u8];
    result.extend_from_slice(column);
    result.extend_from_slice(b"\x05\xfe\0\0\x02\0\x02\x01x\x05\xfe\0\0\x02\0");
    let mut dump_gtid = b"\x1e\x04\0\x65\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x08\0\0\0".to_vec();
    dump_gtid.extend_from_slice(&[0; 8]);
    let register = command::register_slave(101, "replica", 3306);
    let query = command::query("SELECT @@GLOBAL.GTID_MODE");
    let mut framed = Vec::new();
    let mut sequence = 0;
    for payload in [&greeting, &login, &vec![7; 3000], &Vec::new()] {
        put_packet(&mut framed, &mut sequence, payload);
    }
    vec![
        greeting,
        login,
        ssl_request,
        ok,
        error,
        switch,
        result,
        dump_gtid,
        register,
        query,
        framed,
    ]
}

/// Valid inputs of a target.
fn seeds_of(target: &str, binlogs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match target {
        "events" => {
            let mut seeds: Vec<_> = binlogs.iter().flat_map(|file| events_of(file)).collect();
            seeds.push(event(EventType::GTID, &gtid_body()));
            seeds.extend([
                gtid_body(),
                query_body("test", "BEGIN"),
                table_map_body(),
                rows_body(),
            ]);
            seeds
        }
        "assembler" | "listing" => {
            let mut seeds: Vec<_> = (0..16).map(assembler_stream).collect();
            seeds.extend(binlogs.iter().cloned());
            seeds
        }
        "rows" => rows_seeds(),
        "gtid_text" => gtid_texts(),
        "gtid_wire" => wire_messages(),
        "index_record" => (0..=20).map(|kind| vec![kind; 64]).collect(),
        "frames" | "packets" | "query_response" => packets(),
        "last_of" => binlogs.to_vec(),
        "sql" => statements(),
        "like" => texts(&[
            "\\%a%b_\\_\0%ab__",
            "rpl%semi\0rpl_semi_sync",
            "%a%a%a%a%a%b\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ]),
        "configuration" => configurations(),
        "small_files" => texts(&[
            "./relay-bin.000001\n./relay-bin.000002\n",
            "[auto]\nserver-uuid=3e11fa47-71ca-11e1-9e33-c80aa9429562\n",
        ]),
        other => panic!("no seeds for the target {other}"),
    }
}

/// A seed with some damage, or random bytes.
fn input(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if rng.random_ratio(1, 10) {
        let len = rng.random_range(0..RANDOM_LEN_MAX);
        return (0..len).map(|_| rng.random()).collect();
    }
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(0..4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => {
                bytes[at] = [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff][rng.random_range(0..9)]
            }
            3 => bytes.insert(at, rng.random()),
            4 => {
                bytes.remove(at);
            }
            5 => {
                let end = bytes.len().min(at + rng.random_range(1..=8));
                bytes[at..end].fill(0xff);
            }
            _ => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// Runs `target` on `bytes`; a panic is reported with the input.
fn run(target: &str, body: fn(&[u8]), bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(bytes))).is_err() {
        panic!("{target} fails with the input {}", bytes.escape_ascii());
    }
}

fn smoke(target: &str) {
    let (_, body) = bodies::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let seeds = seeds_of(target, &captured_binlogs());
    let mut rng = StdRng::seed_from_u64(number_from_env("BINRELAY_FUZZ_SEED", 1));
    for seed in &seeds {
        run(target, *body, seed);
        for len in 0..seed.len().min(RANDOM_LEN_MAX) {
            if seed.len() < RANDOM_LEN_MAX / 2 || len % 8 == 0 {
                run(target, *body, &seed[..len]);
            }
        }
    }
    let rounds = match (profile(), target) {
        // Each writes files and syncs them.
        (Profile::Gate, "small_files" | "last_of") => ROUNDS_GATE / 10,
        (Profile::Gate, _) => ROUNDS_GATE,
        (Profile::Long, _) => ROUNDS_LONG,
    };
    let limit = Duration::from_secs(number_from_env("BINRELAY_FUZZ_SECONDS", 0));
    let (began, mut done) = (Instant::now(), 0);
    let rounds = number_from_env("BINRELAY_FUZZ_ROUNDS", rounds);
    while done < rounds || began.elapsed() < limit {
        let bytes = input(&mut rng, &seeds);
        let start = Instant::now();
        run(target, *body, &bytes);
        let took = start.elapsed();
        assert!(
            took < INPUT_LIMIT,
            "{target} takes {took:?} for the input {}",
            bytes.escape_ascii()
        );
        done += 1;
    }
    println!("{target}: {done} inputs in {:.0?}", began.elapsed());
}

#[test]
fn events() {
    smoke("events");
}

#[test]
fn assembler() {
    smoke("assembler");
}

#[test]
fn frames() {
    smoke("frames");
}

#[test]
fn packets_of_both_sides() {
    smoke("packets");
}

#[test]
fn query_response() {
    smoke("query_response");
}

#[test]
fn listing() {
    smoke("listing");
}

#[test]
fn rows() {
    smoke("rows");
}

#[test]
fn sql() {
    smoke("sql");
}

#[test]
fn like() {
    smoke("like");
}

#[test]
fn configuration() {
    smoke("configuration");
}

#[test]
fn small_files() {
    smoke("small_files");
}

#[test]
fn last_of() {
    smoke("last_of");
}

#[test]
fn gtid_text() {
    smoke("gtid_text");
}

#[test]
fn gtid_wire() {
    smoke("gtid_wire");
}

#[test]
fn index_record() {
    smoke("index_record");
}

/// The seeds reach what they are meant to reach: damage alone would stay at the first check.
#[test]
fn hand_made_seeds_are_valid() {
    use binrelay::protocol::command::Command;
    use binrelay::protocol::handshake::{Greeting, HandshakeResponse, SslRequest};
    use binrelay::protocol::response::{
        OkPacket, QueryResponse, QueryResponseReader, ResultLimits, parse_error,
    };
    for choice in 0..16 {
        assert_eq!(
            bodies::assemble(&assembler_stream(choice)),
            3,
            "{choice:#b}"
        );
    }
    let [first, ..] = &rows_seeds()[..] else {
        panic!("no seeds of rows");
    };
    assert_eq!(bodies::sound_values(first), 18);
    let packets = packets();
    assert_eq!(
        Greeting::decode(&packets[0])
            .expect("greeting")
            .server_version,
        "8.0.41"
    );
    HandshakeResponse::decode(&packets[1]).expect("login");
    SslRequest::decode(&packets[2])
        .expect("TLS request")
        .expect("TLS request");
    OkPacket::decode(&packets[3]).expect("OK");
    assert_eq!(parse_error(&packets[4]).expect("ERR").code, 1236);
    let mut reader = QueryResponseReader::new(ResultLimits::default());
    let mut rest = packets[6].as_slice();
    let mut last = None;
    while let Some((len, tail)) = rest.split_first() {
        let (packet, tail) = tail.split_at(usize::from(*len));
        rest = tail;
        last = reader.push(packet).expect("a packet of the result");
    }
    assert!(matches!(last, Some(QueryResponse::Rows(_))), "{last:?}");
    assert!(matches!(
        Command::parse(&packets[7]),
        Ok(Command::BinlogDumpGtid(_))
    ));
}

/// Every target of the library is one of cargo-fuzz, and the other way round.
#[test]
fn every_target_has_its_program() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz");
    let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).expect("its manifest");
    for (name, _) in bodies::TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        let program = std::fs::read_to_string(directory.join(&path)).expect(name);
        assert!(program.contains(&format!("fuzz_{name}(data)")), "{path}");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path}");
    }
    let programs = std::fs::read_dir(directory.join("fuzz_targets")).expect("programs");
    assert_eq!(programs.count(), bodies::TARGETS.len());
}
