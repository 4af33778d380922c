//! Fields that a listing does not show, or shows whatever they hold, but that must be right.
//!
//! `mysqlbinlog` or `mariadb-binlog` fails at an event in which one of them is wrong, even if its
//! checksum is right: such an event is not what a server wrote. The other fields are checked where they
//! are read.

use super::file_event::EventBytes;
use crate::binlog::early_row_events::has_early_rows;
use crate::binlog::event::FLAG_IGNORABLE;
use crate::binlog::fields::{EventError, FieldReader};
use crate::binlog::payload::{COMPRESSION_NONE, COMPRESSION_ZSTD, PayloadHeader};
use crate::binlog::query::Query;
use crate::binlog::row_images::has_extra_data;
use crate::binlog::rows::TABLE_ID_LEN;
use crate::binlog::statement_context::UserVar;
use crate::binlog::status_variables::StatusVariables;
use crate::binlog::xa_prepare::XaPrepare;
use crate::binlog::{
    EventHeader, EventType, FormatDescription, HEADER_LEN, decimal, incident, load_data,
};

/// Offset of the type in an event's header.
const TYPE_AT: usize = 4;
/// Offsets of the server's version and of the first post-header length in a format description.
const VERSION_AT: usize = 21;
const FIRST_LENGTH_AT: usize = 76;
/// Bytes of the body of MariaDB's GTID event, at least.
const MARIADB_GTID_LEN: usize = 19;
/// The type of MySQL's logical clock since 5.7.
const LOGICAL_CLOCK_TYPE: u8 = 2;
/// The version of a tagged GTID event's message, and its last field's id as that is written.
const TAGGED_VERSION: u8 = 1;
const TAGGED_FIELD_MAX: u8 = 11 << 1;
/// The most bytes of each part of an xid.
const XID_PART_MAX: usize = 64;
/// Limits of a DECIMAL.
const PRECISION_MAX: u8 = 65;
const SCALE_MAX: u8 = 30;
/// Bytes of the view's id in a View_change event.
const VIEW_ID_LEN: usize = 40;
/// How an EXECUTE_LOAD_QUERY event treats duplicates: error, ignore, replace.
const DUPLICATES_MAX: u8 = 2;

/// Checks that the type of an event is one of its file.
///
/// # Errors
/// When it is not, or only MySQL before 5.0 wrote it.
pub(super) fn check_type(
    header: &EventHeader,
    format: Option<&FormatDescription>,
) -> Result<(), EventError> {
    let event_type = header.event_type;
    if event_type == EventType::FORMAT_DESCRIPTION {
        return Ok(());
    }
    let types = format.map_or(0, |format| format.post_header_lengths.len());
    let is_ignorable = header.flags & FLAG_IGNORABLE != 0;
    let expected = match event_type {
        _ if usize::from(event_type.0) > types => "a type in the format description",
        _ if event_type.name() == "Unknown" && !is_ignorable => "a known event type",
        EventType::START_V3
        | EventType::LOAD
        | EventType::CREATE_FILE
        | EventType::NEW_LOAD
        | EventType::SLAVE => "one that MySQL 5.0 or newer writes",
        _ => return Ok(()),
    };
    let fields = FieldReader::new("event header", &[], 0);
    Err(fields.invalid("type", TYPE_AT, event_type.0.into(), expected))
}

/// Checks a whole event of this type.
///
/// # Errors
/// Which field is wrong.
pub(super) fn check(event_type: EventType, bytes: &EventBytes<'_>) -> Result<(), EventError> {
    check_fixed_part(event_type, bytes)?;
    let body = bytes.body();
    match event_type {
        EventType::FORMAT_DESCRIPTION => format_description(bytes.format),
        EventType::QUERY | EventType::QUERY_COMPRESSED => query(event_type, body).map(drop),
        EventType::EXECUTE_LOAD_QUERY => load_query(body),
        EventType::DELETE_FILE | EventType::EXEC_LOAD => file_id(event_type, body),
        EventType::USER_VAR => user_var(body),
        EventType::INCIDENT => incident_number(body),
        EventType::XA_PREPARE => xa_prepare(body),
        EventType::ROWS_QUERY => text("Rows_query event", body, 1),
        EventType::ANNOTATE_ROWS => text("Annotate_rows event", body, 0),
        EventType::GTID | EventType::ANONYMOUS_GTID => gtid(event_type, body),
        EventType::GTID_TAGGED => gtid_tagged(body),
        EventType::MARIADB_GTID => mariadb_gtid(body),
        EventType::TRANSACTION_PAYLOAD => payload(body),
        EventType::TRANSACTION_CONTEXT => transaction_context(body),
        EventType::VIEW_CHANGE => view_change(body),
        _ => Ok(()),
    }
}

