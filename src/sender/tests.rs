//! Small relay logs, and streams from them over real sockets to the project's own client.

mod advertised;
mod annotations;
mod broken_off;
mod compression;
mod counted;
pub mod fixture;
mod old_client;
mod semi_sync;
mod sessions;
mod start;
mod streaming;
mod until;
