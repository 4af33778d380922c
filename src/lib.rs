//! binrelay: a binlog relay for MySQL and MariaDB. It follows several sources as a replica, merges
//! their transactions into one binlog without duplicates, and serves that binlog to replicas.
//!
//! Along the data path:
//!
//! 1. [`receiver`]: one per source; connects, requests the dump, turns packets into events.
//! 2. [`transaction`]: assembles events into whole transactions, large ones in a file. [`filter`]
//!    is applied here, event by event.
//! 3. [`merge`]: decides whether a transaction is new, and how it is ordered.
//! 4. [`relay_log`]: appends, makes durable, publishes; readers look up and read.
//!    Stages 3 and 4 run on one thread, [`log_thread`], which takes each transaction through them.
//! 5. [`sender`]: one session per client; streams the published log, answers queries.
//!
//! Start reading at [`relay`], which connects the stages. Below the stages are [`protocol`] and
//! [`connection`] (packets, and the sockets they come from) and [`binlog`] and [`gtid`] (the
//! contents of events). [`inspect`] reads binlog files offline. The other modules are around the
//! path: configuration, status, the data directory, [`conflicts`] of the sources, and [`adoption`] of replicas.
//!
//! These invariants hold everywhere:
//!
//! - Only whole transactions are delivered; of several copies the first wins, and each path keeps
//!   its order.
//! - Nothing is served before it is durable under the configured `sync` policy. A position once
//!   served never means other bytes.
//! - Events are carried as raw bytes: only the fields that are needed are decoded.
//! - Memory is bounded, whatever a source or a client sends.
//! - Receivers and senders never meet: only the relay log is between them.
//!
#![doc = include_str!("architecture.md")]

pub mod admin;
pub mod adoption;
pub mod atomic_file;
pub mod binlog;
pub mod config;
pub mod conflicts;
pub mod connection;
pub mod data_dir;
pub mod data_file;
pub mod fault;
pub mod filter;
pub mod flavor;
pub mod gtid;
pub mod http;
pub mod identity;
pub mod inspect;
pub mod like;
pub mod log_thread;
pub mod merge;
pub mod one_line;
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
pub mod utc;
