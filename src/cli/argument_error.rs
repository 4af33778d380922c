//! Errors in the arguments, as one line.

use clap::error::{ContextKind, ContextValue};

use super::help;

/// What is wrong, and which argument may be meant.
pub fn message(error: &clap::Error) -> String {
    let unknown = error.get(ContextKind::InvalidSubcommand);
    if let Some(ContextValue::String(name)) = unknown
        && help::is_topic(name)
    {
        return format!("'{name}' is a topic: run binrelay help {name}");
    }
    let text = error.render().to_string();
    let suggestion = suggestion(error);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !(line.is_empty() || suggestion.is_some() && line.starts_with("tip:")))
        .collect();
    let line = lines.join(" ");
    let problem = line.strip_prefix("error: ").unwrap_or(&line);
    match suggestion {
        Some(suggestion) => format!("{problem}; did you mean {suggestion}? (see binrelay --help)"),
        None => format!("{problem} (see binrelay --help)"),
    }
}

/// The names that are similar to the one given, quoted.
fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    let names = kinds.into_iter().find_map(|kind| error.get(kind))?;
    match names {
        ContextValue::String(name) => Some(format!("'{name}'")),
        ContextValue::Strings(names) => {
            let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            Some(quoted.join(" or "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Arguments;

    fn message_of(arguments: &[&str]) -> String {
        let arguments = ["binrelay"].iter().chain(arguments);
        message(&Arguments::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn similar_names_are_suggested_and_topics_are_recognised() {
        for (arguments, expected) in [
            (
                &["adoption"][..],
                "'adoption' is a topic: run binrelay help adoption",
            ),
            (
                &["positon"],
                "unrecognized subcommand 'positon'; did you mean 'position'? (see binrelay --help)",
            ),
            (
                &["xyz"],
                "unrecognized subcommand 'xyz' (see binrelay --help)",
            ),
            (
                &["run", "--confg", "a"],
                "unexpected argument '--confg' found; did you mean '--config'? (see binrelay --help)",
            ),
        ] {
            assert_eq!(message_of(arguments), expected);
        }
        let topic = message_of(&["help", "optins"]);
        assert!(topic.contains("; did you mean 'options'?"), "{topic}");
    }
}
