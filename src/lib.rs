//! binrelay: a binlog relay for MySQL and MariaDB. It follows many sources as a replica, and serves
//! what they wrote, merged into one binlog, to replicas as their source.
//!
//! Along the data path:
//!
//! 1. [`receiver`]: one for each source; connects, requests the dump, turns packets into events.
//! 2. [`filter`]: which of a transaction's events pass; applied while it is put together.
//! 3. [`transaction`]: events become whole transactions, large ones in a file.
//! 4. [`merge`]: whether a transaction is new, and its place in the merged order.
//! 5. [`relay_log`]: one writer appends, makes durable, publishes; readers look up and read.
//! 6. [`sender`]: one session for each client; streams what is published, answers queries.
//!
//! Start reading at [`relay`], which joins the stages, or follow a transaction from
//! [`transaction::Assembler`] on. Under the stages lie [`protocol`] and [`connection`] (packets, and
//! the sockets they come from) and [`binlog`] and [`gtid`] (what is in events). [`inspect`] reads
//! binlog files offline. The rest is around the path: settings, status, the data directory.
//!
//! What holds everywhere:
//!
//! - Whole transactions only; of several copies the first wins, and each path keeps its order.
//! - Nothing is served before it is durable, as far as `sync` promises; a position once served
//!   never means other bytes.
//! - Events travel as raw bytes: only the fields that are needed are decoded.
//! - Memory is bounded, whatever a source or a client sends.
//! - Receivers and senders never meet: only the relay log is between them.

pub mod admin;
pub mod binlog;
pub mod config;
pub mod connection;
pub mod data_dir;
pub mod fault;
pub mod filter;
pub mod flavor;
pub mod gtid;
pub mod identity;
pub mod inspect;
pub mod merge;
pub mod position;
pub mod protocol;
pub mod receiver;
pub mod relay;
pub mod relay_log;
pub mod secret;
pub mod sender;
pub mod status;
pub mod tls;
pub mod transaction;
