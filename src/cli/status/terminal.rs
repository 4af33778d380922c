//! The terminal that `binrelay status` prints to.

use std::io::{self, IsTerminal, Write, stdout};

/// Erases the screen.
const ERASE: &str = "\x1b[2J";
/// Moves to the first line.
const HOME: &str = "\x1b[H";
/// Erases the line. Not after its text: a terminal whose cursor waits in the last column would erase the last character.
const ERASE_LINE: &str = "\x1b[K";
/// Erases what is below.
const ERASE_BELOW: &str = "\x1b[J";
/// What a terminal has that does not know its size.
const DEFAULT: Size = Size {
    columns: 80,
    rows: 24,
};

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The present size of the terminal that is the standard output; none if that is not a terminal.
pub(super) fn size() -> Option<Size> {
    if !stdout().is_terminal() {
        return None;
    }
    let Ok(size) = rustix::termios::tcgetwinsize(stdout()) else {
        return Some(DEFAULT);
    };
    let known = |number: u16, default| if number == 0 { default } else { number.into() };
    Some(Size {
        columns: known(size.ws_col, DEFAULT.columns),
        rows: known(size.ws_row, DEFAULT.rows),
    })
}

/// Replaces the lines of the screen, one by one: it is never empty.
pub(super) fn draw(out: &mut impl Write, lines: &[String], is_first: bool) -> io::Result<()> {
    let mut text = format!("{HOME}{}", if is_first { ERASE } else { "" });
    for line in lines {
        text.push_str(ERASE_LINE);
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(ERASE_BELOW);
    out.write_all(text.as_bytes())?;
    out.flush()
}
