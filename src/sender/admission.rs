//! Which clients are let in: limits on connections, so that a flood of some leaves room for the others.
//!
//! A connection *waits* until its client has logged in. A new connection beyond a limit takes the place of the
//! oldest one that waits, first of the same address: so silent connections keep no one out, and no client
//! that has logged in is disconnected for a new one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::protocol::ServerError;
use crate::protocol::error_code::ER_CON_COUNT_ERROR;

/// The limits on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The most clients that have logged in; as many may be logging in.
    pub total: usize,
    /// The most clients of one address that have logged in; as many may be logging in.
    pub per_address: usize,
    /// How many accounts with a privilege may log in beyond each of these.
    pub reserved: usize,
}

/// The connections that there are.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: ConnectionLimits,
    next: u64,
    /// The oldest one first.
    waiting: BTreeMap<u64, Waiting>,
    /// Those that have logged in.
    logged_in: usize,
    /// The same, by address.
    addresses: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Waiting {
    address: IpAddr,
    evict: oneshot::Sender<()>,
}

impl State {
    fn evict(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.remove(&number) {
            // It may have ended by itself.
            let _ = waiting.evict.send(());
        }
    }

    fn leave(&mut self, address: IpAddr) {
        if let Some(count) = self.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// The number of an address's connections that wait, and the one that has waited longest.
    fn waiting_of(&self, address: IpAddr) -> (usize, Option<u64>) {
        let waiting = self.waiting.iter();
        let mut of_address = waiting.filter(|(_, waiting)| waiting.address == address);
        let oldest = of_address.next().map(|(number, _)| *number);
        (of_address.count() + usize::from(oldest.is_some()), oldest)
    }
}

impl Admission {
    /// No connections yet.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                limits,
                next: 0,
                waiting: BTreeMap::new(),
                logged_in: 0,
                addresses: HashMap::new(),
            }),
        })
    }

    /// Changes the limits for connections and logins from now on.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.state().limits = limits;
    }

    /// A place for a new connection, and when it is taken by another.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> (Place, Eviction) {
        let address = address.to_canonical();
        let mut state = self.state();
        if let (count, Some(oldest)) = state.waiting_of(address)
            && count >= state.limits.per_address
        {
            state.evict(oldest);
        }
        if state.waiting.len() >= state.limits.total
            && let Some(oldest) = state.waiting.keys().next().copied()
        {
            state.evict(oldest);
        }
        let number = state.next;
        state.next += 1;
        let (evict, evicted) = oneshot::channel();
        state.waiting.insert(number, Waiting { address, evict });
        let place = Place {
            admission: self.clone(),
            address,
            step: Step::Waiting(number),
        };
        (place, Eviction(evicted))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(text: &str) -> ServerError {
    ServerError::new(ER_CON_COUNT_ERROR, text)
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Waiting(u64),
    LoggedIn,
}

impl Place {
    /// Records that the client has proved who it is; `is_privileged` if its account has a privilege.
    ///
    /// # Errors
    /// The error for the client: too many have logged in.
    pub fn log_in(&mut self, is_privileged: bool) -> Result<(), ServerError> {
        let Step::Waiting(number) = self.step else {
            return Ok(());
        };
        let mut state = self.admission.state();
        let limits = state.limits;
        let reserved = match is_privileged {
            true => limits.reserved,
            false => 0,
        };
        let of_address = state.addresses.get(&self.address).copied();
        if of_address.unwrap_or_default() >= limits.per_address + reserved {
            return Err(too_many("Too many connections from this address"));
        }
        if state.logged_in >= limits.total + reserved || state.waiting.remove(&number).is_none() {
            return Err(too_many("Too many connections"));
        }
        state.logged_in += 1;
        *state.addresses.entry(self.address).or_default() += 1;
        drop(state);
        self.step = Step::LoggedIn;
        Ok(())
    }
}

/// When another connection takes a place; never after the login.
#[derive(Debug)]
pub struct Eviction(oneshot::Receiver<()>);

impl Eviction {
    /// Waits for it.
    pub async fn happened(self) {
        if self.0.await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        match self.step {
            // Does nothing if another connection has taken the place.
            Step::Waiting(number) => state.evict(number),
            Step::LoggedIn => {
                state.logged_in -= 1;
                state.leave(self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
