//! `binrelay generate`: man pages and shell completions, for packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap_complete::Shell;

use super::Outcome;

/// Write man pages and shell completions
///
/// For packagers: DIR gets man pages (`man`) and completions for bash, fish and zsh (`completions`).
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// Directory to write to; it is created if it does not exist
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Writes the files for `program`.
pub fn run(args: &GenerateArgs, mut program: clap::Command) -> anyhow::Result<Outcome> {
    let (man, completions) = (args.dir.join("man"), args.dir.join("completions"));
    for dir in [&man, &completions] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let written = clap_complete::generate_to(shell, &mut program, "binrelay", &completions);
        written.with_context(|| format!("cannot write to {}", completions.display()))?;
    }
    program.build();
    write_page(&program, &man)?;
    for command in program.get_subcommands() {
        write_page(command, &man)?;
    }
    Ok(Outcome::Done)
}

fn write_page(command: &clap::Command, dir: &Path) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let path = dir.join(page.get_filename());
    let written = File::create(&path).and_then(|mut file| page.render(&mut file));
    written.with_context(|| format!("cannot write {}", path.display()))
}
