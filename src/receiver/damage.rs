//! Events that arrive damaged: once, the network may be the cause; twice, it is the source's binlog, or a network
//! that changes the same bytes each time.

use super::error::ReceiverError;
use crate::position::SourcePosition;

/// The event of a source that arrived damaged last.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Where it begins.
    at: Option<SourcePosition>,
}

impl Damage {
    /// Turns the error that ended a connection into one that is retried like a lost connection, if it is the first
    /// one of its event.
    pub(super) fn judge(&mut self, error: ReceiverError) -> ReceiverError {
        match error {
            ReceiverError::Transaction { at, cause }
                if cause.may_be_of_network() && self.at.as_ref() != Some(&at) =>
            {
                self.at = Some(at.clone());
                ReceiverError::Damaged { at, cause }
            }
            other => {
                // Twice in a row: a connection that ended otherwise may have passed the event.
                if !matches!(other, ReceiverError::Transaction { .. }) {
                    self.at = None;
                }
                other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::EventType;
    use crate::transaction::TransactionError;

    fn error(offset: u64, cause: TransactionError) -> ReceiverError {
        let at = SourcePosition::new("bin.000001", offset);
        ReceiverError::Transaction { at, cause }
    }

    fn damage(offset: u64) -> ReceiverError {
        let cause = TransactionError::NotEnded {
            event_type: EventType::GTID,
        };
        error(offset, cause)
    }

    #[test]
    fn only_the_first_damage_of_an_event_is_taken_for_that_of_the_network() {
        let mut known = Damage::default();
        for (offset, is_failure) in [
            (4, false),
            (4, true),
            (4, true),
            (90, false),
            (90, true),
            (4, false),
        ] {
            let judged = known.judge(damage(offset));
            assert_eq!(judged.is_failure(), is_failure, "{offset}: {judged}");
        }
        assert!(known.judge(damage(4)).is_failure());
        known.judge(ReceiverError::SemiSyncLoaded);
        assert!(!known.judge(damage(4)).is_failure(), "not twice in a row");
        assert!(
            known
                .judge(error(4, TransactionError::TooLarge))
                .is_failure()
        );
    }
}
