//! The first packets of a connection: the server's greeting (`Protocol::HandshakeV10`), the
//! client's answer (`Protocol::HandshakeResponse41`) and its request for TLS
//! (`Protocol::SSLRequest`).

mod client_response;
mod greeting;

pub use super::response::{COLLATION_UTF8MB4, SERVER_STATUS_AUTOCOMMIT};
pub use client_response::{HandshakeResponse, SSL_REQUEST_LENGTH, SslRequest};
pub use greeting::{Greeting, SCRAMBLE_LENGTH};
