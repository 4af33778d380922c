//! Why the relay does not start, or did not end well.

use std::io;
use std::path::PathBuf;

use crate::config::ChannelsError;
use crate::data_dir::DataDirError;
use crate::relay_log::LogError;
use crate::tls::TlsError;

/// Why the relay does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What was changed about the sources at run time.
    #[error(transparent)]
    Channels(#[from] ChannelsError),
    /// The relay log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener's address.
    #[error("cannot listen on {address}: {cause}; set [relay] listen to another address or port")]
    Listen {
        /// As configured.
        address: String,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// The HTTP listener's address.
    #[error("cannot listen on {address}: {cause}; set [admin] http to another address or port")]
    Http {
        /// As configured.
        address: String,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// The admin socket.
    #[error(
        "cannot open the admin socket {}: {cause}{}",
        path.display(),
        admin_advice(cause)
    )]
    Admin {
        /// Its path.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// The log is of another flavor than configured.
    #[error(
        "{}: the relay log holds {found} events, but [relay] flavor is {expected}; change it, or \
         use another data_dir",
        path.display()
    )]
    Flavor {
        /// The data directory.
        path: PathBuf,
        /// As configured.
        expected: &'static str,
        /// The log's.
        found: &'static str,
    },
    /// A thread cannot be started.
    #[error("cannot start the relay log's thread: {0}")]
    Thread(#[source] io::Error),
    /// The log failed while the relay ran.
    #[error("the relay log failed: {0}")]
    Failed(String),
    /// A stage ended while the relay ran.
    #[error(
        "{stage} ended unexpectedly: {reason}; this is a defect in binrelay: restart it and report \
         this message"
    )]
    StageEnded {
        /// The stage's name.
        stage: String,
        /// The panic's message, or that there was no panic.
        reason: String,
    },
    /// Stages did not end when the relay stopped.
    #[error("{stages} did not stop within {seconds} s; what was not yet durable is fetched again")]
    StagesStuck {
        /// The stages' names.
        stages: String,
        /// The time limit, in seconds.
        seconds: u64,
    },
}

/// A socket that is in use has its own advice.
fn admin_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "",
        _ => "; correct the permissions of its directory, or set [admin] socket to another path",
    }
}
