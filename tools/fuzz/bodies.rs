//! The bodies of the fuzz targets: each parses its input, and checks the invariants of everything that
//! parses.
//!
//! The same functions run under `cargo test` (`tests/program/fuzz_smoke.rs`) with seeded inputs, which are
//! mutated at random. `tools/fuzz/run` does that for minutes or hours, with the project's own toolchain:
//!
//! ```text
//! tools/fuzz/run --seconds 300               # every target of TARGETS, 300 seconds each
//! tools/fuzz/run --seconds 3600 sql events   # two of them
//! ```
//!
//! With coverage to guide the mutations, the targets also run under libFuzzer, which needs a nightly toolchain
//! (`rustup toolchain install nightly`) and cargo-fuzz (`cargo install cargo-fuzz`):
//! `cargo +nightly fuzz run --fuzz-dir tools/fuzz events`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fuzz target reports by panicking"
)]

mod files;
mod gtids;
mod index_records;
#[path = "../../src/cli/last_of.rs"]
mod last_of;
mod listing;
mod row_values;
mod statements;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use binrelay::binlog::event::{self, EventHeader};
use binrelay::binlog::format_description::{Checksum, FormatDescription};
use binrelay::binlog::mariadb_gtid::{self, MariaDbGtidEvent};
use binrelay::binlog::mysql_gtid::{self, LogicalClock, MySqlGtidEvent};
use binrelay::binlog::query::Query;
use binrelay::binlog::rotate::Rotate;
use binrelay::binlog::rows::{RowsHead, TableMap};
use binrelay::binlog::{CHECKSUM_LEN, EventType, HEADER_LEN, MAGIC, Opener};
use binrelay::filter::{Filter, RuleLists};
use binrelay::flavor::Flavor;
use binrelay::gtid::BinlogState;
use binrelay::protocol::auth::{ClientAuth, Protection, Secret, ServerKey};
use binrelay::protocol::command::Command;
use binrelay::protocol::framing::{FrameReader, PacketPart, READ_BUFFER_MIN};
use binrelay::protocol::handshake::{Greeting, HandshakeResponse, SCRAMBLE_LENGTH, SslRequest};
use binrelay::protocol::response::{OkPacket, QueryResponseReader, ResultLimits, parse_error};
use binrelay::transaction::{Assembler, AssemblerOptions, TransactionBatch};

pub use files::{fuzz_configuration, fuzz_last_of, fuzz_small_files};
pub use gtids::{fuzz_gtid_text, fuzz_gtid_wire};
pub use index_records::fuzz_index_record;
pub use listing::fuzz_listing;
pub use row_values::{fuzz_rows, sound_values};
pub use statements::{fuzz_like, fuzz_sql};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("events", fuzz_events),
    ("assembler", fuzz_assembler),
    ("frames", fuzz_frames),
    ("packets", fuzz_packets),
    ("query_response", fuzz_query_response),
    ("gtid_text", fuzz_gtid_text),
    ("gtid_wire", fuzz_gtid_wire),
    ("index_record", fuzz_index_record),
    ("listing", fuzz_listing),
    ("rows", fuzz_rows),
    ("sql", fuzz_sql),
    ("like", fuzz_like),
    ("configuration", fuzz_configuration),
    ("small_files", fuzz_small_files),
    ("last_of", fuzz_last_of),
];

/// The input as an event, and as the body of one of each type.
pub fn fuzz_events(data: &[u8]) {
    for checksummed in [false, true] {
        let _ = MySqlGtidEvent::parse(data, checksummed);
        let _ = MariaDbGtidEvent::parse(data, checksummed);
        let _ = Opener::parse(data, checksummed);
        parse_body(event::body(data, checksummed));
    }
    let _ = event::verify_checksum(data);
    let _ = FormatDescription::parse(data).map(|format| {
        let again = format.encode(1, 2, 3, 0);
        FormatDescription::parse(&again).expect("what was encoded is read")
    });
    if let Ok(header) = EventHeader::parse(data) {
        assert_eq!(header.encode()[..], data[..HEADER_LEN]);
    }
    rewrite_openers(data);
    parse_body(data);
    for event_type in 0..=u8::MAX {
        let event = event_of_type(event_type, data);
        event::verify_checksum(&event).expect("build writes a checksum");
        rewrite_openers(&event);
    }
}

