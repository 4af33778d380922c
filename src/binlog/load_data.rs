//! LOAD DATA in statement format: BEGIN_LOAD_QUERY (17), APPEND_BLOCK (9), DELETE_FILE (11),
//! EXEC_LOAD (10), EXECUTE_LOAD_QUERY (18).
//!
//! All but the last begin with the file's id (4 bytes); blocks of the file follow. In
//! EXECUTE_LOAD_QUERY the id follows the fixed part of a QUERY event (13 bytes).

use super::event::HEADER_LEN;
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};

/// Bytes of a QUERY event's fixed part.
pub const QUERY_HEAD_LEN: usize = 13;

/// The id that joins the events of one loaded file; `body` is the event without its header, or
/// the head of it.
///
/// # Errors
/// When it is truncated.
pub fn file_id(event_type: EventType, body: &[u8]) -> Result<u32, EventError> {
    let mut fields = FieldReader::new("load data event", body, HEADER_LEN);
    if event_type == EventType::EXECUTE_LOAD_QUERY {
        fields.take("fixed part of a query", QUERY_HEAD_LEN)?;
    }
    fields.u32("file id")
}

/// The bytes of the loaded file in a BEGIN_LOAD_QUERY or APPEND_BLOCK event; `body` is the event
/// without its header, or the head of it.
///
/// # Errors
/// When it is truncated.
pub fn block(body: &[u8]) -> Result<&[u8], EventError> {
    let mut fields = FieldReader::new("load data event", body, HEADER_LEN);
    fields.u32("file id")?;
    Ok(fields.rest())
}

/// Offset of the end of the loaded file's name in the text of an EXECUTE_LOAD_QUERY event; `body` is
/// the event without its header, or the head of it. A server that re-logs the event changes the
/// file's name.
///
/// # Errors
/// When it is truncated.
pub fn file_name_end(body: &[u8]) -> Result<usize, EventError> {
    let mut fields = FieldReader::new("load data event", body, HEADER_LEN);
    fields.take("fixed part of a query", QUERY_HEAD_LEN)?;
    fields.u32("file id")?;
    fields.u32("start of the file name")?;
    Ok(fields.u32("end of the file name")? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_ids_are_read_and_truncation_is_safe() {
        let body: Vec<u8> = (0..17).collect();
        let first = 0x0302_0100;
        assert_eq!(file_id(EventType::APPEND_BLOCK, &body), Ok(first));
        let execute = EventType::EXECUTE_LOAD_QUERY;
        assert_eq!(file_id(execute, &body), Ok(0x100f_0e0d));
        for cut in 0..17 {
            assert!(file_id(execute, &body[..cut]).is_err());
            assert!(file_name_end(&body[..cut]).is_err());
            assert_eq!(block(&body[..cut]).is_ok(), cut > 3);
            assert_eq!(
                file_id(EventType::DELETE_FILE, &body[..cut]).is_ok(),
                cut > 3
            );
        }
    }
}
