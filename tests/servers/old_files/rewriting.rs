//! Rewrites binlog files of MySQL 5.6 (without checksums, with version 1 rows) to the form that
//! older servers write.

use std::collections::BTreeSet;

const HEADER_LEN: usize = 19;
const QUERY: u8 = 2;
const STOP: u8 = 3;
const ROTATE: u8 = 4;
const USER_VAR: u8 = 14;
const FORMAT_DESCRIPTION: u8 = 15;
const PREVIOUS_GTIDS: u8 = 35;

/// The version whose form a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// MySQL 5.1: also without flags of user variables, and without BEGIN and COMMIT around
    /// changes of tables without transactions.
    MySql51,
    /// MySQL 5.5.
    MySql55,
}

impl Form {
    pub fn version(self) -> &'static str {
        match self {
            Form::MySql51 => "5.1.73-log",
            Form::MySql55 => "5.5.59-log",
        }
    }

    /// The format description's body.
    fn description(self, created: u32) -> Vec<u8> {
        let lengths = [
            56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 84, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0,
        ];
        let lengths = match self {
            Form::MySql51 => {
                let mut lengths = lengths[..26].to_vec();
                lengths[14] = 83;
                lengths
            }
            Form::MySql55 => lengths.to_vec(),
        };
        let mut version = self.version().as_bytes().to_vec();
        version.resize(50, 0);
        [
            &4u16.to_le_bytes()[..],
            &version,
            &created.to_le_bytes(),
            &[HEADER_LEN as u8],
            &lengths,
        ]
        .concat()
    }
}

/// The file in the form of the older version; `created` is written to its format description.
pub fn rewritten(file: &[u8], form: Form, created: u32) -> Vec<u8> {
    let events = split(file);
    let statement_groups = match form {
        Form::MySql51 => ends_of_statement_groups(&events),
        Form::MySql55 => BTreeSet::new(),
    };
    let mut out = file[..4].to_vec();
    for (number, event) in events.iter().enumerate() {
        let (header, body) = event.split_at(HEADER_LEN);
        let body = match event[4] {
            FORMAT_DESCRIPTION => form.description(created),
            PREVIOUS_GTIDS => continue,
            QUERY if statement_groups.contains(&number) => continue,
            QUERY => without_later_variables(body),
            USER_VAR if form == Form::MySql51 => without_flags(body),
            kind => {
                assert!(kind < 28, "MySQL 5.5 has no event type {kind}");
                body.to_vec()
            }
        };
        let mut header = header.to_vec();
        let size = (HEADER_LEN + body.len()) as u32;
        header[9..13].copy_from_slice(&size.to_le_bytes());
        let end = out.len() as u32 + size;
        header[13..17].copy_from_slice(&end.to_le_bytes());
        header[17] &= !1; // The file is closed.
        out.extend(header);
        out.extend(body);
    }
    out
}

fn split(file: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    let mut left = &file[4..];
    while !left.is_empty() {
        let size = u32::from_le_bytes(left[9..13].try_into().unwrap()) as usize;
        let (event, rest) = left.split_at(size);
        events.push(event);
        left = rest;
    }
    assert!(matches!(events.last().unwrap()[4], STOP | ROTATE));
    events
}

/// The BEGIN and COMMIT events of transactions that end with a COMMIT statement: those that
/// changed no table with transactions.
fn ends_of_statement_groups(events: &[&[u8]]) -> BTreeSet<usize> {
    let mut ends = BTreeSet::new();
    let mut begin = None;
    for (number, event) in events.iter().enumerate() {
        match statement(event) {
            Some(b"BEGIN") => begin = Some(number),
            Some(b"COMMIT") => ends.extend([begin.expect("a BEGIN"), number]),
            _ => {}
        }
    }
    ends
}

fn statement(event: &[u8]) -> Option<&[u8]> {
    (event[4] == QUERY).then(|| {
        let body = &event[HEADER_LEN..];
        let variables_len = usize::from(u16::from_le_bytes([body[11], body[12]]));
        &body[13 + variables_len + usize::from(body[8]) + 1..]
    })
}

/// A QUERY event's body without the status variables from 11 on.
fn without_later_variables(body: &[u8]) -> Vec<u8> {
    let len = usize::from(u16::from_le_bytes([body[11], body[12]]));
    let (variables, rest) = body[13..].split_at(len);
    let mut at = 0;
    while at < len && variables[at] < 11 {
        at += 1 + match variables[at] {
            0 | 3 | 10 => 4,
            1 | 9 => 8,
            4 => 6,
            7 | 8 => 2,
            5 | 6 => 1 + usize::from(variables[at + 1]),
            other => panic!("status variable {other}"),
        };
    }
    let kept = &variables[..at];
    let kept_len = (kept.len() as u16).to_le_bytes();
    [&body[..11], &kept_len, kept, rest].concat()
}

/// A USER_VAR event's body without the flags of an integer.
fn without_flags(body: &[u8]) -> Vec<u8> {
    const INTEGER: u8 = 2;
    let name_len = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
    let (is_null, kind) = (body[4 + name_len], body.get(5 + name_len));
    match is_null == 0 && kind == Some(&INTEGER) {
        true => body[..body.len() - 1].to_vec(),
        false => body.to_vec(),
    }
}
