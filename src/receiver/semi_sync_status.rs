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

/// As [`SEMI_SYNC_PAUSED`], and transactions were committed there since.
pub const SEMI_SYNC_LOSING: &str = "semi-sync: the source commits without waiting for acknowledgements: the relay did not \
                                acknowledge within rpl_semi_sync_source_timeout, and what is committed there since is \
                                not protected; the source waits again once the relay has acknowledged its newest \
                                transaction: look for a slow disk or network, or load that leaves it no time";

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
    /// How many commits were not acknowledged, by the source's counter, when it was last seen to wait, or was first
    /// asked.
    unacknowledged: Option<u64>,
    /// Whether more of them were made since.
    is_losing: bool,
}

impl Dump {
    /// What the source reports.
    fn note(&mut self, source: SemiSync, unacknowledged: u64) {
        self.source = source;
        (self.unacknowledged, self.is_losing) = match source {
            SemiSync::NotLoaded | SemiSync::Off => (None, false),
            SemiSync::On => (Some(unacknowledged), false),
            SemiSync::Paused => {
                // FLUSH STATUS sets the counter back.
                let known = self.unacknowledged.unwrap_or(unacknowledged);
                let is_losing = self.is_losing || unacknowledged > known;
                (Some(known.min(unacknowledged)), is_losing)
            }
        };
    }

    fn problem(&self) -> &'static str {
        match self.is_losing {
            true => SEMI_SYNC_LOSING,
            false => problem(self.source),
        }
    }
}

impl SemiSyncStatus {
    /// A dump was requested. `source`: what the source has, [`SemiSync::NotLoaded`] if nothing was requested.
    pub(super) fn begin_dump(&self, source: SemiSync) {
        self.dump.send_replace(Some(Dump {
            is_negotiated: source != SemiSync::NotLoaded,
            source,
            unacknowledged: None,
            is_losing: false,
        }));
    }

    /// The dump has ended.
    pub(super) fn end_dump(&self) {
        self.dump.send_replace(None);
    }

    /// The source's side, as the control connection reports it, and the number of commits that were not acknowledged;
    /// logged when it has changed.
    pub(super) fn note_source(&self, source: SemiSync, unacknowledged: u64, name: &str) {
        self.dump.send_if_modified(|dump| {
            let Some(dump) = dump else { return false };
            let before = *dump;
            dump.note(source, unacknowledged);
            if (dump.source, dump.is_losing) == (before.source, before.is_losing) {
                return false;
            }
            match (source, dump.is_negotiated) {
                (SemiSync::On, true) => tracing::info!(
                    source = name,
                    "semi-sync replication is in effect on the source: transactions are acknowledged"
                ),
                (SemiSync::On, false) => {}
                _ => tracing::warn!(source = name, "{}", dump.problem()),
            }
            true
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
        (dump.source != SemiSync::On).then(|| dump.problem())
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
        status.note_source(SemiSync::On, 0, "m1");
        assert!(!status.is_active());
        status.begin_dump(SemiSync::Off);
        assert!(!status.is_active() && status.problem().unwrap().contains("off"));
        status.note_source(SemiSync::On, 0, "m1");
        assert!(status.is_active() && status.problem().is_none());
        // It is on, but the source has given up waiting.
        status.note_source(SemiSync::Paused, 0, "m1");
        assert!(!status.is_active());
        assert_eq!(status.problem(), Some(SEMI_SYNC_PAUSED));
        status.note_source(SemiSync::On, 0, "m1");
        assert!(status.is_active() && status.problem().is_none());
        status.end_dump();
        status.note_source(SemiSync::On, 0, "m1");
        assert!(!status.is_active() && status.problem().is_none());
    }

    /// Under load it stays so, because only its newest transaction, once acknowledged, makes it wait again.
    #[test]
    fn source_that_commits_without_waiting_is_not_idle() {
        use SemiSync::{Off, On, Paused};
        let status = SemiSyncStatus::default();
        status.begin_dump(On);
        for (source, unacknowledged, expected) in [
            // What was before the dump began is over.
            (Paused, 40, Some(SEMI_SYNC_PAUSED)),
            (Paused, 40, Some(SEMI_SYNC_PAUSED)),
            (Paused, 41, Some(SEMI_SYNC_LOSING)),
            (Paused, 41, Some(SEMI_SYNC_LOSING)),
            (On, 41, None),
            // While it waits, this says nothing: it may count what it committed before.
            (On, 45, None),
            (Paused, 45, Some(SEMI_SYNC_PAUSED)),
            (On, 45, None),
            // The one for which it gave up waiting.
            (Paused, 46, Some(SEMI_SYNC_LOSING)),
            (On, 46, None),
            (Paused, 0, Some(SEMI_SYNC_PAUSED)),
            (Paused, 1, Some(SEMI_SYNC_LOSING)),
            // FLUSH STATUS: it still has not been seen to wait.
            (Paused, 0, Some(SEMI_SYNC_LOSING)),
            // What it committed while semi-sync replication was off is another matter.
            (Off, 0, Some(problem(Off))),
            (Paused, 40, Some(SEMI_SYNC_PAUSED)),
        ] {
            status.note_source(source, unacknowledged, "m1");
            assert_eq!(status.problem(), expected, "{source:?} {unacknowledged}");
        }
        status.begin_dump(On);
        status.note_source(Paused, 9, "m1");
        assert_eq!(status.problem(), Some(SEMI_SYNC_PAUSED));
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
        status.note_source(SemiSync::Off, 0, "m1");
        assert!(is_noticed().await);
        status.end_dump();
        assert!(!is_noticed().await);
        status.begin_dump(SemiSync::Off);
        status.note_source(SemiSync::On, 0, "m1");
        assert!(!is_noticed().await);
    }
}
