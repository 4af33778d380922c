//! Runs the suites with their own runner, and keeps the binlogs that server 1 writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

/// Each run of a test: its name as `suite.name`, and the runner's result, such as `mix: pass`.
pub type Runs = BTreeMap<String, Vec<String>>;

/// How often the servers' directory is looked at. A file that was there for less than this is missed.
const POLL: Duration = Duration::from_millis(15);

pub struct Collector {
    suites: PathBuf,
    work: PathBuf,
    arguments: Vec<String>,
    /// The inodes of files that are kept already: a name comes again after `RESET MASTER`.
    seen: BTreeSet<u64>,
    /// The inode of the server's data directory: another one belongs to a fresh server.
    data_inode: u64,
    segment: Option<Growing>,
    segments: usize,
}

/// The segment that is being collected.
struct Growing {
    directory: PathBuf,
    histories: usize,
    /// The newest file of the newest history.
    last_file: String,
    last_size: u64,
    tests: BTreeSet<String>,
}

impl Collector {
    pub fn new(suites: PathBuf, work: PathBuf, arguments: Vec<String>) -> Collector {
        Collector {
            suites,
            work,
            arguments,
            seen: BTreeSet::new(),
            data_inode: 0,
            segment: None,
            segments: 0,
        }
    }

    /// Runs the suites to their end. Sends the directory of each segment when it is whole.
    pub fn run(mut self, sender: &UnboundedSender<PathBuf>) -> Runs {
        let mut runner = self.start_runner();
        loop {
            let ended = runner.try_wait().expect("the runner can be waited for");
            self.look(sender);
            if let Some(status) = ended {
                eprintln!("the suites' runner: {status}");
                break;
            }
            std::thread::sleep(POLL);
        }
        self.end_segment(sender);
        runs_in(&self.work.join("runner.log"))
    }

    fn var(&self) -> PathBuf {
        self.work.join("var")
    }

    fn start_runner(&self) -> Child {
        let log = File::create(self.work.join("runner.log")).expect("runner.log is made");
        let also = log.try_clone().expect("runner.log has a second handle");
        Command::new("perl")
            .arg("mariadb-test-run.pl")
            .arg(format!("--vardir={}", self.var().display()))
            .args(["--force", "--max-test-fail=0", "--retry=1", "--nowarnings"])
            .args(["--testcase-timeout=3", "--suite-timeout=600"])
            .args(&self.arguments)
            // Ports from 32050 on (30 times this and 10000): apart from those that are chosen for the replays, and
            // below those of outgoing connections.
            .env(
                "MTR_BUILD_THREAD",
                (735 + std::process::id() % 22).to_string(),
            )
            .current_dir(self.suites.join("usr/share/mysql/mysql-test"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            .spawn()
            .expect("perl can be started")
    }

    fn look(&mut self, sender: &UnboundedSender<PathBuf>) {
        let test = std::fs::read_to_string(self.var().join("log/current_test"));
        let test = test.unwrap_or_default();
        let test = test
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("CURRENT_TEST: "));
        let data = self.var().join("mysqld.1/data");
        let Ok(metadata) = std::fs::metadata(&data) else {
            return;
        };
        let files = binlog_files(&data);
        if metadata.ino() != self.data_inode && !files.is_empty() {
            self.end_segment(sender);
            self.data_inode = metadata.ino();
            self.begin_segment();
        }
        let Some(segment) = &mut self.segment else {
            return;
        };
        for (name, inode) in files {
            if self.seen.insert(inode) {
                segment.keep(&data, &name);
            }
        }
        segment.note_growth(test);
    }

    fn begin_segment(&mut self) {
        let template = self.work.join("template");
        if !template.exists() {
            // What the runner begins each server with.
            let install = self.var().join("install.db");
            let copied = Command::new("cp")
                .arg("-a")
                .args([&install, &template])
                .status();
            assert!(
                copied.expect("cp can be run").success(),
                "the template is copied"
            );
        }
        self.segments += 1;
        self.segment = Some(Growing {
            directory: self.work.join(format!("collection/{:04}", self.segments)),
            histories: 0,
            last_file: String::new(),
            last_size: 0,
            tests: BTreeSet::new(),
        });
    }

    fn end_segment(&mut self, sender: &UnboundedSender<PathBuf>) {
        if let Some(segment) = self.segment.take().filter(|segment| segment.histories > 0) {
            segment.write_tests();
            sender.send(segment.directory).ok();
        }
    }
}

impl Growing {
    fn history(&self) -> PathBuf {
        self.directory.join(format!("{:03}", self.histories))
    }

    fn keep(&mut self, data: &Path, name: &str) {
        let base = |name: &str| name.rsplit_once('.').map(|(base, _)| base.to_owned());
        let follows = base(name) == base(&self.last_file) && name > self.last_file.as_str();
        if self.histories == 0 || !follows {
            if self.histories > 0 {
                self.write_tests();
            }
            self.histories += 1;
            self.tests.clear();
            std::fs::create_dir_all(self.history()).expect("a directory for a history");
        }
        // A second name for the same file: it grows with it, and stays when the server deletes its own. The file may be gone
        // already.
        if std::fs::hard_link(data.join(name), self.history().join(name)).is_ok() {
            self.last_file = name.to_owned();
            self.last_size = 0;
        }
    }

    fn note_growth(&mut self, test: Option<&str>) {
        let size =
            std::fs::metadata(self.history().join(&self.last_file)).map_or(0, |file| file.len());
        if size > self.last_size {
            self.last_size = size;
            self.tests.extend(test.map(str::to_owned));
        }
    }

    fn write_tests(&self) {
        let tests: Vec<&str> = self.tests.iter().map(String::as_str).collect();
        std::fs::write(self.history().join("tests"), tests.join("\n"))
            .expect("the tests' names are written");
    }
}

/// Binlog files and their inodes, in the order of their numbers.
fn binlog_files(data: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(data) else {
        return Vec::new();
    };
    let mut found: Vec<(String, u64)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let (base, number) = name.rsplit_once('.')?;
            let digits = number.len() == 6 && number.bytes().all(|byte| byte.is_ascii_digit());
            let wanted = digits && !base.contains("relay");
            let inode = wanted.then(|| entry.metadata()).and_then(Result::ok)?.ino();
            Some((name, inode))
        })
        .collect();
    found.sort();
    found
}

/// Reads lines such as `rpl.rpl_insert 'mix'   [ pass ]  13340`.
pub fn runs_in(log: &Path) -> Runs {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let mut runs = Runs::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once("[ ") else {
            continue;
        };
        let Some((outcome, comment)) = right.split_once(" ]") else {
            continue;
        };
        let mut words = left.split_whitespace();
        let Some(name) = words.next().filter(|word| word.contains('.')) else {
            continue;
        };
        let combination = words.next().unwrap_or("-").trim_matches('\'');
        let comment = match outcome {
            "skipped" | "disabled" => comment.trim(),
            _ => "",
        };
        let run = format!("{combination}: {outcome} {comment}")
            .trim()
            .to_owned();
        runs.entry(name.to_owned()).or_default().push(run);
    }
    runs
}
