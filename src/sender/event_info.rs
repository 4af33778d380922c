//! The Info column of SHOW BINLOG EVENTS, as MySQL 9.7 and MariaDB 10.11 write it.

use std::io::Write;

use mysql_common::collations::{Collation, CollationId};

use crate::binlog::fields::{EventError, FieldReader};
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::payload::PayloadHeader;
use crate::binlog::query::Query;
use crate::binlog::rotate::Rotate;
use crate::binlog::rows::{RowsHead, TableMap};
use crate::binlog::statement_context::{Intvar, UserVar, parse_rand};
use crate::binlog::xa_prepare::XaPrepare;
use crate::binlog::{
    EventHeader, EventType, FormatDescription, HEADER_LEN, compressed, decimal, event, incident,
    load_data,
};
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidSet};

/// The most bytes of a compressed statement that are shown.
const UNCOMPRESSED_MAX: usize = 1 << 20;
/// Header flag: the default database does not matter.
const FLAG_SUPPRESS_USE: u16 = 0x8;
/// Rows flag of MySQL 9: the server, not the engine, checked the foreign keys.
const ROWS_FLAG_SQL_FOREIGN_KEY: u16 = 0x10;
/// MariaDB's flags2: the group is a prepared XA transaction.
const FLAG_PREPARED_XA: u8 = 64;

/// The text of the column `Info`. `bytes` is the event with its checksum or, if `is_whole` is
/// false, the beginning of the event: then the text may be truncated.
///
/// # Errors
/// The event is malformed.
pub fn info(
    flavor: Flavor,
    header: &EventHeader,
    bytes: &[u8],
    is_whole: bool,
) -> Result<Vec<u8>, EventError> {
    let body = match is_whole {
        true => event::body(bytes, true),
        false => {
            let mut fields = FieldReader::new(header.event_type.name(), bytes, 0);
            fields.take("header", HEADER_LEN)?;
            fields.rest()
        }
    };
    let mut out = Vec::new();
    match header.event_type {
        EventType::MARIADB_GTID => mariadb_gtid(&mut out, bytes, body)?,
        opener if opener.is_gtid() => {
            let gtid = MySqlGtidEvent::parse(bytes, is_whole)?.gtid;
            let gtid = gtid.map_or_else(|| "ANONYMOUS".to_owned(), |gtid| gtid.to_string());
            put(&mut out, format_args!("SET @@SESSION.GTID_NEXT= '{gtid}'"));
        }
        EventType::PREVIOUS_GTIDS => {
            if let Ok(set) = GtidSet::decode(body) {
                out.extend(set.to_mysql_string().into_bytes());
            }
        }
        EventType::GTID_LIST => {
            if let Ok((state, _)) = BinlogState::decode_gtid_list(body) {
                put(&mut out, format_args!("[{state}]"));
            }
        }
        EventType::FORMAT_DESCRIPTION => {
            let version = FormatDescription::parse(bytes)?.server_version;
            put(
                &mut out,
                format_args!("Server ver: {version}, Binlog ver: 4"),
            );
        }
        EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY => {
            query(&mut out, flavor, header, body)?;
        }
        rows if rows.is_rows() => {
            let head = RowsHead::parse(body)?;
            put(&mut out, format_args!("table_id: {}", head.table_id));
            if head.ends_statement() {
                out.extend(b" flags: STMT_END_F");
                if head.flags & ROWS_FLAG_SQL_FOREIGN_KEY != 0 {
                    out.extend(b" USE_SQL_FOREIGN_KEY_F");
                }
            }
        }
        other => rare(&mut out, flavor, other, body)?,
    }
    Ok(out)
}

/// Writing into memory cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn mariadb_gtid(out: &mut Vec<u8>, event: &[u8], body: &[u8]) -> Result<(), EventError> {
    let opener = MariaDbGtidEvent::parse(event, true)?;
    if opener.is_standalone() {
        out.extend(b"GTID ");
    } else if opener.flags2 & FLAG_PREPARED_XA != 0 {
        let mut fields = FieldReader::new("Gtid event", body, HEADER_LEN);
        fields.take("GTID", if opener.commit_id.is_some() { 21 } else { 13 })?;
        let format_id = fields.u32("format id")?;
        let gtrid_len = usize::from(fields.u8("gtrid length")?);
        let branch_len = usize::from(fields.u8("branch qualifier length")?);
        let xid = XaPrepare {
            one_phase: false,
            format_id,
            gtrid: fields.take("gtrid", gtrid_len)?,
            branch: fields.take("branch qualifier", branch_len)?,
        };
        put(out, format_args!("XA START {xid} GTID "));
    } else {
        out.extend(b"BEGIN GTID ");
    }
    put(out, format_args!("{}", opener.gtid));
    if let Some(commit_id) = opener.commit_id {
        put(out, format_args!(" cid={commit_id}"));
    }
    Ok(())
}

fn query(
    out: &mut Vec<u8>,
    flavor: Flavor,
    header: &EventHeader,
    body: &[u8],
) -> Result<(), EventError> {
    let event_type = header.event_type;
    let query = Query::parse(event_type, body)?;
    if !query.database.is_empty() && header.flags & FLAG_SUPPRESS_USE == 0 {
        out.extend(b"use ");
        identifier(out, query.database);
        out.extend(b"; ");
    }
    if event_type == EventType::QUERY_COMPRESSED {
        let at = HEADER_LEN + body.len() - query.statement.len();
        let name = "Query_compressed event";
        if let Some(text) = compressed::decompress(name, query.statement, at, UNCOMPRESSED_MAX)? {
            out.extend(text);
        }
    } else {
        out.extend(query.statement);
    }
    if event_type == EventType::EXECUTE_LOAD_QUERY {
        let id = load_data::file_id(event_type, body)?;
        put(out, format_args!(" ;file_id={id}"));
    } else if flavor == Flavor::MySql
        && let Some(xid) = query.ddl_xid()
    {
        put(out, format_args!(" /* xid={xid} */"));
    }
    Ok(())
}

