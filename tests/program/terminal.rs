//! `binrelay status` in terminals of different sizes: pseudo-terminals, of which the screen is followed.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::old_servers::{CHAINS_57, REPLICA_ID, options_of};
use crate::standin::source::SourceStandin;
use crate::support::Deadline;
use crate::support::relay::{Relay, SourceOptions};
use crate::support::servers::{REPL_PASSWORD, free_port};

/// A program in a terminal.
struct Terminal {
    child: Child,
    /// What it prints.
    output: File,
    bytes: Vec<u8>,
    columns: u16,
    rows: u16,
}

impl Terminal {
    fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("it is this user's");
        unlockpt(&master).expect("it can be opened");
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("it has a size");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let path = name.to_str().expect("UTF-8");
        let side = File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("it opens");
        let child = command
            .stdin(Stdio::null())
            .stdout(side.try_clone().expect("it is shared"))
            .stderr(side)
            .process_group(0)
            .spawn()
            .expect("binrelay starts");
        // The command holds the terminal's other side; without it, the end of the output is seen.
        drop(command);
        Terminal {
            child,
            output: File::from(master),
            bytes: Vec::new(),
            columns,
            rows,
        }
    }

    /// Reads more; false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // At its end a terminal fails with EIO.
        let count = self.output.read(&mut buffer).unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..count]);
        count > 0
    }

    fn screen(&self) -> Screen {
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&self.bytes[..error.valid_up_to()]).unwrap(),
        };
        Screen::after(whole, self.columns.into(), self.rows.into())
    }

    /// The screen once it holds.
    fn wait(&mut self, what: &str, holds: impl Fn(&Screen) -> bool) -> Screen {
        let deadline = Deadline::after_secs(60);
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            let text = screen.text();
            assert!(!deadline.passed(), "{what}: not in 60 s:\n{text}");
            assert!(self.read(), "{what}: it has ended:\n{text}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What is to be seen.
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    columns: usize,
    /// How often it was drawn from its first line.
    drawn: usize,
}

impl Screen {
    /// Fails if a line is longer than the terminal is wide, or if there are more lines than it has.
    fn after(text: &str, columns: usize, rows: usize) -> Screen {
        let mut screen = Screen {
            lines: vec![vec![' '; columns]; rows],
            row: 0,
            column: 0,
            columns,
            drawn: 0,
        };
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\x1b' => {
                    let mut sequence = String::new();
                    for c in rest.by_ref() {
                        sequence.push(c);
                        if c.is_alphabetic() {
                            screen.control(&sequence);
                            break;
                        }
                    }
                }
                '\r' => screen.column = 0,
                '\n' => screen.row += 1,
                c => screen.put(c),
            }
        }
        screen
    }

    fn control(&mut self, sequence: &str) {
        let (row, column) = (self.row, self.column);
        match sequence {
            "[H" => {
                (self.row, self.column) = (0, 0);
                self.drawn += 1;
            }
            "[2J" => self.lines.iter_mut().for_each(|line| line.fill(' ')),
            "[J" => {
                self.lines[row][column..].fill(' ');
                let below = self.lines.iter_mut().skip(row + 1);
                below.for_each(|line| line.fill(' '));
            }
            "[K" => self.lines[row][column..].fill(' '),
            other => panic!("a sequence that is not known here: {other}"),
        }
    }

    fn put(&mut self, c: char) {
        let (row, column) = (self.row, self.column);
        assert!(
            column < self.columns,
            "longer than {}:\n{}",
            self.columns,
            self.text()
        );
        assert!(
            row < self.lines.len(),
            "more lines than {}:\n{}",
            self.lines.len(),
            self.text()
        );
        self.lines[row][column] = c;
        self.column += 1;
    }

    fn text(&self) -> String {
        let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned();
        let lines: Vec<String> = self.lines.iter().map(line).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

fn status(relay: &Relay, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_binrelay"));
    command.args(["status", "--config"]).arg(relay.config());
    command.args(more);
    command
}

/// With the second drawing there are rates, and with the third they are of two seconds.
fn watched(relay: &Relay, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::start(status(relay, &["--watch"]), columns, rows);
    let what = format!("{columns} x {rows}");
    // The beginning of the next drawing: this one is whole.
    terminal.wait(&what, |screen| screen.drawn > 3).text()
}

/// A relay of a source that streams and one that cannot be reached, with a replica.
#[test]
fn status_fits_the_terminal() {
    let chain = CHAINS_57[1];
    let source = SourceStandin::start(chain.recorded(), REPL_PASSWORD);
    let mut options = options_of(&[&source]);
    options.sources.push(SourceOptions::at("m2", free_port()));
    let mut relay = Relay::start(options);
    let deadline = Deadline::after_secs(30);
    while relay.status()["sources"][0]["state"] != "streaming" {
        assert!(!deadline.passed(), "{:#}", relay.status());
    }
    let mut replica = chain.replica(&relay);
    let following = std::thread::spawn(move || replica.follow(|_| false));
    while relay.status()["replicas"][0]["state"] != "streaming" {
        assert!(!deadline.passed(), "{:#}", relay.status());
    }
    let (narrow, wide) = std::thread::scope(|scope| {
        let narrow = scope.spawn(|| watched(&relay, 80, 24));
        let wide = scope.spawn(|| watched(&relay, 132, 50));
        (narrow.join().unwrap(), wide.join().unwrap())
    });
    for text in [&narrow, &wide] {
        let columns = [
            "source",
            "durable up to",
            "behind",
            "trx/s",
            "bytes/s",
            "last 3 min",
            "replica",
        ];
        let id = REPLICA_ID.to_string();
        for expected in columns
            .into_iter()
            .chain(["m1", "m2", "streaming", "connecting", "▁", &id])
        {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
        assert!(text.contains("degraded  source m2 is connecting"), "{text}");
        assert!(text.contains("m2: 127.0.0.1:"), "its error:\n{text}");
    }
    for column in ["address", "kept", "duplicate", "unsent"] {
        assert!(wide.contains(column), "{column}:\n{wide}");
    }
    for column in ["duplicate", "unsent"] {
        assert!(!narrow.contains(column), "{column}:\n{narrow}");
    }
    // The lines of a terminal that scrolls.
    let mut terminal = Terminal::start(status(&relay, &[]), 80, 200);
    while terminal.read() {}
    let text = terminal.screen().text();
    assert!(text.contains("m1: address 127.0.0.1:"), "{text}");
    let code = terminal.child.wait().expect("it has ended").code();
    assert_eq!(code, Some(3), "{text}");
    relay.terminate();
    following.join().expect("the replica");
}

/// `--watch` continues while the relay is restarted.
#[test]
fn watch_outlives_the_relay() {
    let mut relay = Relay::start(crate::support::relay::RelayOptions::new(vec![
        SourceOptions::at("m1", free_port()),
    ]));
    let mut terminal = Terminal::start(status(&relay, &["--watch"]), 80, 24);
    terminal.wait("it is watched", |screen| screen.text().contains("source"));
    relay.terminate();
    let is_gone = |screen: &Screen| {
        let text = screen.text();
        text.contains("trying again") && !text.contains("trx/s")
    };
    terminal.wait("it is gone", is_gone);
    relay.restart();
    terminal.wait("it is back", |screen| screen.text().contains("trx/s"));
    relay.terminate();
}
