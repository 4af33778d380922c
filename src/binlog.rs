//! Binlog format v4: the event header, checksums, and the few event bodies that the relay reads or
//! rewrites.
//!
//! Events are carried as raw bytes. This module reads single fields from those bytes and writes
//! single fields into them; it does no I/O. All integers of the format are little-endian.
//!
//! ```text
//!  0           4      5            9            13         17      19            size-4  size
//!  | timestamp | type | server_id  | event_size | log_pos  | flags | body …      | CRC32 |
//! ```
//!
//! `event_size` counts header, body and checksum. `log_pos` is the offset of the *next* event in
//! the file (modulo 4 GiB), 0 in events that are not part of a file.

pub mod columns;
pub mod compressed;
pub mod decimal;
pub mod early_row_events;
pub mod event;
pub mod event_type;
pub mod fields;
pub mod float_text;
pub mod format_description;
pub mod incident;
pub mod json;
pub mod json_diff;
pub mod load_data;
pub mod mariadb_gtid;
pub mod mysql_gtid;
pub mod old_servers;
pub mod opener;
pub mod payload;
pub mod primary_key;
pub mod query;
pub mod rotate;
pub mod row_images;
pub mod row_value;
pub mod rows;
pub mod statement_context;
pub mod status_variables;
pub mod temporal;
pub mod xa_prepare;

pub use event::{CHECKSUM_LEN, EventHeader, HEADER_LEN, MAGIC};
pub use event_type::EventType;
pub use fields::EventError;
pub use format_description::FormatDescription;
pub use opener::Opener;
