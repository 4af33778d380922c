//! Which source shows what a replica, or another source, has of the transactions of one server.

use std::fmt;
use std::sync::Arc;

use crate::relay_log::LogState;

/// The names of the paths by number, of the sources that are followed, and of those whose positions are given.
pub(super) struct Sources<'a> {
    pub(super) paths: &'a [Arc<str>],
    pub(super) followed: &'a [Arc<str>],
    pub(super) given: &'a [&'a str],
}

/// A source whose coordinates decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginSource {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is followed now; else it was removed.
    pub is_followed: bool,
}

impl Sources<'_> {
    /// The source of server `server_id` itself, or else the path that has delivered its transactions: one that is
    /// followed, as far as there is one.
    pub(super) fn of_origin(
        &self,
        state: &LogState,
        server_id: u32,
        delivered_by: &Arc<str>,
    ) -> OriginSource {
        let paths = self.paths.iter().zip(&state.sources);
        let own = paths.filter(|(_, progress)| progress.server_id == server_id);
        let own = own.map(|(name, _)| name);
        let candidates = own.chain([delivered_by]);
        let candidates = candidates.filter(|name| !self.given.contains(&&***name));
        let candidates: Vec<&Arc<str>> = candidates.collect();
        let is_followed = |name: &Arc<str>| self.followed.contains(name);
        let followed = candidates.iter().find(|name| is_followed(name));
        let name = followed
            .or(candidates.first())
            .map_or(delivered_by, |name| *name);
        OriginSource {
            name: name.clone(),
            is_followed: is_followed(name),
        }
    }
}

/// What to do, as the end of a message.
impl fmt::Display for OriginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.is_followed {
            true => write!(f, "give the coordinates of {name} as well"),
            false => write!(
                f,
                "only coordinates of {name} would show it, which is not a source now: add it again to give them, \
                 or seed the replica from one of the relay's replicas"
            ),
        }
    }
}