fn event_of_type(event_type: u8, body: &[u8]) -> Vec<u8> {
    let header = EventHeader {
        timestamp: 1_700_000_000,
        event_type: EventType(event_type),
        server_id: 1,
        event_size: 0,
        log_pos: 0,
        flags: 0,
    };
    event::build(header, body)
}

fn parse_body(body: &[u8]) {
    for event_type in [
        EventType::QUERY,
        EventType::QUERY_COMPRESSED,
        EventType::EXECUTE_LOAD_QUERY,
    ] {
        if let Ok(query) = Query::parse(event_type, body) {
            let _ = (query.opens_transaction(), query.ends_transaction());
            let _ = query.is_transaction_keyword();
        }
    }
    let _ = Rotate::parse(body);
    let _ = TableMap::parse(body);
    let _ = RowsHead::parse(body).map(|head| head.ends_statement());
    let _ = BinlogState::decode_gtid_list(body);
}

/// A rewritten opener is still that opener, with the new clock.
fn rewrite_openers(event: &[u8]) {
    let Some(event_type) = event.get(4).copied().map(EventType) else {
        return;
    };
    if event_type == EventType::MARIADB_GTID {
        let mut changed = event.to_vec();
        let changed = mariadb_gtid::set_commit_id(&mut changed, 7);
        if let Ok(before) = MariaDbGtidEvent::parse(event, true)
            && EventHeader::parse(event).is_ok()
        {
            changed.expect("an event that was read has its commit id");
            let empty = mariadb_gtid::empty_group(event).expect("it was read before");
            let after = MariaDbGtidEvent::parse(&empty, true).expect("an empty group is read");
            assert_eq!(before.gtid, after.gtid);
        }
        return;
    }
    if !event_type.is_gtid() {
        return;
    }
    let clock = LogicalClock {
        last_committed: 300,
        sequence_number: 70_000,
    };
    let before = MySqlGtidEvent::parse(event, true);
    let mut out = vec![0xAA];
    let rewritten = mysql_gtid::rewrite(event, clock, 1000, &mut out);
    if let (Ok(before), Ok(())) = (before, rewritten) {
        let after = MySqlGtidEvent::parse(&out[1..], true).expect("a rewritten opener is read");
        assert_eq!(before.gtid, after.gtid);
        assert_eq!(
            before.original_commit_time_us,
            after.original_commit_time_us
        );
        if before.clock.is_some() {
            assert_eq!(after.clock, Some(clock));
        }
        if before.transaction_length.is_some() {
            assert_eq!(after.transaction_length, Some(out.len() as u64 - 1 + 1000));
        }
    }
}

/// Events to be assembled: a binlog file, or else (type, 2 bytes of length, body) one after the
/// other. The first byte of the latter chooses checksums, filter, spilling and large parts.
pub fn fuzz_assembler(data: &[u8]) {
    assemble(data);
}

/// How many transactions [`fuzz_assembler`] finds.
pub fn assemble(data: &[u8]) -> usize {
    if data.starts_with(&MAGIC) {
        return [0b0000, 0b0010, 0b1110]
            .map(|choice| assemble_file(data, choice))
            .iter()
            .sum();
    }
    let Some((choice, mut rest)) = data.split_first() else {
        return 0;
    };
    let mut assembler = assembler(*choice, None);
    let mut found = 0;
    let mut position = 4_u64;
    while let Some(([event_type, low, high], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (body, tail) = tail.split_at(len);
        rest = tail;
        let mut event = event_of_type(*event_type, body);
        if choice & 1 == 0 {
            event.truncate(event.len() - CHECKSUM_LEN);
            let len = event.len() as u32;
            event::set_event_size(&mut event, len).expect("it has a header");
        }
        position += event.len() as u64;
        found += feed(&mut assembler, &event, position, *choice);
    }
    found
}

/// A directory of this process's own: under `cargo test` in `target`.
fn scratch() -> &'static PathBuf {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let parent =
            option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = parent.join(format!("binrelay-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for files");
        dir
    })
}

