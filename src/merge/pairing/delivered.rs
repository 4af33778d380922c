//! The delivered transactions without GTIDs, which copies are compared with.

use crate::identity::Fingerprint;
use crate::position::RecordNumber;

/// A transaction that counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Its record in the ledger.
    pub record: RecordNumber,
    /// Identifies its copies.
    pub fingerprint: Fingerprint,
    /// The path that delivered it: a source's number.
    pub path: u16,
    /// Whether it may be that path's repetition of another one, which its origin never sends.
    pub may_be_repetition: bool,
}

/// All delivered transactions without GTIDs, in order.
pub trait Ledger {
    /// Passes the delivered transactions of `origin` from record `from` on to `accept`, in order,
    /// until it returns false or there are no more. Returns the next record to read; `None` at the
    /// end.
    ///
    /// # Errors
    /// A message, when the ledger cannot be read.
    fn read(
        &self,
        from: RecordNumber,
        origin: u32,
        accept: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Option<RecordNumber>, String>;
}
