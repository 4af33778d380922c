//! Every statement that recorded replicas, tools and clients sent is answered as by the real
//! master: with an error, OK, or a result with as many columns.

use super::tests::Asker;
use super::*;
use crate::flavor::Flavor;
use recordings::{Answered, Conversation, KINDS};

#[path = "../../../tests/recorded/mod.rs"]
mod recordings;

/// Answers that differ from the real master's: the beginning of the statement, our answer, and
/// the reason.
const DIFFERENCES: &[(&str, Answered, &str)] = &[(
    "KILL ",
    Answered::Error,
    "the connection does not exist here: it is the replica's other one",
)];

fn asker(kind: &str) -> Asker {
    Asker::new(match kind.starts_with("mariadb") {
        true => Flavor::MariaDb,
        false => Flavor::MySql,
    })
}

/// All connections of a server kind, with their statements and the kinds of their answers.
fn statements(kind: &str) -> Vec<(String, Vec<(String, Answered)>)> {
    let of_one = |conversation: Conversation| {
        let exchanges = conversation.exchanges();
        let asked = exchanges.iter().filter_map(|exchange| {
            let statement = conversation.statement(exchange)?;
            Some((statement.to_owned(), exchange.answered()))
        });
        (conversation.name.clone(), asked.collect())
    };
    let names = recordings::names(kind);
    names
        .iter()
        .flat_map(|name| recordings::conversations(kind, name))
        .map(of_one)
        .collect()
}

fn answered(asker: &mut Asker, statement: &str) -> Answered {
    match asker.ask(statement) {
        Ok(Answer::Ok | Answer::Warned(_)) => Answered::Ok,
        Ok(Answer::Rows { columns, .. }) => Answered::Rows(columns.len()),
        Ok(Answer::Events(_)) => Answered::Rows(6),
        Ok(Answer::Wait(wait)) => panic!("{statement}: {wait:?}"),
        Err(_) => Answered::Error,
    }
}

#[test]
fn statements_are_answered_as_the_real_masters_did() {
    let mut findings = Vec::new();
    let mut used = vec![false; DIFFERENCES.len()];
    let mut count = 0;
    for kind in KINDS {
        for (name, asked) in statements(kind) {
            let mut asker = asker(kind);
            for (statement, theirs) in asked {
                let ours = answered(&mut asker, &statement);
                count += 1;
                let known = DIFFERENCES
                    .iter()
                    .position(|(begin, how, _)| statement.starts_with(begin) && *how == ours);
                match known {
                    Some(index) if ours != theirs => used[index] = true,
                    _ if ours == theirs => {}
                    _ => findings.push(format!("{name}: {statement}: {ours:?}, not {theirs:?}")),
                }
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    for (difference, used) in DIFFERENCES.iter().zip(used) {
        assert!(used, "no longer needed: {difference:?}");
    }
    assert!(count > 200, "{count}");
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_hexdigit() && !letter.is_ascii_uppercase()
}

/// Damaged statements are answered as well: by an error or otherwise.
#[test]
fn truncated_and_changed_statements_do_no_harm() {
    let mut seen = std::collections::HashSet::new();
    for kind in KINDS {
        let mut asker = asker(kind);
        let asked = statements(kind).into_iter().flat_map(|(_, asked)| asked);
        for (statement, _) in asked {
            // Statements that differ only in a UUID or a number count as one.
            if !seen.insert((asker.flavor, statement.replace(is_digit, "0"))) {
                continue;
            }
            let bytes = statement.as_bytes();
            for cut in 0..bytes.len() {
                let _ = asker.ask(&String::from_utf8_lossy(&bytes[..cut]));
            }
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                let _ = asker.ask(&String::from_utf8_lossy(&changed));
            }
        }
    }
    assert!(seen.len() > 30, "{}", seen.len());
}