fn assembler(choice: u8, format: Option<FormatDescription>) -> Assembler {
    let do_db = if choice & 2 == 0 {
        vec![]
    } else {
        vec!["test".to_owned()]
    };
    let options = AssemblerOptions {
        source: 0,
        source_server_id: 1,
        source_first_timestamp: 0,
        has_gtids: choice & 8 == 0,
        first_run: 1,
        filter: Filter::new(
            RuleLists {
                do_db,
                ..RuleLists::default()
            },
            Flavor::MySql,
            false,
        ),
        spill_dir: scratch().clone(),
        spill_size: if choice & 4 == 0 { 1 << 20 } else { 64 },
    };
    let format = format.unwrap_or_else(|| FormatDescription {
        server_version: "8.0.41".to_owned(),
        created: 0,
        post_header_lengths: vec![0; 42],
        checksum: if choice & 1 == 0 {
            Checksum::None
        } else {
            Checksum::Crc32
        },
    });
    let mut assembler = Assembler::new(options, Arc::new(format));
    assembler.start_file(Arc::from("bin.000001"), 4);
    assembler
}

fn assemble_file(file: &[u8], choice: u8) -> usize {
    let mut rest = &file[MAGIC.len()..];
    let mut position = MAGIC.len() as u64;
    let mut assembler = assembler(1, None);
    let mut found = 0;
    while let Ok(header) = EventHeader::parse(rest) {
        let Some((event, tail)) = rest.split_at_checked(header.event_size as usize) else {
            return found;
        };
        rest = tail;
        position += event.len() as u64;
        if header.event_type == EventType::FORMAT_DESCRIPTION {
            let Ok(format) = FormatDescription::parse(event) else {
                return found;
            };
            assembler = self::assembler(choice, Some(format));
        } else {
            let mut event = event.to_vec();
            if choice != 0 {
                // A damaged event would not get past its checksum.
                let _ = event::write_checksum(&mut event);
            }
            found += feed(&mut assembler, &event, position, choice);
        }
    }
    found
}

/// The number of transactions that are complete with this event.
fn feed(assembler: &mut Assembler, event: &[u8], position: u64, choice: u8) -> usize {
    let event_type = event.get(4).copied().map(EventType);
    if event_type.is_none_or(EventType::is_control) {
        return 0;
    }
    // As the receiver does: an opener always comes whole, other events may come in parts.
    let in_parts =
        choice & 8 != 0 && event.len() > 64 && !event_type.is_some_and(EventType::is_gtid);
    let result = if in_parts {
        let parts = [
            &event[..64],
            &event[64..event.len() / 2 + 32],
            &event[event.len() / 2 + 32..],
        ];
        parts
            .iter()
            .try_for_each(|part| assembler.large_part(part))
            .and_then(|()| assembler.end_large(position))
    } else {
        assembler.event(event, position)
    };
    if result.is_err() {
        assembler.abandon();
    }
    let Some(batch) = assembler.take_batch() else {
        return 0;
    };
    check_batch(&batch);
    let found = batch.transactions.len();
    batch.recycle();
    found
}

/// The invariants that the writer relies on: ranges are inside the batch and hold whole events.
fn check_batch(batch: &TransactionBatch) {
    for transaction in &batch.transactions {
        let opener = &batch.bytes[transaction.opener.clone().unwrap_or_default()];
        let rest = &batch.bytes[transaction.rest.clone()];
        assert!(transaction.len() >= transaction.rest_len());
        if !opener.is_empty() {
            assert_whole_events(opener);
        }
        if let Some(spill) = &transaction.spill {
            assert_eq!(spill.len(), transaction.rest_len());
            let mut bytes = vec![0; spill.len() as usize];
            spill
                .read_exact_at(&mut bytes, 0)
                .expect("spilled bytes can be read");
            assert_whole_events(&bytes);
        } else {
            assert_eq!(rest.len() as u64, transaction.rest_len());
            assert_whole_events(rest);
        }
    }
}

