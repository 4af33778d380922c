//! How long the start and look-ups take when the log is large.

mod data_dir;
mod index_file;
mod log_file;
mod numbering;
mod running;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use binrelay::binlog::EventHeader;
use binrelay::identity::Executed;

pub use self::data_dir::{Generator, Size};
use self::numbering::source_file;
pub use self::running::Running;
use self::running::config;
use crate::Options;
use crate::measure::CLIENT_SERVER_ID;
use crate::report::{RELAYS, Report, median};
use crate::support::raw_client::{Dumped, RawClient};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, UNPRIVILEGED_USER};

const GIB: u64 = 1 << 30;
/// Each look-up is repeated so often; the first one is reported by itself.
const REPEATS: usize = 7;
const CLIENT_UUID: &str = "00000000-0000-0000-0000-000000004711";
const BINLOG_DUMP_NON_BLOCK: u16 = 1;

/// Generates a log of so many GiB, and measures with it.
pub fn measure(kind: Kind, gib: u64, options: &Options, report: &mut Report) {
    let size = Size {
        files: gib,
        file_len: GIB,
        transactions: options.transactions_per_file / 2 * 2,
    };
    let base = options.dir.clone().unwrap_or_else(|| "/tmp".into());
    let directory = tempfile::Builder::new()
        .prefix("br-at-size-")
        .tempdir_in(base)
        .expect("a directory");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let began = Instant::now();
    let generator = Generator::new(kind, data.clone(), size);
    generator.write_all();
    report.note(&format!(
        "{kind}: {gib} GiB of log with {} transactions were generated in {:.0} s, in {}",
        size.all_transactions(),
        began.elapsed().as_secs_f64(),
        data.display()
    ));
    for (name, program) in RELAYS.into_iter().zip(options.programs()) {
        let mut at_size = AtSize {
            kind,
            size,
            generator: &generator,
            program,
            directory: directory.path().to_owned(),
            running: None,
        };
        let figures = at_size.measure(options.rounds, report);
        report.add_at_size((kind, name), gib, size.all_transactions(), &figures);
    }
    if options.keep {
        report.note(&format!("the log is in {}", directory.keep().display()));
    }
}

/// One figure of the large log.
pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    /// The first time.
    pub first: f64,
    /// The times after it; with one only, the same.
    pub later: Vec<f64>,
}

struct AtSize<'a> {
    kind: Kind,
    size: Size,
    generator: &'a Generator,
    program: PathBuf,
    directory: PathBuf,
    running: Option<Running>,
}

