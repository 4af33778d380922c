//! Decisions that may be withdrawn while they are being verified, because whoever asked has waited too long: once one
//! is being recorded it is carried out, and until then it never is.

use tokio::sync::oneshot;

/// The receiver's end: whether a decision is still wanted.
#[derive(Debug)]
pub struct Wanted(Option<oneshot::Sender<()>>);

/// The end of whoever asked for the decision.
#[derive(Debug)]
pub struct Withdrawal(oneshot::Receiver<()>);

/// A decision that may be withdrawn. The result must be waited for until it is.
pub fn withdrawable() -> (Wanted, Withdrawal) {
    let (wanted, withdrawal) = oneshot::channel();
    (Wanted(Some(wanted)), Withdrawal(withdrawal))
}

impl Wanted {
    /// Whether or not anyone still waits for the result.
    pub fn always() -> Self {
        Self(None)
    }

    /// Whether the decision may be withdrawn.
    pub(super) fn may_be_withdrawn(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the decision was not withdrawn. From now on it cannot be.
    pub(super) fn confirm(self) -> bool {
        self.0.is_none_or(|wanted| wanted.send(()).is_ok())
    }
}

impl Withdrawal {
    /// Withdraws the decision: it is never carried out. Returns `false` if it is being recorded.
    pub fn withdraw(&mut self) -> bool {
        self.0.close();
        self.0.try_recv().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decision_is_either_withdrawn_or_recorded() {
        let (wanted, mut withdrawal) = withdrawable();
        assert!(wanted.may_be_withdrawn() && withdrawal.withdraw());
        assert!(!wanted.confirm());
        let (wanted, mut withdrawal) = withdrawable();
        assert!(wanted.confirm());
        assert!(!withdrawal.withdraw());
        let wanted = Wanted::always();
        assert!(!wanted.may_be_withdrawn() && wanted.confirm());
    }
}
