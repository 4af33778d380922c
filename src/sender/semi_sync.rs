//! The acknowledgements of one semi-synchronous replica.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::packets::SentRegion;
use super::replicas::Replica;
use crate::position::RelayLogPosition;
use crate::protocol::semi_sync::Acknowledgement;
use crate::relay_log::reader::FIRST_EVENT;
use crate::relay_log::{LogDir, ReplicaAcknowledgements};

/// An acknowledgement that was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// No transaction is between this and `end`: replicas count control events differently.
    from: RelayLogPosition,
    /// Everything before it was sent, or the replica has it.
    end: RelayLogPosition,
}

/// Records a replica's acknowledgements while it is connected.
#[derive(Debug)]
pub struct SemiSync {
    acknowledged: Arc<ReplicaAcknowledgements>,
    /// The connection's id.
    id: u32,
    replica: Arc<Replica>,
    /// The newest acknowledgement that was asked for and has not arrived.
    asked: Option<Asked>,
    /// Whether transactions were sent since the newest event that asked.
    has_sent_unasked: bool,
    /// The end of what was sent, or skipped because the replica has it. No acknowledgement may name a later
    /// position.
    sent: Option<RelayLogPosition>,
}

impl Drop for SemiSync {
    fn drop(&mut self) {
        self.acknowledged.forget(self.id);
    }
}

impl SemiSync {
    /// The dump of the connection `id` begins. `start`: where in the log; the replica has everything before
    /// it, as servers assume, too.
    pub fn new(
        acknowledged: Arc<ReplicaAcknowledgements>,
        id: u32,
        replica: Arc<Replica>,
        start: Option<RelayLogPosition>,
    ) -> Self {
        if let Some(start) = start {
            acknowledged.acknowledge(id, start);
        }
        Self {
            acknowledged,
            id,
            replica,
            asked: None,
            has_sent_unasked: false,
            sent: None,
        }
    }

    /// Everything up to `end`, the published end, was sent or skipped.
    pub fn sent(&mut self, end: RelayLogPosition, region: SentRegion) {
        self.sent = Some(end);
        if region.asks {
            let from = match region.has_transactions {
                true => end,
                false => RelayLogPosition {
                    offset: FIRST_EVENT,
                    ..end
                },
            };
            self.asked = Some(Asked { from, end });
            self.has_sent_unasked = false;
        } else if region.has_sent {
            // The event at the end was skipped. The next one that asks covers what was sent before it.
            self.has_sent_unasked = true;
        } else if !self.has_sent_unasked {
            // The replica has what was skipped.
            match &mut self.asked {
                Some(asked) => asked.end = end,
                None => self.acknowledged.acknowledge(self.id, end),
            }
        }
    }