/// The length of the fixed part of a type's body, where this program relies on it.
fn fixed_part(event_type: EventType) -> Option<usize> {
    Some(match event_type {
        EventType::QUERY | EventType::QUERY_COMPRESSED => 13,
        EventType::EXECUTE_LOAD_QUERY => 26,
        EventType::ROTATE => 8,
        EventType::APPEND_BLOCK
        | EventType::DELETE_FILE
        | EventType::EXEC_LOAD
        | EventType::BEGIN_LOAD_QUERY
        | EventType::BINLOG_CHECKPOINT
        | EventType::GTID_LIST => 4,
        EventType::INCIDENT => 2,
        EventType::MARIADB_GTID => MARIADB_GTID_LEN,
        EventType::TRANSACTION_CONTEXT => 18,
        EventType::VIEW_CHANGE => 52,
        EventType::INTVAR
        | EventType::RAND
        | EventType::USER_VAR
        | EventType::XID
        | EventType::XA_PREPARE
        | EventType::ROWS_QUERY
        | EventType::PREVIOUS_GTIDS
        | EventType::ANNOTATE_ROWS => 0,
        EventType::TABLE_MAP => 8,
        rows if has_extra_data(rows) => 10,
        rows if rows.is_rows() || has_early_rows(rows) => 8,
        _ => return None,
    })
}

/// Checks that the format description describes the events of this type as they are read.
fn check_fixed_part(event_type: EventType, bytes: &EventBytes<'_>) -> Result<(), EventError> {
    let stated = bytes
        .format
        .and_then(|format| format.post_header_length(event_type));
    let (Some(stated), Some(expected)) = (stated, fixed_part(event_type)) else {
        return Ok(());
    };
    // Before MySQL 5.1.4 the types had other numbers and table ids were shorter.
    if stated == expected || bytes.table_id_len() < TABLE_ID_LEN {
        return Ok(());
    }
    let fields = FieldReader::new("Format_desc event", &[], 0);
    let at = FIRST_LENGTH_AT + usize::from(event_type.0) - 1;
    let expected = "the length of this event's fixed part";
    Err(fields.invalid("post-header length", at, stated as u64, expected))
}

/// A version is `major.minor…`, and it decides how the file is read.
fn format_description(format: Option<&FormatDescription>) -> Result<(), EventError> {
    let Some(format) = format else {
        return Ok(());
    };
    let fields = FieldReader::new("Format_desc event", &[], 0);
    let major = format.server_version.split_once('.');
    let major = major.and_then(|(major, _)| major.parse::<u8>().ok());
    if !major.is_some_and(|major| major > 0) {
        let expected = "major.minor.patch";
        return Err(fields.invalid("server version", VERSION_AT, 0, expected));
    }
    match format.post_header_lengths.len() {
        0 => Err(fields.invalid("number of event types", FIRST_LENGTH_AT, 0, "1 or more")),
        _ => Ok(()),
    }
}

fn query(event_type: EventType, body: &[u8]) -> Result<Query<'_>, EventError> {
    let query = Query::parse(event_type, body)?;
    let variables = query.status_variables;
    let Some(range) = StatusVariables::parse(variables)?.updated_databases else {
        return Ok(query);
    };
    let count_at = range.start + 1;
    if variables.get(count_at) == Some(&0) {
        let len = variables.len() + query.database.len() + 1 + query.statement.len();
        let at = HEADER_LEN + body.len() - len + count_at;
        let fields = FieldReader::new("Query event", body, HEADER_LEN);
        return Err(fields.invalid("number of updated databases", at, 0, "1 or more"));
    }
    Ok(query)
}

