//! Describing events that do not depend on other events.

use std::fmt::Write;

use crate::binlog::fields::{EventError, FieldReader};
use crate::binlog::format_description::Checksum;
use crate::binlog::mariadb_gtid::{AlterHalf, MariaDbGtidEvent};
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::payload::PayloadHeader;
use crate::binlog::query::Query;
use crate::binlog::rotate::Rotate;
use crate::binlog::statement_context::{Intvar, UserVar, parse_rand};
use crate::binlog::xa_prepare::XaPrepare;
use crate::binlog::{
    EventType, FormatDescription, HEADER_LEN, Opener, compressed, incident, load_data,
};
use crate::identity::Identity;
use crate::inspect::description::{Description, UNCOMPRESSED_MAX};
use crate::inspect::file_event::EventBytes;
use crate::inspect::text::{one_line, shortened};

/// Bits of flags2 in MariaDB's GTID event, as mariadb-binlog names them.
const MARIADB_GTID_FLAGS: [(u8, &str); 7] = [
    (1, "standalone"),
    (4, "trans"),
    (8, "parallel"),
    (16, "waited"),
    (32, "ddl"),
    (64, "prepared XA"),
    (128, "completed XA"),
];

pub(super) fn format_description(format: Option<&FormatDescription>) -> Description {
    let Some(format) = format else {
        return Description::default();
    };
    let checksum = match format.checksum {
        Checksum::None => "none",
        Checksum::Crc32 => "CRC32",
    };
    Description::text(format!(
        "server {} binlog 4 checksum {checksum}",
        one_line(format.server_version.as_bytes())
    ))
}

pub(super) fn gtid(bytes: &EventBytes<'_>) -> Result<Description, EventError> {
    let opener = Opener::parse(bytes.event, bytes.checksummed)?;
    let text = match &opener {
        Opener::MySql(opener) => mysql_gtid(opener),
        Opener::MariaDb(opener) => mariadb_gtid(opener),
    };
    Ok(Description {
        identity: Some(Identity::of_opener(&opener)),
        text,
        ..Description::default()
    })
}

fn mysql_gtid(opener: &MySqlGtidEvent) -> String {
    let mut text = opener
        .gtid
        .map_or_else(|| "ANONYMOUS".to_owned(), |gtid| gtid.to_string());
    if let Some(clock) = opener.clock {
        let _ = write!(
            text,
            " last_committed={} sequence_number={}",
            clock.last_committed, clock.sequence_number
        );
    }
    if let Some(length) = opener.transaction_length {
        let _ = write!(text, " transaction_length={length}");
    }
    text
}

fn mariadb_gtid(opener: &MariaDbGtidEvent) -> String {
    let mut text = opener.gtid.to_string();
    for (flag, name) in MARIADB_GTID_FLAGS {
        if opener.flags2 & flag != 0 {
            text.push(' ');
            text.push_str(name);
        }
    }
    if let Some(commit_id) = opener.commit_id {
        let _ = write!(text, " cid={commit_id}");
    }
    match opener.alter {
        None => {}
        Some(AlterHalf::Start) => text.push_str(" START ALTER"),
        Some(AlterHalf::End { start_seq_no }) => {
            let _ = write!(text, " end of START ALTER {start_seq_no}");
        }
    }
    text
}

pub(super) fn other(
    event_type: EventType,
    body: &[u8],
    whole: bool,
) -> Result<Description, EventError> {
    match event_type {
        EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY => {
            query(event_type, body, whole)
        }
        EventType::XID => {
            let mut fields = FieldReader::new("Xid event", body, HEADER_LEN);
            Ok(Description::text(format!("xid={}", fields.u64("xid")?)))
        }
        EventType::ROTATE => {
            let rotate = Rotate::parse(body)?;
            let file = one_line(rotate.file);
            Ok(Description::text(format!("{file} pos={}", rotate.position)))
        }
        EventType::INTVAR => {
            let intvar = Intvar::parse(body)?;
            Ok(Description::text(format!(
                "{}={}",
                intvar.name, intvar.value
            )))
        }
        EventType::RAND => {
            let (first, second) = parse_rand(body)?;
            Ok(Description::text(format!("seeds {first}, {second}")))
        }
        EventType::USER_VAR if whole => user_var(body),
        EventType::ROWS_QUERY => {
            let mut fields = FieldReader::new("Rows_query event", body, HEADER_LEN);
            // One byte: the length of the text modulo 256.
            fields.u8("length")?;
            Ok(annotation(fields.rest()))
        }
        EventType::ANNOTATE_ROWS => Ok(annotation(body)),
        EventType::TRANSACTION_PAYLOAD => {
            let header = PayloadHeader::parse(body)?;
            let size = |size: Option<u64>| size.map_or("?".to_owned(), |size| size.to_string());
            Ok(Description::text(format!(
                "compression={} payload_size={} uncompressed_size={}",
                header.compression_name(),
                size(header.payload_size),
                size(header.uncompressed_size)
            )))
        }
        _ => rare(event_type, body),
    }
}