impl AtSize<'_> {
    fn measure(&mut self, rounds: u32, report: &mut Report) -> Vec<Figure> {
        // The first start generates keys.
        self.start();
        self.stop();
        let mut figures = Vec::new();
        let mut starts = Vec::new();
        for _ in 0..rounds {
            self.generator.restore();
            starts.push(self.start());
            self.stop();
        }
        figures.push(figure(
            "start to serving, newest file of 1 GiB",
            "ms",
            starts,
        ));
        let mut starts = Vec::new();
        for round in 0..rounds {
            starts.push(self.start());
            if round + 1 < rounds {
                self.stop();
            }
        }
        figures.push(figure("start to serving, newest file empty", "ms", starts));
        figures.push(figure(
            "memory after the start",
            "MB",
            vec![self.memory_mb()],
        ));
        for (what, number) in self.places() {
            let times = self.repeat(|at_size| at_size.by_gtid(number));
            figures.push(figure(&format!("dump by GTID, {what}"), "ms", times));
            report.note(&format!("{}: dump by GTID, {what}", self.kind));
        }
        let (file, position) = self.middle();
        let times = self.repeat(|at_size| at_size.by_position(&file, position));
        figures.push(figure("dump by file and position", "ms", times));
        let show = format!("SHOW BINLOG EVENTS IN '{file}' FROM {position} LIMIT 1");
        let times = self.repeat(|at_size| at_size.query(&show));
        figures.push(figure("SHOW BINLOG EVENTS … LIMIT 1", "ms", times));
        if !self.kind.is_mysql() {
            let select = format!("SELECT BINLOG_GTID_POS('{file}', {position})");
            let times = self.repeat(|at_size| at_size.query(&select));
            figures.push(figure("BINLOG_GTID_POS()", "ms", times));
        }
        for (what, arguments) in self.commands() {
            let times = self.repeat(|at_size| at_size.command(&arguments));
            figures.push(figure(what, "ms", times));
            report.note(&format!("{}: {what}", self.kind));
        }
        figures.push(figure("memory after all", "MB", vec![self.memory_mb()]));
        self.stop();
        figures
    }

    /// So many of the log's first transactions the replica has.
    fn places(&self) -> Vec<(&'static str, u64)> {
        let (all, in_file) = (self.size.all_transactions(), self.size.transactions + 1);
        let middle = self.size.files / 2 * in_file;
        vec![
            ("nothing", 0),
            (
                "the first tenth of a file in the middle",
                middle + in_file / 10,
            ),
            (
                "nine tenths of a file in the middle",
                middle + in_file / 10 * 9,
            ),
            ("all but the newest transaction", all - 1),
            ("everything", all),
        ]
    }

    /// Where a transaction ends in a file in the middle.
    fn middle(&self) -> (String, u64) {
        let number = self.size.files / 2 + 1;
        let end = self.generator.end_of(number, self.size.transactions / 4);
        (format!("relay-bin.{number:06}"), end)
    }

    fn commands(&self) -> Vec<(&'static str, Vec<String>)> {
        let in_file = self.size.transactions + 1;
        let held = self.size.files / 2 * in_file + in_file / 4;
        let numbering = self.generator.numbering();
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let gtids = match numbering.before(held) {
            Executed::MySql(set) => set.to_string(),
            Executed::MariaDb(state) => state.position().to_string(),
            Executed::Anonymous => String::new(),
        };
        let (_, end) = self.middle();
        let number = self.size.files / 2 + 1;
        let at = format!("{}:{end}", source_file(number));
        let gtid = numbering.identity(held).to_string();
        let mut commands = vec![
            ("binrelay status", strings(&["status", "--json"])),
            (
                "binrelay position, GTIDs",
                strings(&["position", "m1", &gtids]),
            ),
            (
                "binrelay search --gtid",
                strings(&["search", "--gtid", &gtid]),
            ),
            ("binrelay list", strings(&["list"])),
        ];
        if !self.kind.is_mysql() {
            commands.push((
                "binrelay position, coordinates",
                strings(&["position", "m1", &at]),
            ));
        }
        commands
    }

    fn repeat(&self, mut one: impl FnMut(&Self) -> f64) -> Vec<f64> {
        (0..REPEATS).map(|_| one(self)).collect()
    }

    /// Milliseconds from the start of the program until a client is greeted.
    fn start(&mut self) -> f64 {
        let began = Instant::now();
        let data = self.directory.join("data");
        self.running = Some(Running::start(&self.program, &self.directory, &data));
        began.elapsed().as_secs_f64() * 1e3
    }

    fn stop(&mut self) {
        self.running.take().expect("it is running").stop();
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it is running")
    }

    fn memory_mb(&self) -> f64 {
        self.running().memory_kib("RssAnon:") as f64 / 1024.0
    }

    fn client(&self, user: &str) -> RawClient {
        let mut client = RawClient::connect("127.0.0.1", self.running().port);
        client.set_read_timeout(Duration::from_secs(120));
        client.login(user, REPL_PASSWORD).expect("a login");
        client
    }

    /// From the request of the dump of a replica that has the first `held` transactions, until the first transaction
    /// arrives, or the end.
    fn by_gtid(&self, held: u64) -> f64 {
        let mut client = self.client(REPL_USER);
        let uuid = self.kind.is_mysql().then_some(CLIENT_UUID);
        client
            .prepare_dump(CLIENT_SERVER_ID, uuid)
            .expect("a session for a dump");
        let began = match self.generator.numbering().before(held) {
            Executed::MySql(set) => {
                let mut encoded = Vec::new();
                set.encode(&mut encoded);
                let began = Instant::now();
                client.dump_gtid_set(CLIENT_SERVER_ID, BINLOG_DUMP_NON_BLOCK, &encoded);
                began
            }
            Executed::MariaDb(state) => {
                let position = state.position();
                let set = format!("SET @slave_connect_state='{position}'");
                client.query(&set).expect("a position");
                let began = Instant::now();
                client.dump(CLIENT_SERVER_ID, "", 4, BINLOG_DUMP_NON_BLOCK);
                began
            }
            Executed::Anonymous => panic!("with GTIDs"),
        };
        let found = first_transaction(&mut client);
        let took = began.elapsed().as_secs_f64() * 1e3;
        let expected = held < self.size.all_transactions();
        assert_eq!(found.is_some(), expected, "a transaction after {held}");
        took
    }

    fn by_position(&self, file: &str, position: u64) -> f64 {
        let mut client = self.client(REPL_USER);
        let uuid = self.kind.is_mysql().then_some(CLIENT_UUID);
        client
            .prepare_dump(CLIENT_SERVER_ID, uuid)
            .expect("a session for a dump");
        let began = Instant::now();
        let position = u32::try_from(position).expect("a position below 4 GiB");
        client.dump(CLIENT_SERVER_ID, file, position, BINLOG_DUMP_NON_BLOCK);
        first_transaction(&mut client).expect("a transaction");
        began.elapsed().as_secs_f64() * 1e3
    }

    fn query(&self, sql: &str) -> f64 {
        let mut client = self.client(UNPRIVILEGED_USER);
        let began = Instant::now();
        client
            .query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        began.elapsed().as_secs_f64() * 1e3
    }

    /// With the start of the process.
    fn command(&self, arguments: &[String]) -> f64 {
        let began = Instant::now();
        let output = Command::new(&self.program)
            .args(arguments)
            .arg("--config")
            .arg(config(&self.directory))
            .stdin(Stdio::null())
            .output()
            .expect("binrelay can be run");
        let took = began.elapsed().as_secs_f64() * 1e3;
        let is_answer = matches!(output.status.code(), Some(0 | 3));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(is_answer, "binrelay {arguments:?}: {errors}");
        took
    }
}

fn figure(what: &str, unit: &'static str, mut values: Vec<f64>) -> Figure {
    let first = values[0];
    if values.len() > 1 {
        values.remove(0);
    }
    Figure {
        what: what.to_owned(),
        unit,
        first,
        later: values,
    }
}

impl Figure {
    pub fn median(&self) -> f64 {
        median(&self.later)
    }
}

/// Reads up to the opener of a transaction; `None` if there is none.
fn first_transaction(client: &mut RawClient) -> Option<Vec<u8>> {
    loop {
        match client.next_event() {
            Dumped::Event(event) => {
                let header = EventHeader::parse(&event).expect("an event");
                if header.event_type.is_gtid() {
                    return Some(event);
                }
            }
            Dumped::End => return None,
            other => panic!("{other:?}"),
        }
    }
}