fn load_query(body: &[u8]) -> Result<(), EventError> {
    let query = query(EventType::EXECUTE_LOAD_QUERY, body)?;
    let mut fields = FieldReader::new("Execute_load_query event", body, HEADER_LEN);
    fields.take("fixed part of a query", load_data::QUERY_HEAD_LEN)?;
    let at = fields.offset();
    if fields.u32("file id")? == 0 {
        return Err(fields.invalid("file id", at, 0, "1 or more"));
    }
    for name in ["start of the file name", "end of the file name"] {
        let at = fields.offset();
        let offset = fields.u32(name)?;
        if offset as usize > query.statement.len() {
            let expected = "an offset in the statement";
            return Err(fields.invalid(name, at, offset.into(), expected));
        }
    }
    let at = fields.offset();
    match fields.u8("handling of duplicates")? {
        0..=DUPLICATES_MAX => Ok(()),
        found => Err(fields.invalid("handling of duplicates", at, found.into(), "0 to 2")),
    }
}

fn file_id(event_type: EventType, body: &[u8]) -> Result<(), EventError> {
    let fields = FieldReader::new("load data event", body, HEADER_LEN);
    match load_data::file_id(event_type, body)? {
        0 => Err(fields.invalid("file id", HEADER_LEN, 0, "1 or more")),
        _ => Ok(()),
    }
}

fn user_var(body: &[u8]) -> Result<(), EventError> {
    let variable = UserVar::parse(body)?;
    let fields = FieldReader::new("User_var event", body, HEADER_LEN);
    if variable.name.is_empty() {
        return Err(fields.invalid("name length", HEADER_LEN, 0, "1 or more"));
    }
    let value = variable.value;
    let is_sound = match variable.type_name {
        "INT" | "REAL" => value.len() == 8,
        "DECIMAL" => match value {
            [precision, scale, digits @ ..] => {
                let needed = decimal::length(*precision, *scale);
                *precision <= PRECISION_MAX
                    && *scale <= SCALE_MAX.min(*precision)
                    && needed.is_some_and(|needed| needed <= digits.len())
            }
            _ => false,
        },
        _ => true,
    };
    // Name length, name, null flag, type and collation precede the value's length.
    let at = HEADER_LEN + 4 + variable.name.len() + 6;
    match is_sound {
        true => Ok(()),
        false => {
            let expected = "that of a value of its type";
            Err(fields.invalid("value length", at, value.len() as u64, expected))
        }
    }
}

fn incident_number(body: &[u8]) -> Result<(), EventError> {
    let fields = FieldReader::new("Incident event", body, HEADER_LEN);
    match incident::parse(body)? {
        (incident::LOST_EVENTS, _) => Ok(()),
        (found, _) => {
            let expected = "1 (events were lost)";
            Err(fields.invalid("number", HEADER_LEN, found.into(), expected))
        }
    }
}

fn xa_prepare(body: &[u8]) -> Result<(), EventError> {
    let prepare = XaPrepare::parse(body)?;
    let fields = FieldReader::new("XA_prepare event", body, HEADER_LEN);
    // One-phase flag and format id precede the lengths.
    let parts = [
        ("gtrid length", prepare.gtrid.len(), HEADER_LEN + 5),
        (
            "branch qualifier length",
            prepare.branch.len(),
            HEADER_LEN + 9,
        ),
    ];
    match parts.iter().find(|(_, len, _)| *len > XID_PART_MAX) {
        Some((name, len, at)) => Err(fields.invalid(name, *at, *len as u64, "at most 64")),
        None => Ok(()),
    }
}

fn text(name: &'static str, body: &[u8], at: usize) -> Result<(), EventError> {
    match body.len() > at {
        true => Ok(()),
        false => {
            let fields = FieldReader::new(name, body, HEADER_LEN);
            Err(fields.invalid("length of the text", HEADER_LEN + at, 0, "1 or more"))
        }
    }
}

/// GNO of an anonymous one; and what follows the transaction length: the versions of the servers.
fn gtid(event_type: EventType, body: &[u8]) -> Result<(), EventError> {
    let mut fields = FieldReader::new("Gtid event", body, HEADER_LEN);
    fields.take("flags and uuid", 17)?;
    let at = fields.offset();
    let gno = fields.u64("gno")?;
    if event_type == EventType::ANONYMOUS_GTID && gno != 0 {
        return Err(fields.invalid("gno", at, gno, "0"));
    }
    if fields.remaining() == 0 || fields.u8("logical clock type")? != LOGICAL_CLOCK_TYPE {
        return Ok(());
    }
    fields.take("logical clock", 16)?;
    if fields.remaining() == 0 {
        return Ok(());
    }
    if fields.uint("immediate commit time", 7)? >> 55 & 1 != 0 {
        fields.uint("original commit time", 7)?;
    }
    if fields.remaining() > 0 {
        fields.length_encoded("transaction length")?;
    }
    if fields.remaining() >= 4 && fields.u32("immediate server version")? >> 31 != 0 {
        fields.u32("original server version")?;
    }
    Ok(())
}

