//! MySQL's `gtid_mode`.

use std::fmt;

use super::error::ReceiverError;

/// The four values of `gtid_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GtidMode {
    /// No transaction has a GTID.
    Off,
    /// New transactions have none, replicated ones may have one.
    OffPermissive,
    /// New transactions have one, replicated ones may have none.
    OnPermissive,
    /// Every transaction has a GTID.
    On,
}

impl GtidMode {
    /// The mode that a server reports; `None` for an unknown value.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Off, Self::OffPermissive, Self::OnPermissive, Self::On];
        all.into_iter().find(|mode| mode.name() == text)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::OffPermissive => "OFF_PERMISSIVE",
            Self::OnPermissive => "ON_PERMISSIVE",
            Self::On => "ON",
        }
    }

    /// Whether every transaction has a GTID.
    ///
    /// # Errors
    /// In the modes between ON and OFF. There a replica can follow by file and position only (with
    /// auto-position it stops, as with any mode but ON), and the relay log would hold transactions
    /// of both kinds, whose copies cannot be recognised by one rule.
    pub fn has_gtids(self) -> Result<bool, ReceiverError> {
        let action = match self {
            Self::Off => return Ok(false),
            Self::On => return Ok(true),
            Self::OnPermissive => {
                "execute on the source: SET GLOBAL gtid_mode = ON (or OFF_PERMISSIVE and then OFF, \
                 to run without GTIDs), and set it in its configuration file"
            }
            Self::OffPermissive => {
                "execute on the source: SET GLOBAL gtid_mode = OFF (or ON_PERMISSIVE and then ON, to \
                 run with GTIDs), and set it in its configuration file"
            }
        };
        Err(ReceiverError::setup(
            format!(
                "the source has gtid_mode = {self}, so its binlog may hold transactions with and \
                 without GTIDs"
            ),
            action,
        ))
    }
}

impl fmt::Display for GtidMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
