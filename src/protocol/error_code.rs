//! Error numbers that are sent or recognised here, under their names in MySQL's and MariaDB's
//! "Server Error Message Reference".

/// Too many connections.
pub const ER_CON_COUNT_ERROR: u16 = 1040;
/// The client's handshake response cannot be understood.
pub const ER_HANDSHAKE_ERROR: u16 = 1043;
/// No access to that database.
pub const ER_DBACCESS_DENIED_ERROR: u16 = 1044;
/// Wrong user or password.
pub const ER_ACCESS_DENIED_ERROR: u16 = 1045;
/// An unknown or unsupported command byte.
pub const ER_UNKNOWN_COM_ERROR: u16 = 1047;
/// No database is selected.
pub const ER_NO_DB_ERROR: u16 = 1046;
/// Unknown database.
pub const ER_BAD_DB_ERROR: u16 = 1049;
/// The server is being shut down.
pub const ER_SERVER_SHUTDOWN: u16 = 1053;
/// An unknown column.
pub const ER_BAD_FIELD_ERROR: u16 = 1054;
/// Two tables have the column.
pub const ER_NON_UNIQ_ERROR: u16 = 1052;
/// The statement cannot be parsed.
pub const ER_PARSE_ERROR: u16 = 1064;
/// No connection has that id.
pub const ER_NO_SUCH_THREAD: u16 = 1094;
/// Any other error.
pub const ER_UNKNOWN_ERROR: u16 = 1105;
/// An unknown table of information_schema.
pub const ER_UNKNOWN_TABLE: u16 = 1109;
/// This host is blocked after too many errors.
pub const ER_HOST_IS_BLOCKED: u16 = 1129;
/// This host may not connect.
pub const ER_HOST_NOT_PRIVILEGED: u16 = 1130;
/// A table that does not exist.
pub const ER_NO_SUCH_TABLE: u16 = 1146;
/// A packet larger than max_allowed_packet.
pub const ER_NET_PACKET_TOO_LARGE: u16 = 1153;
/// Packets out of order.
pub const ER_NET_PACKETS_OUT_OF_ORDER: u16 = 1156;
/// An error while reading from the network.
pub const ER_NET_READ_ERROR: u16 = 1158;
/// A timeout while reading from the network.
pub const ER_NET_READ_INTERRUPTED: u16 = 1159;
/// An unknown system variable.
pub const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
/// A privilege is missing.
pub const ER_SPECIFIC_ACCESS_DENIED_ERROR: u16 = 1227;
/// A value that the variable cannot have.
pub const ER_WRONG_VALUE_FOR_VAR: u16 = 1231;
/// A feature that this server does not support.
pub const ER_NOT_SUPPORTED_YET: u16 = 1235;
/// The dump cannot start or continue: the replica stops and does not retry.
pub const ER_MASTER_FATAL_ERROR_READING_BINLOG: u16 = 1236;
/// The client's authentication protocol is too old.
pub const ER_NOT_SUPPORTED_AUTH_MODE: u16 = 1251;
/// A function that does not exist.
pub const ER_SP_DOES_NOT_EXIST: u16 = 1305;
/// The query was interrupted.
pub const ER_QUERY_INTERRUPTED: u16 = 1317;
/// A log file that is not in the index.
pub const ER_UNKNOWN_TARGET_BINLOG: u16 = 1373;
/// Wrong user, and no password was sent.
pub const ER_ACCESS_DENIED_NO_PASSWORD_ERROR: u16 = 1698;
/// A text that is not a GTID set.
pub const ER_MALFORMED_GTID_SET_SPECIFICATION: u16 = 1772;
/// TLS is required.
pub const ER_SECURE_TRANSPORT_REQUIRED: u16 = 3159;
/// The connection was killed (MariaDB's number).
pub const ER_CONNECTION_KILLED: u16 = 1927;

/// The SQLSTATE that servers send with an error number; `HY000` if there is no more specific one.
pub fn sqlstate(code: u16) -> &'static str {
    match code {
        ER_CON_COUNT_ERROR => "08004",
        ER_HANDSHAKE_ERROR
        | ER_UNKNOWN_COM_ERROR
        | ER_SERVER_SHUTDOWN
        | ER_NET_PACKET_TOO_LARGE
        | ER_NET_PACKETS_OUT_OF_ORDER
        | ER_NET_READ_ERROR
        | ER_NET_READ_INTERRUPTED => "08S01",
        ER_NOT_SUPPORTED_AUTH_MODE => "08004",
        ER_ACCESS_DENIED_ERROR | ER_ACCESS_DENIED_NO_PASSWORD_ERROR => "28000",
        ER_DBACCESS_DENIED_ERROR
        | ER_BAD_DB_ERROR
        | ER_PARSE_ERROR
        | ER_SP_DOES_NOT_EXIST
        | ER_SPECIFIC_ACCESS_DENIED_ERROR
        | ER_WRONG_VALUE_FOR_VAR
        | ER_NOT_SUPPORTED_YET => "42000",
        ER_QUERY_INTERRUPTED | ER_CONNECTION_KILLED => "70100",
        ER_NO_DB_ERROR => "3D000",
        ER_BAD_FIELD_ERROR => "42S22",
        ER_NON_UNIQ_ERROR => "23000",
        ER_UNKNOWN_TABLE | ER_NO_SUCH_TABLE => "42S02",
        _ => "HY000",
    }
}
