//! The accounts that may log in, and the decoys that unknown users are checked against.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::AddressRange;
use crate::protocol::StoredPassword;
use crate::tls::PasswordKey;
use aws_lc_rs::digest;

/// The privileges of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Privileges {
    /// Replicate from the relay, and see its state.
    pub replication: bool,
    /// Run statements that change something.
    pub admin: bool,
    /// See the state of the relay.
    pub monitor: bool,
}

impl Privileges {
    /// Whether the account may see the state of the relay, its sources and its clients.
    pub fn sees_status(self) -> bool {
        self.replication || self.admin || self.monitor
    }
}

/// An account that may log in.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user's name.
    pub name: String,
    /// The stored form of the password.
    pub password: StoredPassword,
    /// From which addresses clients may log in as this account; empty = from all.
    pub hosts: Vec<AddressRange>,
    /// The account's privileges.
    pub privileges: Privileges,
}

impl Account {
    /// Whether a client with this address may log in as this account. An unknown address may only where
    /// all may.
    fn allows(&self, address: Option<IpAddr>) -> bool {
        let is_in = |address: IpAddr| self.hosts.iter().any(|range| range.contains(address));
        self.hosts.is_empty() || address.is_some_and(is_in)
    }
}

/// All accounts, and the key that protects passwords sent over connections without TLS.
#[derive(Debug)]
pub struct Accounts {
    accounts: Vec<Account>,
    /// For each account an unguessable password of the same kind.
    decoys: Vec<StoredPassword>,
    /// The decoy of a relay without accounts.
    last_decoy: StoredPassword,
    key: Arc<PasswordKey>,
}

impl Accounts {
    /// The accounts by name; names are unique.
    pub fn new(accounts: Vec<Account>, key: Arc<PasswordKey>) -> Accounts {
        Accounts {
            decoys: accounts
                .iter()
                .map(|account| account.password.decoy())
                .collect(),
            last_decoy: StoredPassword::from_plaintext("").decoy(),
            accounts,
            key,
        }
    }

    /// The key that protects passwords sent over connections without TLS.
    pub fn key(&self) -> &PasswordKey {
        &self.key
    }

    /// The same, for other accounts.
    pub fn shared_key(&self) -> Arc<PasswordKey> {
        self.key.clone()
    }

    /// The stored password of that account, with what was learnt of the password at logins.
    pub fn stored_password(&self, user: &str) -> Option<StoredPassword> {
        let account = self.accounts.iter().find(|account| account.name == user);
        account.map(|account| account.password.clone())
    }

    /// Whether a client with this address may log in as any account.
    pub fn allow_host(&self, address: Option<IpAddr>) -> bool {
        let mut accounts = self.accounts.iter();
        self.accounts.is_empty() || accounts.any(|account| account.allows(address))
    }

    /// The account of that name for a client with this address, and the password that its answers are checked against. An unknown
    /// user gets the decoy of one of the accounts: always the same one, also after a restart, and
    /// an attacker cannot tell which.
    pub fn find(&self, user: &str, address: Option<IpAddr>) -> (Option<&Account>, StoredPassword) {
        let account = self.accounts.iter().find(|account| account.name == user);
        let account = account.filter(|account| account.allows(address));
        let decoy = self.decoy(user);
        let password = account.map_or(decoy, |account| &account.password);
        (account, password.clone())
    }

    fn decoy(&self, user: &str) -> &StoredPassword {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.key.stable_secret());
        context.update(user.as_bytes());
        let digest = context.finish();
        let number = digest
            .as_ref()
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let count = self.decoys.len().max(1) as u64;
        let index = usize::try_from(number % count).unwrap_or_default();
        self.decoys.get(index).unwrap_or(&self.last_decoy)
    }
}
