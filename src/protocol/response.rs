//! Answers to commands: OK, ERR, EOF and text results. CLIENT_DEPRECATE_EOF and
//! CLIENT_SESSION_TRACK are never negotiated, so these are the classic forms.

mod packets;
mod reader;
mod result_set;

pub use packets::{
    OkPacket, SERVER_MORE_RESULTS_EXISTS, SERVER_STATUS_AUTOCOMMIT, encode_eof, encode_error,
    is_eof, is_error, parse_error,
};
pub use reader::{QueryResponse, QueryResponseReader, ResultLimits, TextResult};
pub use result_set::{
    COLLATION_UTF8MB4, Column, ColumnKind, put_columns, put_rows, put_text_result,
};

#[cfg(test)]
mod tests;
