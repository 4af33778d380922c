//! `binrelay verify`: checks the relay log in a data directory.

use std::io::{self, Write};
use std::path::PathBuf;

use binrelay::inspect::verify::{VerifyReport, verify};

use super::stdout::Stdout;
use super::{Outcome, print_error};

/// Verify the relay log in a data directory
///
/// Reads every file and checks event checksums, transaction boundaries, and the commit index
/// against the log. It changes nothing, and it may run while the relay runs: transactions that are
/// being written at that moment are not checked.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The relay's data directory
    #[arg(value_name = "DATA_DIR")]
    pub data_dir: PathBuf,
}

/// Verifies the log and prints the result.
pub fn run(args: VerifyArgs) -> anyhow::Result<Outcome> {
    let report = verify(&args.data_dir)?;
    print_files(&report, &mut Stdout::lock())?;
    for problem in report.files.iter().flat_map(|file| &file.problems) {
        let path = problem.path.display();
        print_error(&format!(
            "{path}, offset {}: {}",
            problem.offset, problem.what
        ));
    }
    Ok(match report.is_sound() {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

fn print_files(report: &VerifyReport, out: &mut impl Write) -> io::Result<()> {
    for file in &report.files {
        writeln!(
            out,
            "{}: {}, {}, verified up to offset {}: {}",
            file.name,
            counted(file.transactions, "transaction"),
            counted(file.steps, "record"),
            file.verified_to,
            match file.problems.len() {
                0 => "ok".to_owned(),
                count => counted(count as u64, "problem"),
            }
        )?;
        for note in &file.notes {
            writeln!(out, "{}: note: {note}", file.name)?;
        }
    }
    writeln!(
        out,
        "{}, {}, executed [{}]: {}",
        counted(report.files.len() as u64, "file"),
        counted(report.transactions(), "transaction"),
        report.executed.to_text(),
        if report.is_sound() {
            "ok"
        } else {
            "problems found"
        }
    )
}

/// `1 file`, `2 files`.
fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_their_nouns() {
        let texts = [0, 1, 2].map(|count| counted(count, "file"));
        assert_eq!(texts, ["0 files", "1 file", "2 files"]);
    }
}
