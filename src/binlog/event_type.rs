//! The event types of both flavors.
//!
//! Numbers and names from MySQL's `Log_event_type` (to 42) and MariaDB's (from 160).

use std::fmt;

/// The type byte of an event header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(pub u8);

macro_rules! event_types {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        #[allow(missing_docs)] // The names are the servers' own; see the module's documentation.
        impl EventType {
            $(pub const $constant: EventType = EventType($number);)*

            /// The name as `mysqlbinlog` and the manuals write it.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => $name,)*
                    _ => "Unknown",
                }
            }

            /// Whether the type is one of these.
            pub fn is_known(self) -> bool {
                matches!(self.0, $($number)|*)
            }
        }
    };
}

event_types! {
    START_V3 = 1, "Start_v3";
    QUERY = 2, "Query";
    STOP = 3, "Stop";
    ROTATE = 4, "Rotate";
    INTVAR = 5, "Intvar";
    LOAD = 6, "Load";
    SLAVE = 7, "Slave";
    CREATE_FILE = 8, "Create_file";
    APPEND_BLOCK = 9, "Append_block";
    EXEC_LOAD = 10, "Exec_load";
    DELETE_FILE = 11, "Delete_file";
    NEW_LOAD = 12, "New_load";
    RAND = 13, "RAND";
    USER_VAR = 14, "User_var";
    FORMAT_DESCRIPTION = 15, "Format_desc";
    XID = 16, "Xid";
    BEGIN_LOAD_QUERY = 17, "Begin_load_query";
    EXECUTE_LOAD_QUERY = 18, "Execute_load_query";
    TABLE_MAP = 19, "Table_map";
    PRE_GA_WRITE_ROWS = 20, "Write_rows_event_old";
    PRE_GA_UPDATE_ROWS = 21, "Update_rows_event_old";
    PRE_GA_DELETE_ROWS = 22, "Delete_rows_event_old";
    WRITE_ROWS_V1 = 23, "Write_rows_v1";
    UPDATE_ROWS_V1 = 24, "Update_rows_v1";
    DELETE_ROWS_V1 = 25, "Delete_rows_v1";
    INCIDENT = 26, "Incident";
    HEARTBEAT = 27, "Heartbeat";
    IGNORABLE = 28, "Ignorable";
    ROWS_QUERY = 29, "Rows_query";
    WRITE_ROWS = 30, "Write_rows";
    UPDATE_ROWS = 31, "Update_rows";
    DELETE_ROWS = 32, "Delete_rows";
    GTID = 33, "Gtid";
    ANONYMOUS_GTID = 34, "Anonymous_Gtid";
    PREVIOUS_GTIDS = 35, "Previous_gtids";
    TRANSACTION_CONTEXT = 36, "Transaction_context";
    VIEW_CHANGE = 37, "View_change";
    XA_PREPARE = 38, "XA_prepare";
    PARTIAL_UPDATE_ROWS = 39, "Update_rows_partial";
    TRANSACTION_PAYLOAD = 40, "Transaction_payload";
    HEARTBEAT_V2 = 41, "Heartbeat_v2";
    GTID_TAGGED = 42, "Gtid_tagged";
    ANNOTATE_ROWS = 160, "Annotate_rows";
    BINLOG_CHECKPOINT = 161, "Binlog_checkpoint";
    MARIADB_GTID = 162, "Gtid";
    GTID_LIST = 163, "Gtid_list";
    START_ENCRYPTION = 164, "Start_encryption";
    QUERY_COMPRESSED = 165, "Query_compressed";
    WRITE_ROWS_COMPRESSED_V1 = 166, "Write_rows_compressed_v1";
    UPDATE_ROWS_COMPRESSED_V1 = 167, "Update_rows_compressed_v1";
    DELETE_ROWS_COMPRESSED_V1 = 168, "Delete_rows_compressed_v1";
    WRITE_ROWS_COMPRESSED = 169, "Write_rows_compressed";
    UPDATE_ROWS_COMPRESSED = 170, "Update_rows_compressed";
    DELETE_ROWS_COMPRESSED = 171, "Delete_rows_compressed";
}

impl EventType {
    /// Whether the event holds row images (version 1 or 2, plain, partial or compressed).
    pub fn is_rows(self) -> bool {
        matches!(self.0, 23..=25 | 30..=32 | 39 | 166..=171)
    }

    /// Whether the event holds rows that are inserted.
    pub fn inserts_rows(self) -> bool {
        matches!(self.0, 23 | 30 | 166 | 169)
    }

    /// Whether the event holds rows that are deleted.
    pub fn deletes_rows(self) -> bool {
        matches!(self.0, 25 | 32 | 168 | 171)
    }

    /// Whether a source sends this event to describe its file or the connection. Such events are
    /// never stored: the relay log has its own control events.
    pub fn is_control(self) -> bool {
        matches!(
            self,
            Self::ROTATE
                | Self::FORMAT_DESCRIPTION
                | Self::HEARTBEAT
                | Self::HEARTBEAT_V2
                | Self::STOP
                | Self::PREVIOUS_GTIDS
                | Self::GTID_LIST
                | Self::BINLOG_CHECKPOINT
                | Self::START_ENCRYPTION
                | Self::SLAVE
        )
    }

    /// Whether the event opens a transaction (a GTID group).
    pub fn is_gtid(self) -> bool {
        matches!(
            self,
            Self::GTID | Self::ANONYMOUS_GTID | Self::GTID_TAGGED | Self::MARIADB_GTID
        )
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "Unknown" => write!(f, "Unknown({})", self.0),
            name => f.write_str(name),
        }
    }
}