    /// A packet has arrived.
    ///
    /// # Errors
    /// As text: it is not an acknowledgement of something that was sent.
    pub fn received(&mut self, packet: &[u8], log_dir: &LogDir) -> Result<(), String> {
        let acknowledgement = Acknowledgement::decode(packet).map_err(|error| error.to_string())?;
        let name = std::str::from_utf8(acknowledgement.file).ok();
        let position =
            name.and_then(|name| log_dir.file_number(name))
                .map(|file| RelayLogPosition {
                    file,
                    offset: acknowledgement.position,
                });
        let Some(position) = position.filter(|position| Some(*position) <= self.sent) else {
            return Err(format!(
                "an acknowledgement of {:?}:{}, which was not sent",
                String::from_utf8_lossy(acknowledgement.file),
                acknowledgement.position
            ));
        };
        self.replica.progress.acknowledgements.fetch_add(1, Relaxed);
        let end = match self.asked {
            Some(asked) if position >= asked.from => {
                self.asked = None;
                asked.end
            }
            _ => position,
        };
        self.acknowledged.acknowledge(self.id, end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay_log::ReplicaWait;

    fn at(file: u64, offset: u64) -> RelayLogPosition {
        RelayLogPosition { file, offset }
    }

    struct Fixture {
        acknowledged: Arc<ReplicaAcknowledgements>,
        log_dir: LogDir,
        semi_sync: SemiSync,
    }

    fn fixture(start: Option<RelayLogPosition>) -> Fixture {
        let acknowledged = Arc::new(ReplicaAcknowledgements::new(ReplicaWait {
            replicas: 1,
            timeout: Duration::from_secs(10),
        }));
        let log_dir = LogDir {
            dir: "/nowhere".into(),
            basename: "relay-bin".to_owned(),
        };
        let replica = Arc::new(Replica::default());
        let semi_sync = SemiSync::new(acknowledged.clone(), 5, replica, start);
        Fixture {
            acknowledged,
            log_dir,
            semi_sync,
        }
    }

    impl Fixture {
        fn covers(&self, end: RelayLogPosition) -> bool {
            self.acknowledged.follow().borrow().covers(end)
        }

        fn receive(&mut self, file: &str, position: u64) -> Result<(), String> {
            let mut packet = Vec::new();
            let file = file.as_bytes();
            Acknowledgement { file, position }.encode(&mut packet);
            self.semi_sync.received(&packet, &self.log_dir)
        }
    }

    const SENT: SentRegion = SentRegion {
        asks: true,
        has_sent: true,
        has_transactions: true,
    };
    const SKIPPED: SentRegion = SentRegion {
        asks: false,
        has_sent: false,
        has_transactions: true,
    };

    #[test]
    fn an_acknowledgement_counts_only_up_to_what_was_sent() {
        let mut replica = fixture(Some(at(1, 4)));
        assert!(replica.covers(at(1, 4)) && !replica.covers(at(1, 5)));
        assert!(
            replica.receive("relay-bin.000001", 4).is_err(),
            "nothing was sent"
        );
        replica.semi_sync.sent(at(1, 500), SENT);
        for (file, position) in [
            ("relay-bin.000001", 501),
            ("relay-bin.000002", 4),
            ("relay-bin.000001", u64::MAX),
            ("other.000001", 4),
            ("", 4),
        ] {
            assert!(
                replica.receive(file, position).is_err(),
                "{file}:{position}"
            );
        }
        assert!(!replica.covers(at(1, 5)));
        replica.receive("relay-bin.000001", 400).unwrap();
        assert!(replica.covers(at(1, 400)) && !replica.covers(at(1, 500)));
        replica.receive("relay-bin.000001", 500).unwrap();
        assert!(replica.covers(at(1, 500)));
        assert_eq!(
            replica
                .semi_sync
                .replica
                .progress
                .acknowledgements
                .load(Relaxed),
            2
        );
        assert!(
            replica
                .semi_sync
                .received(b"\x01", &replica.log_dir)
                .is_err()
        );
    }

    #[test]
    fn what_is_skipped_counts_as_soon_as_everything_before_it_does() {
        let mut replica = fixture(None);
        replica.semi_sync.sent(at(1, 300), SKIPPED);
        assert!(replica.covers(at(1, 300)));
        replica.semi_sync.sent(at(1, 500), SENT);
        replica.semi_sync.sent(at(1, 700), SKIPPED);
        assert!(!replica.covers(at(1, 301)));
        replica.receive("relay-bin.000001", 500).unwrap();
        assert!(replica.covers(at(1, 700)));
        // Sent, but the event at the end was skipped.
        let unasked = SentRegion {
            has_sent: true,
            ..SKIPPED
        };
        replica.semi_sync.sent(at(1, 900), unasked);
        assert!(!replica.covers(at(1, 701)));
        // What is skipped after that does not acknowledge it, nor an older answer.
        replica.semi_sync.sent(at(1, 950), SKIPPED);
        replica.receive("relay-bin.000001", 500).unwrap();
        assert!(!replica.covers(at(1, 701)));
        replica.semi_sync.sent(at(1, 1000), SENT);
        assert!(!replica.covers(at(1, 701)));
        replica.receive("relay-bin.000001", 1000).unwrap();
        assert!(replica.covers(at(1, 1000)));
    }

    #[test]
    fn control_events_at_the_head_of_a_file_are_covered_from_its_beginning() {
        let mut replica = fixture(None);
        let head = SentRegion {
            asks: true,
            ..SentRegion::default()
        };
        replica.semi_sync.sent(at(2, 180), head);
        replica.receive("relay-bin.000002", 4).unwrap();
        assert!(replica.covers(at(2, 180)));
    }
}