/// Rare event types.
fn rare(event_type: EventType, body: &[u8]) -> Result<Description, EventError> {
    match event_type {
        EventType::HEARTBEAT => Ok(Description::text(one_line(body))),
        EventType::INCIDENT => {
            let (number, message) = incident::parse(body)?;
            Ok(Description::text(format!(
                "#{number} {}",
                one_line(message)
            )))
        }
        EventType::XA_PREPARE => {
            let prepare = XaPrepare::parse(body)?;
            let one_phase = if prepare.one_phase { " one phase" } else { "" };
            Ok(Description::text(format!("{prepare}{one_phase}")))
        }
        EventType::BEGIN_LOAD_QUERY
        | EventType::APPEND_BLOCK
        | EventType::DELETE_FILE
        | EventType::EXEC_LOAD => {
            let id = load_data::file_id(event_type, body)?;
            Ok(Description::text(format!(
                "file_id={id} block_len={}",
                body.len().saturating_sub(4)
            )))
        }
        EventType::BINLOG_CHECKPOINT => {
            let mut fields = FieldReader::new("Binlog_checkpoint event", body, HEADER_LEN);
            let length = fields.u32("name length")?;
            let name = fields.take("file name", length as usize)?;
            Ok(Description::text(one_line(name)))
        }
        _ => Ok(Description::default()),
    }
}

fn query(event_type: EventType, body: &[u8], whole: bool) -> Result<Description, EventError> {
    const NAME: &str = "Query_compressed event";
    let mut query = Query::parse(event_type, body)?;
    let expanded = match event_type {
        EventType::QUERY_COMPRESSED if whole => {
            let at = HEADER_LEN + body.len() - query.statement.len();
            compressed::decompress(NAME, query.statement, at, UNCOMPRESSED_MAX)?
        }
        _ => None,
    };
    let is_readable = event_type != EventType::QUERY_COMPRESSED || expanded.is_some();
    if let Some(expanded) = &expanded {
        query.statement = expanded;
    }
    let mut text = String::new();
    if !query.database.is_empty() {
        let _ = write!(text, "use `{}`; ", one_line(query.database));
    }
    match is_readable {
        true => text.push_str(&shortened(query.statement)),
        false => text.push_str("(compressed)"),
    }
    if query.error_code != 0 {
        let _ = write!(text, " (error {})", query.error_code);
    }
    if event_type == EventType::EXECUTE_LOAD_QUERY {
        let _ = write!(text, " file_id={}", load_data::file_id(event_type, body)?);
    }
    Ok(Description {
        database: Some(query.database.to_vec()),
        statement: is_readable.then(|| query.statement.to_vec()),
        is_transaction_keyword: query.is_transaction_keyword(),
        text,
        ..Description::default()
    })
}

fn annotation(text: &[u8]) -> Description {
    Description {
        statement: Some(text.to_vec()),
        text: shortened(text),
        ..Description::default()
    }
}

fn user_var(body: &[u8]) -> Result<Description, EventError> {
    let variable = UserVar::parse(body)?;
    let mut text = format!("@`{}` {}", one_line(variable.name), variable.type_name);
    let number = variable.value.first_chunk::<8>().copied();
    match (variable.type_name, number) {
        ("INT", Some(bytes)) if variable.unsigned => {
            let _ = write!(text, " {}", u64::from_le_bytes(bytes));
        }
        ("INT", Some(bytes)) => {
            let _ = write!(text, " {}", i64::from_le_bytes(bytes));
        }
        ("REAL", Some(bytes)) => {
            let _ = write!(text, " {}", f64::from_le_bytes(bytes));
        }
        ("STRING", _) => {
            let _ = write!(text, " '{}'", shortened(variable.value));
        }
        _ => {}
    }
    Ok(Description::text(text))
}