/// A name in backquotes.
fn identifier(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'`');
    for byte in name {
        if *byte == b'`' {
            out.push(b'`');
        }
        out.push(*byte);
    }
    out.push(b'`');
}

fn rare(
    out: &mut Vec<u8>,
    flavor: Flavor,
    event_type: EventType,
    body: &[u8],
) -> Result<(), EventError> {
    match event_type {
        EventType::XID => {
            let xid = FieldReader::new("Xid event", body, HEADER_LEN).u64("xid")?;
            put(out, format_args!("COMMIT /* xid={xid} */"));
        }
        EventType::TABLE_MAP => {
            let map = TableMap::parse(body)?;
            put(out, format_args!("table_id: {} (", map.table_id));
            out.extend([map.database, b".", map.table, b")"].concat());
        }
        EventType::ROTATE => {
            let rotate = Rotate::parse(body)?;
            out.extend(rotate.file);
            put(out, format_args!(";pos={}", rotate.position));
        }
        EventType::INTVAR => {
            let intvar = Intvar::parse(body)?;
            put(out, format_args!("{}={}", intvar.name, intvar.value));
        }
        EventType::RAND => {
            let (first, second) = parse_rand(body)?;
            put(out, format_args!("rand_seed1={first},rand_seed2={second}"));
        }
        EventType::USER_VAR => user_var(out, flavor, body)?,
        EventType::ROWS_QUERY => {
            let mut fields = FieldReader::new("Rows_query event", body, HEADER_LEN);
            fields.u8("length")?;
            out.extend(b"# ");
            out.extend(fields.rest());
        }
        EventType::ANNOTATE_ROWS => out.extend(body),
        EventType::XA_PREPARE => {
            let xa = XaPrepare::parse(body)?;
            let one_phase = if xa.one_phase { " ONE PHASE" } else { "" };
            let verb = if xa.one_phase { "COMMIT" } else { "PREPARE" };
            put(out, format_args!("XA {verb} {xa}{one_phase}"));
        }
        EventType::BEGIN_LOAD_QUERY | EventType::APPEND_BLOCK => {
            let id = load_data::file_id(event_type, body)?;
            let len = body.len().saturating_sub(4);
            put(out, format_args!(";file_id={id};block_len={len}"));
        }
        EventType::DELETE_FILE => {
            let id = load_data::file_id(event_type, body)?;
            put(out, format_args!(";file_id={id}"));
        }
        EventType::TRANSACTION_PAYLOAD => {
            let header = PayloadHeader::parse(body)?;
            let size = header.uncompressed_size.unwrap_or(0);
            let name = header.compression_name();
            put(
                out,
                format_args!("compression='{name}', decompressed_size={size} bytes"),
            );
        }
        EventType::INCIDENT => incident(out, body)?,
        _ => {}
    }
    Ok(())
}

fn incident(out: &mut Vec<u8>, body: &[u8]) -> Result<(), EventError> {
    let (number, message) = incident::parse(body)?;
    let name = if number == 1 {
        "LOST_EVENTS"
    } else {
        "NOTHING"
    };
    put(out, format_args!("#{number} ({name})"));
    if !message.is_empty() {
        out.extend(b": ");
        out.extend(message);
    }
    Ok(())
}

fn user_var(out: &mut Vec<u8>, flavor: Flavor, body: &[u8]) -> Result<(), EventError> {
    let variable = UserVar::parse(body)?;
    out.push(b'@');
    identifier(out, variable.name);
    out.push(b'=');
    let number = variable.value.first_chunk::<8>().copied();
    match (variable.type_name, number) {
        ("INT", Some(bytes)) if variable.unsigned => {
            put(out, format_args!("{}", u64::from_le_bytes(bytes)));
        }
        ("INT", Some(bytes)) => put(out, format_args!("{}", i64::from_le_bytes(bytes))),
        ("REAL", Some(bytes)) => put(out, format_args!("{}", f64::from_le_bytes(bytes))),
        ("DECIMAL", _) => out.extend(decimal(variable.value)?.into_bytes()),
        ("STRING", _) => {
            let collation = u16::try_from(variable.collation).unwrap_or(0);
            let collation = Collation::resolve(CollationId::from(collation));
            put(out, format_args!("_{} ", collation.charset()));
            out.extend(match flavor {
                Flavor::MySql => &b"0x"[..],
                Flavor::MariaDb => b"X'",
            });
            for byte in variable.value {
                put(out, format_args!("{byte:02X}"));
            }
            if flavor == Flavor::MariaDb {
                out.push(b'\'');
            }
            put(out, format_args!(" COLLATE {}", collation.collation()));
        }
        _ => out.extend(b"NULL"),
    }
    Ok(())
}

/// The value of a DECIMAL user variable: its precision, its scale, and the packed digits.
fn decimal(value: &[u8]) -> Result<String, EventError> {
    let mut fields = FieldReader::new("User_var event", value, 0);
    let precision = fields.u8("precision")?;
    let scale = fields.u8("scale")?;
    decimal::decode(fields.rest(), precision, scale)
}

#[cfg(test)]
mod tests;