/// The message's version, and that no field is required that is not known. Both integers have one
/// byte, whose lowest bit is 0.
fn gtid_tagged(body: &[u8]) -> Result<(), EventError> {
    let mut fields = FieldReader::new("Gtid_tagged event", body, HEADER_LEN);
    let version = fields.u8("serialization version")?;
    if version != TAGGED_VERSION << 1 {
        let expected = "2 (version 1)";
        return Err(fields.invalid(
            "serialization version",
            HEADER_LEN,
            version.into(),
            expected,
        ));
    }
    let more = fields.u8("message size")?.trailing_ones() as usize;
    fields.uint("message size", more)?;
    let at = fields.offset();
    match fields.u8("last non-ignorable field")? {
        found @ 0..=TAGGED_FIELD_MAX if found & 1 == 0 => Ok(()),
        found => {
            let expected = "a known field";
            Err(fields.invalid("last non-ignorable field", at, found.into(), expected))
        }
    }
}

fn mariadb_gtid(body: &[u8]) -> Result<(), EventError> {
    let mut fields = FieldReader::new("Gtid event", body, HEADER_LEN);
    if fields.u64("seq_no")? == 0 {
        return Err(fields.invalid("seq_no", HEADER_LEN, 0, "1 or more"));
    }
    FieldReader::new("Gtid event", body, HEADER_LEN)
        .take("fixed part", MARIADB_GTID_LEN)
        .map(drop)
}

fn payload(body: &[u8]) -> Result<(), EventError> {
    let header = PayloadHeader::parse(body)?;
    let fields = FieldReader::new("Transaction_payload event", body, HEADER_LEN);
    let rest = (body.len() - header.len) as u64;
    match header {
        PayloadHeader {
            compression_type: Some(COMPRESSION_NONE),
            payload_size: Some(size),
            ..
        }
        | PayloadHeader {
            compression_type: Some(COMPRESSION_ZSTD),
            payload_size: Some(size),
            uncompressed_size: Some(_),
            ..
        } if size <= rest => Ok(()),
        PayloadHeader {
            compression_type: Some(found),
            ..
        } if found != COMPRESSION_NONE && found != COMPRESSION_ZSTD => {
            let expected = "0 (zstd) or 255 (none)";
            Err(fields.invalid("compression type", HEADER_LEN, found, expected))
        }
        _ => {
            let expected = "sizes and compression of the payload that follows";
            Err(fields.invalid("payload header", HEADER_LEN, rest, expected))
        }
    }
}

/// ```text
/// | uuid length 1 | thread id 4 | GTID given 1 | snapshot length 4 | write set 4 | read set 4 | …
/// ```
fn transaction_context(body: &[u8]) -> Result<(), EventError> {
    let mut fields = FieldReader::new("Transaction_context event", body, HEADER_LEN);
    let uuid = usize::from(fields.u8("uuid length")?);
    fields.take("thread id and GTID flag", 5)?;
    let snapshot = fields.u32("snapshot length")? as usize;
    let written = fields.u32("write set")?;
    let read = fields.u32("read set")?;
    fields.take("uuid", uuid)?;
    fields.take("snapshot", snapshot)?;
    for _ in 0..u64::from(written) + u64::from(read) {
        let length = usize::from(fields.u16("length of a set's element")?);
        fields.take("element of a set", length)?;
    }
    Ok(())
}

/// ```text
/// | view id 40 | sequence number 8 | count 4 | key length 2, key, value length 4, value | …
/// ```
fn view_change(body: &[u8]) -> Result<(), EventError> {
    let mut fields = FieldReader::new("View_change event", body, HEADER_LEN);
    let id = fields.take("view id", VIEW_ID_LEN)?;
    if id.first() == Some(&0) {
        return Err(fields.invalid("view id", HEADER_LEN, 0, "a name"));
    }
    fields.u64("sequence number")?;
    for _ in 0..fields.u32("count of certification data")? {
        let length = usize::from(fields.u16("key length")?);
        fields.take("key", length)?;
        let length = fields.u32("value length")? as usize;
        fields.take("value", length)?;
    }
    Ok(())
}
