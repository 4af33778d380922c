//! Capability flags of the handshake, as in MySQL's `mysql_com.h` ("Capabilities Flags").

/// New password hashing; MariaDB calls it CLIENT_MYSQL: set means no extended capabilities.
pub const CLIENT_LONG_PASSWORD: u32 = 1;
/// The OK packet counts found rows instead of affected ones.
pub const CLIENT_FOUND_ROWS: u32 = 1 << 1;
/// Longer column flags.
pub const CLIENT_LONG_FLAG: u32 = 1 << 2;
/// The handshake response names a database.
pub const CLIENT_CONNECT_WITH_DB: u32 = 1 << 3;
/// zlib compression of the packets; offered and requested as configured.
pub const CLIENT_COMPRESS: u32 = 1 << 5;
/// LOAD DATA LOCAL; neither offered nor requested here.
pub const CLIENT_LOCAL_FILES: u32 = 1 << 7;
/// Spaces before a function's parenthesis.
pub const CLIENT_IGNORE_SPACE: u32 = 1 << 8;
/// The 4.1 protocol: the only one supported here.
pub const CLIENT_PROTOCOL_41: u32 = 1 << 9;
/// `interactive_timeout` applies.
pub const CLIENT_INTERACTIVE: u32 = 1 << 10;
/// The client switches to TLS after its SSL request.
pub const CLIENT_SSL: u32 = 1 << 11;
/// OK and EOF packets contain status flags.
pub const CLIENT_TRANSACTIONS: u32 = 1 << 13;
/// 20-byte scrambles.
pub const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
/// Authentication plugins by name.
pub const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;
/// Connection attributes in the handshake response.
pub const CLIENT_CONNECT_ATTRS: u32 = 1 << 20;
/// The authentication data's length is a length-encoded integer.
pub const CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA: u32 = 1 << 21;
/// Session state in the OK packet; neither offered nor requested here.
pub const CLIENT_SESSION_TRACK: u32 = 1 << 23;
/// No EOF packets; neither offered nor requested here.
pub const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
/// zstd compression of the packets; the handshake response then ends with the level.
pub const CLIENT_ZSTD_COMPRESSION: u32 = 1 << 26;

/// What the relay requests as a client, if the server offers it.
pub const CLIENT_SIDE: u32 = CLIENT_LONG_PASSWORD
    | CLIENT_LONG_FLAG
    | CLIENT_PROTOCOL_41
    | CLIENT_TRANSACTIONS
    | CLIENT_SECURE_CONNECTION
    | CLIENT_PLUGIN_AUTH
    | CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
    | CLIENT_CONNECT_ATTRS;

/// What the relay offers as a server; [`CLIENT_SSL`] is added if there is a certificate, and the two
/// algorithms of compression where they are enabled.
pub const SERVER_SIDE: u32 = CLIENT_LONG_PASSWORD
    | CLIENT_FOUND_ROWS
    | CLIENT_LONG_FLAG
    | CLIENT_CONNECT_WITH_DB
    | CLIENT_IGNORE_SPACE
    | CLIENT_PROTOCOL_41
    | CLIENT_INTERACTIVE
    | CLIENT_TRANSACTIONS
    | CLIENT_SECURE_CONNECTION
    | CLIENT_PLUGIN_AUTH
    | CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
    | CLIENT_CONNECT_ATTRS;
