//! Stand-ins for MySQL 5.5 and 5.7, which no package registry has: a source and a replica that
//! behave as the recorded 5.5.59 and 5.7.23 do.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; each test crate uses its own part"
)]

pub mod answers;
pub mod binlog;
pub mod dump;
pub mod event;
pub mod hostile_source;
pub mod io_thread;
pub mod reading_55;
pub mod recordings;
pub mod replica;
pub mod rewrite;
pub mod source;
pub mod version;
pub mod wire;