fn assert_whole_events(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let header = EventHeader::parse(bytes).expect("an event begins here");
        let size = header.event_size as usize;
        assert!(size >= HEADER_LEN + CHECKSUM_LEN, "{header:?}");
        bytes = bytes.get(size..).expect("the event is whole");
    }
}

/// Packets cut from a stream are the same however it arrives.
pub fn fuzz_frames(data: &[u8]) {
    let whole = packets_of(data, data.len());
    for step in [1, 7, READ_BUFFER_MIN] {
        assert_eq!(whole, packets_of(data, step), "in steps of {step}");
    }
}

/// The payloads in `stream`, of which `step` more bytes arrive whenever more are needed, and
/// whether it ended with an error.
fn packets_of(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let mut reader = FrameReader::new();
    let mut packets = Vec::new();
    let mut open = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        match reader.next(&stream[start..end], READ_BUFFER_MIN) {
            Ok(Some((used, part))) => {
                assert!(used <= end - start);
                if matches!(part, PacketPart::Whole(_) | PacketPart::Begin(_)) {
                    assert!(open.is_empty(), "a packet begins within another");
                }
                open.extend_from_slice(part.bytes());
                if part.is_last() {
                    packets.push(std::mem::take(&mut open));
                }
                start += used;
            }
            Ok(None) if end == stream.len() => return (packets, false),
            Ok(None) => {
                assert!(
                    end - start < READ_BUFFER_MIN,
                    "a full buffer must be enough"
                );
                let space = READ_BUFFER_MIN - (end - start);
                end = (end + step.clamp(1, space)).min(stream.len());
            }
            Err(_) => return (packets, true),
        }
    }
}

/// The input as each packet of a login and as a command.
pub fn fuzz_packets(data: &[u8]) {
    if let Ok(greeting) = Greeting::decode(data) {
        let again = Greeting::decode(&greeting.encode()).expect("what was encoded is read");
        assert_eq!(again.server_version, greeting.server_version);
    }
    if let Ok(response) = HandshakeResponse::decode(data) {
        assert!(!format!("{response:?}").is_empty());
        let _ = HandshakeResponse::decode(&response.encode());
    }
    if let Ok(Some(request)) = SslRequest::decode(data) {
        assert!(SslRequest::decode(&request.encode()).is_ok_and(|again| again.is_some()));
    }
    if let Ok(ok) = OkPacket::decode(data) {
        let _ = OkPacket::decode(&ok.encode()).expect("what was encoded is read");
    }
    let _ = parse_error(data);
    if let Ok(Command::BinlogDumpGtid(dump)) = Command::parse(data) {
        assert!(!format!("{dump:?}").is_empty());
    }
    let password = Secret::new("secret");
    for protection in [
        Protection::Plain(ServerKey::Requested),
        Protection::UnverifiedTls,
        Protection::VerifiedTls,
    ] {
        for plugin in ["mysql_native_password", "caching_sha2_password", "other"] {
            let mut auth =
                ClientAuth::new(plugin, &[7; SCRAMBLE_LENGTH], &password, protection.clone());
            let _ = auth.response();
            // Length-prefixed packets, for the many-step plugins.
            let mut rest = data;
            while let Some((len, tail)) = rest.split_first() {
                let (packet, tail) = tail.split_at(usize::from(*len).min(tail.len()));
                rest = tail;
                if auth.on_packet(packet).is_err() {
                    break;
                }
            }
            let _ = auth.on_packet(data);
        }
    }
}

/// Length-prefixed packets as the answer to a query.
pub fn fuzz_query_response(data: &[u8]) {
    let mut reader = QueryResponseReader::new(ResultLimits::default());
    let mut rest = data;
    while let Some((len, tail)) = rest.split_first() {
        let (packet, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        if !matches!(reader.push(packet), Ok(None)) {
            break;
        }
    }
    let _ = QueryResponseReader::new(ResultLimits::default()).push(data);
}
