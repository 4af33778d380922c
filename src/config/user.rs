//! `[[user]]`: who may connect to the relay.

use toml::de::{DeTable, DeValue};

use super::address_range::AddressRange;
use super::password;
use super::reader::{Reader, shortened};
use super::section::{Section, value_offset};
use super::settings::{Privilege, UserConfig};

const KEYS: &[&str] = &[
    "name",
    "password",
    "password_file",
    "password_env",
    "password_hash",
    "privileges",
    "hosts",
];

/// Reads all users.
pub(super) fn read_all(root: &mut Section<'_, '_>) -> Vec<UserConfig> {
    let tables = root.tables("user");
    if tables.is_empty() {
        let message = "[[user]]: no account is configured, so no replica can connect".to_owned();
        root.reader().warnings.push(message);
    }
    let mut users: Vec<UserConfig> = Vec::new();
    for (index, (table, offset)) in tables.into_iter().enumerate() {
        let user = read_user(root.reader(), (table, offset), index + 1);
        let is_repeated = users.iter().any(|other| other.name == user.name);
        if is_repeated && !user.name.is_empty() {
            let name = shortened(&user.name);
            let message = format!("expected a unique name, found \"{name}\" again");
            let key = format!("[user #{}] name", index + 1);
            let offset = value_offset(table, "name", offset);
            root.reader().problem(Some(offset), &key, &message);
        }
        users.push(user);
    }
    users
}

fn read_user<'t>(
    reader: &mut Reader<'t>,
    (table, offset): (&'t DeTable<'t>, usize),
    number: usize,
) -> UserConfig {
    let label = match table.get("name").map(|name| name.get_ref()) {
        Some(DeValue::String(name)) if !name.is_empty() => {
            format!("[user \"{}\"]", shortened(name))
        }
        _ => format!("[user #{number}]"),
    };
    let mut section = Section::open(reader, label, Some(table), Some(offset), KEYS);
    const NAME: &str = "the name that clients log in with";
    section.require("name", NAME);
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_control);
    let name = section
        .string_if("name", NAME, is_name)
        .unwrap_or_default()
        .to_owned();
    let has_password = password::USER_KEYS.iter().any(|key| section.has(key));
    let password = password::read_user(&mut section);
    let privileges = read_privileges(&mut section);
    // What the others show is not secret, and checks of load balancers send no password.
    let has_power = privileges
        .iter()
        .any(|privilege| *privilege != Privilege::Monitor);
    if !has_password && has_power {
        let warning = format!(
            "{}: has no password, so anyone can log in as this user",
            section.label()
        );
        section.reader().warnings.push(warning);
    }
    UserConfig {
        name,
        password,
        hosts: read_hosts(&mut section),
        privileges,
    }
}

fn read_hosts(section: &mut Section<'_, '_>) -> Vec<AddressRange> {
    const EXPECTED: &str = "a list of addresses and ranges, such as [\"10.0.0.0/8\", \"::1\"]";
    let Some(texts) = section.strings("hosts", EXPECTED) else {
        return Vec::new();
    };
    if texts.is_empty() {
        let message = format!("expected {EXPECTED}, found an empty list");
        section.refuse("hosts", &message);
    }
    let mut hosts = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(range) => hosts.push(range),
            Err(_) => {
                let found = shortened(text);
                let message = format!("expected {EXPECTED}, found \"{found}\" in it");
                section.refuse("hosts", &message);
            }
        }
    }
    hosts
}

fn read_privileges(section: &mut Section<'_, '_>) -> Vec<Privilege> {
    const EXPECTED: &str =
        "a list of \"replication\", \"admin\" and \"monitor\", which may be empty";
    let default = vec![Privilege::Replication];
    let Some(names) = section.strings("privileges", EXPECTED) else {
        return default;
    };
    let mut privileges = Vec::new();
    for name in &names {
        let privilege = match *name {
            "replication" => Privilege::Replication,
            "admin" => Privilege::Admin,
            "monitor" => Privilege::Monitor,
            other => {
                let message = format!("expected {EXPECTED}, found \"{}\" in it", shortened(other));
                section.refuse("privileges", &message);
                return default;
            }
        };
        if !privileges.contains(&privilege) {
            privileges.push(privilege);
        }
    }
    privileges
}
