//! Whether transactions are acknowledged to a source, for `status`, and why not.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::control::SemiSync;

/// Why transactions are not acknowledged to a source with `semi_sync = true`, and how to change that.
pub(super) fn problem(state: SemiSync) -> &'static str {
    match state {
        SemiSync::NotLoaded => {
            "semi_sync is true, but the source has not loaded its semi-sync plugin: its transactions \
             are not acknowledged; install the plugin (MySQL 8.0.26 and later: INSTALL PLUGIN \
             rpl_semi_sync_source SONAME 'semisync_source.so'; before: rpl_semi_sync_master, \
             'semisync_master.so') and enable it, or remove semi_sync"
        }
        SemiSync::Off => {
            "semi_sync is true, but semi-sync replication is off on the source: it does not wait for \
             acknowledgements; execute there SET GLOBAL rpl_semi_sync_source_enabled = 1 (before MySQL \
             8.0.26 and on MariaDB: rpl_semi_sync_master_enabled), or remove semi_sync"
        }
        SemiSync::Paused => SEMI_SYNC_PAUSED,
        SemiSync::On => "",
    }
}

/// The problem of a source whose semi-sync replication is on, and which has stopped to wait. It begins again once the
/// relay acknowledges its newest transaction, so it says nothing while there is none: a source with
/// `rpl_semi_sync_source_wait_no_replica = OFF` stops each time its replicas disconnect.
pub const SEMI_SYNC_PAUSED: &str = "semi-sync: the source does not wait for acknowledgements at present: the relay was not \
                                    connected, or did not acknowledge within rpl_semi_sync_source_timeout; the source waits \
                                    again once the relay has acknowledged its newest transaction";

/// Semi-sync replication with one source.
#[derive(Debug, Default)]
pub struct SemiSyncStatus {
    dump: watch::Sender<Option<Dump>>,
    /// Acknowledgements sent since the relay's start.
    pub acknowledgements: AtomicU64,
}

/// The dump that streams, of a source with `semi_sync = true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dump {
    /// Whether the dump was requested as a semi-synchronous one.
    is_negotiated: bool,
    /// The source's side now.
    source: SemiSync,
}

impl SemiSyncStatus {
    /// A dump was requested. `source`: what the source has, [`SemiSync::NotLoaded`] if nothing was requested.
    pub(super) fn begin_dump(&self, source: SemiSync) {
        self.dump.send_replace(Some(Dump {
            is_negotiated: source != SemiSync::NotLoaded,
            source,
        }));
    }

    /// The dump has ended.
    pub(super) fn end_dump(&self) {
        self.dump.send_replace(None);
    }

    /// The source's side, as the control connection reports it; logged when it has changed.
    pub(super) fn note_source(&self, source: SemiSync, name: &str) {
        self.dump.send_if_modified(|dump| match dump {
            Some(dump) if dump.source != source => {
                dump.source = source;
                match (source, dump.is_negotiated) {
                    (SemiSync::On, true) => tracing::info!(
                        source = name,
                        "semi-sync replication is in effect on the source: transactions are acknowledged"
                    ),
                    (SemiSync::On, false) => {}
                    _ => tracing::warn!(source = name, "{}", problem(source)),
                }
                true
            }
            _ => false,
        });
    }

    /// Waits until the source has loaded its plugin, if it had not when the dump was requested.
    pub(super) async fn wait_for_plugin(&self) {
        let mut dump = self.dump.subscribe();
        let is_loaded = |dump: &Option<Dump>| {
            dump.is_some_and(|dump| !dump.is_negotiated && dump.source != SemiSync::NotLoaded)
        };
        // It cannot be closed while `self` exists.
        let _ = dump.wait_for(is_loaded).await;
    }

    /// Whether the source waits for the relay's acknowledgements.
    pub fn is_active(&self) -> bool {
        let dump = *self.dump.borrow();
        dump.is_some_and(|dump| dump.is_negotiated && dump.source == SemiSync::On)
    }

    /// Why a streaming source with `semi_sync = true` does not wait for acknowledgements.
    pub fn problem(&self) -> Option<&'static str> {
        let dump = (*self.dump.borrow())?;
        (dump.source != SemiSync::On).then(|| problem(dump.source))
    }

    pub(super) fn count(&self) {
        self.acknowledgements.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_active_only_where_it_was_negotiated_and_is_on() {
        let status = SemiSyncStatus::default();
        assert!(!status.is_active() && status.problem().is_none());
        status.begin_dump(SemiSync::NotLoaded);
        assert!(!status.is_active() && status.problem().unwrap().contains("plugin"));
        // Loaded since: only another dump can use it.
        status.note_source(SemiSync::On, "m1");
        assert!(!status.is_active());
        status.begin_dump(SemiSync::Off);
        assert!(!status.is_active() && status.problem().unwrap().contains("off"));
        status.note_source(SemiSync::On, "m1");
        assert!(status.is_active() && status.problem().is_none());
        // It is on, but the source has given up waiting.
        status.note_source(SemiSync::Paused, "m1");
        assert!(!status.is_active());
        assert_eq!(status.problem(), Some(SEMI_SYNC_PAUSED));
        status.note_source(SemiSync::On, "m1");
        assert!(status.is_active() && status.problem().is_none());
        status.end_dump();
        status.note_source(SemiSync::On, "m1");
        assert!(!status.is_active() && status.problem().is_none());
    }

    #[tokio::test]
    async fn a_plugin_that_was_loaded_since_is_noticed_once() {
        let status = SemiSyncStatus::default();
        let is_noticed = async || {
            let limit = std::time::Duration::from_millis(20);
            let waiting = status.wait_for_plugin();
            tokio::time::timeout(limit, waiting).await.is_ok()
        };
        assert!(!is_noticed().await);
        status.begin_dump(SemiSync::NotLoaded);
        assert!(!is_noticed().await);
        status.note_source(SemiSync::Off, "m1");
        assert!(is_noticed().await);
        status.end_dump();
        assert!(!is_noticed().await);
        status.begin_dump(SemiSync::Off);
        status.note_source(SemiSync::On, "m1");
        assert!(!is_noticed().await);
    }
}
