//! `binrelay help`: the help of a command, or a topic of the documentation.
//!
//! The topics are Markdown files that are kept next to the code they describe and are also part of
//! its rustdoc, so that an installed binary carries the documentation of its own version.

use std::io::Write;

use clap::builder::{PossibleValue, PossibleValuesParser};

use super::Outcome;
use super::stdout::Stdout;

/// Show the help of a command, or a topic of the documentation
///
/// Without an argument the commands and the topics are listed. A topic is printed as Markdown.
#[derive(Debug, clap::Args)]
pub struct HelpArgs {
    /// Name of a command or a topic
    #[arg(value_name = "TOPIC", value_parser = PossibleValuesParser::new(names()))]
    pub topic: Option<String>,
}

/// One topic of the documentation.
struct Topic {
    name: &'static str,
    about: &'static str,
    text: &'static str,
}

const TOPICS: [Topic; 12] = [
    Topic {
        name: "options",
        about: "The configuration file: every key, its default and its meaning",
        text: include_str!("../config/options.md"),
    },
    Topic {
        name: "operation",
        about: "Commands, exit statuses, signals, logs, topologies, limits",
        text: include_str!("operation.md"),
    },
    Topic {
        name: "monitoring",
        about: "The page, metrics and health checks, SQL on the listener, tools",
        text: include_str!("monitoring.md"),
    },
    Topic {
        name: "changes",
        about: "What changes while the relay runs: reload, forgotten replicas, sources that come and go",
        text: include_str!("changes.md"),
    },
    Topic {
        name: "adoption",
        about: "Attaching replicas of an existing pair, step by step",
        text: include_str!("../adoption/adoption.md"),
    },
    Topic {
        name: "rescue",
        about: "A master is lost for good: giving the survivor what only the relay has",
        text: include_str!("../adoption/rescue.md"),
    },
    Topic {
        name: "messages",
        about: "What each message means and what to do about it",
        text: include_str!("messages.md"),
    },
    Topic {
        name: "filters",
        about: "The replicate_* rules, and how filtered transactions are handled",
        text: include_str!("../filter/filters.md"),
    },
    Topic {
        name: "without-gtids",
        about: "Sources that have no GTIDs",
        text: include_str!("../merge/without_gtids.md"),
    },
    Topic {
        name: "write-conflicts",
        about: "The same key written on two masters: what is reported, and what is not",
        text: include_str!("../conflicts/conflicts.md"),
    },
    Topic {
        name: "format",
        about: "The files in data_dir, the order of writes, and recovery",
        text: concat!(
            include_str!("../relay_log/format.md"),
            "\n",
            include_str!("../relay_log/commit_index.md")
        ),
    },
    Topic {
        name: "architecture",
        about: "How the code is organised, for those who read or change it",
        text: include_str!("../architecture.md"),
    },
];

/// The commands, in the order of `binrelay --help`. A test compares them with clap's.
const COMMANDS: [&str; 16] = [
    "run",
    "check",
    "status",
    "continue",
    "forget",
    "reload",
    "dump",
    "verify",
    "list",
    "search",
    "position",
    "attach",
    "missing",
    "conflicts",
    "generate",
    "help",
];

fn names() -> Vec<PossibleValue> {
    let commands = COMMANDS.map(PossibleValue::new);
    let topics = TOPICS.map(|topic| PossibleValue::new(topic.name).help(topic.about));
    commands.into_iter().chain(topics).collect()
}

/// Whether `name` is a topic.
pub(super) fn is_topic(name: &str) -> bool {
    TOPICS.iter().any(|topic| topic.name == name)
}

/// The list of topics, as the help of the program ends.
pub(super) fn topic_list() -> String {
    let lines = TOPICS.map(|topic| format!("  {:<15} {}\n", topic.name, topic.about));
    format!(
        "Topics (binrelay help TOPIC):\n{}",
        lines.concat().trim_end()
    )
}

/// Prints a topic, or the help of `program` or one of its commands.
pub fn run(args: HelpArgs, mut program: clap::Command) -> anyhow::Result<Outcome> {
    program.build();
    let text = match args.topic.as_deref() {
        None => program.render_long_help().to_string(),
        Some(name) => match TOPICS.iter().find(|topic| topic.name == name) {
            Some(topic) => topic.text.to_owned(),
            None => program
                .find_subcommand_mut(name)
                .map(|command| command.render_long_help().to_string())
                .unwrap_or_default(),
        },
    };
    Stdout::lock().write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;

    fn program() -> clap::Command {
        let mut program = Arguments::command();
        program.build();
        program
    }

    #[test]
    fn commands_match_those_of_clap() {
        let program = program();
        let names: Vec<&str> = program.get_subcommands().map(|c| c.get_name()).collect();
        assert_eq!(names, COMMANDS);
    }

    /// The text of `operation.md` and `changes.md` under the heading of a command.
    fn section<'a>(operation: &'a str, command: &str) -> &'a str {
        let heading = format!("## `binrelay {command}`\n");
        let Some((_, rest)) = operation.split_once(&heading) else {
            panic!("operation.md: no heading {heading:?}");
        };
        rest.split("\n## ").next().unwrap_or(rest)
    }

    #[test]
    fn every_command_option_and_argument_is_documented() {
        let operation = concat!(
            include_str!("operation.md"),
            "\n",
            include_str!("changes.md")
        );
        let program = program();
        for option in program
            .get_arguments()
            .filter(|option| !is_built_in(option))
        {
            let option = format!("`--{}", option.get_long().unwrap_or_default());
            assert!(operation.contains(&option), "operation.md: no {option}`");
        }
        // Options that several commands have, before the first command.
        let common = operation.split("\n## ").next().unwrap_or_default();
        for command in program.get_subcommands() {
            let text = section(operation, command.get_name());
            for option in command.get_arguments() {
                let is_common = |long| common.contains(&format!("`--{long}"));
                if is_built_in(option) || option.get_long().is_some_and(is_common) {
                    continue;
                }
                let shown = match option.get_long() {
                    Some(long) => format!("`--{long}"),
                    None => option.get_value_names().unwrap_or_default().join(" "),
                };
                let name = command.get_name();
                assert!(text.contains(&shown), "operation.md, {name}: no {shown}");
            }
        }
    }

    /// `--help` and `--version`, which clap adds.
    fn is_built_in(option: &clap::Arg) -> bool {
        ["help", "version"].contains(&option.get_id().as_str())
    }

    #[test]
    fn every_topic_begins_with_its_title() {
        for topic in &TOPICS {
            assert!(topic.text.starts_with("# "), "{}", topic.name);
        }
    }
}
