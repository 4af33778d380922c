//! Real servers as child processes, each with a directory, a socket and a port of its own.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder, Row};
use tempfile::TempDir;

pub use super::kind::Kind;
use super::programs::tools_server;
pub use super::programs::{free_port, get, numbered_files, program, signal, wait_limited};
use super::{Deadline, directories, tail};

/// The account that replicas, and the relay, use on a server.
pub const REPL_USER: &str = "repl";
/// Its password.
pub const REPL_PASSWORD: &str = "repl-secret";
/// An account that may do nothing.
pub const UNPRIVILEGED_USER: &str = "unprivileged";

/// Has a server keep all names in lower case.
pub const FOLD_NAMES: &str = "--lower-case-table-names=1";

/// Makes a data directory with [`FOLD_NAMES`], which MySQL 8 and later take at no other time.
fn initialize(kind: Kind, data: &Path) {
    let output = program(kind, "server")
        .args(["--initialize-insecure", "--disable-log-bin", FOLD_NAMES])
        .arg(format!("--datadir={}", data.display()))
        .output()
        .unwrap_or_else(|error| panic!("{kind} cannot be started: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}: {said}");
}

#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub server_id: u32,
    /// Whether it writes what it replicates into its own binlog.
    pub log_slave_updates: bool,
    /// None is the server's default.
    pub binlog_format: Option<&'static str>,
    /// MySQL: gtid_mode, which 5.6 can have only with `log_bin` and `log_slave_updates`.
    /// MariaDB always has GTIDs.
    pub gtid: bool,
    /// Whether there is a binlog at all.
    pub log_bin: bool,
    /// A source that MySQL 5.5 can follow: 5.6 without checksums and with rows of the first version. The
    /// load's tables are then without the temporal types that 5.5 does not know.
    pub readable_by_55: bool,
    /// A link to the server's program, with its file name, to be started in its place.
    pub program_link: Option<PathBuf>,
    /// The words before its program, with which it runs on another host.
    pub prefix: Vec<String>,
    /// None is a free port of this machine.
    pub port: Option<u16>,
    /// Where its directory is; None is [`directories::base`].
    pub base: Option<PathBuf>,
    pub extra: Vec<String>,
}

impl ServerOptions {
    pub fn new(server_id: u32) -> ServerOptions {
        ServerOptions {
            server_id,
            log_slave_updates: true,
            binlog_format: None,
            gtid: true,
            log_bin: true,
            readable_by_55: false,
            program_link: None,
            prefix: Vec::new(),
            port: None,
            base: None,
            extra: Vec::new(),
        }
    }

    pub fn extra(mut self, option: impl Into<String>) -> ServerOptions {
        self.extra.push(option.into());
        self
    }
}

pub struct Server {
    pub kind: Kind,
    pub options: ServerOptions,
    pub port: u16,
    child: Option<Child>,
    directory: Option<TempDir>,
    path: PathBuf,
}

impl Server {
    /// Starts a fresh server and waits until it answers queries.
    pub async fn start(kind: Kind, options: ServerOptions) -> Server {
        Server::start_prepared(kind, options, |_| {}).await
    }

    /// As `start`, after `prepare` has changed the fresh data directory.
    pub async fn start_prepared(
        kind: Kind,
        options: ServerOptions,
        prepare: impl FnOnce(&Path),
    ) -> Server {
        let base = options.base.clone();
        let base = base.unwrap_or_else(|| directories::base().into());
        let directory = tempfile::Builder::new()
            .prefix("br-")
            .tempdir_in(base)
            .expect("a temporary directory");
        let path = directory.path().to_path_buf();
        let data = path.join("data");
        if kind == Kind::MySql && options.extra.iter().any(|option| option == FOLD_NAMES) {
            initialize(kind, &data);
        } else {
            tools_server(&["init", kind.name(), data.to_str().expect("a UTF-8 path")]);
        }
        prepare(&data);
        std::fs::write(path.join("init.sql"), accounts_sql(kind)).expect("init.sql is written");
        std::fs::create_dir(path.join("tmp")).expect("a directory for temporary tables");
        let port = options.port.unwrap_or_else(free_port);
        let mut server = Server {
            kind,
            options,
            port,
            child: None,
            directory: Some(directory),
            path,
        };
        server.spawn().await;
        server
    }

    fn arguments(&self) -> Vec<String> {
        let at = |name: &str| self.path.join(name).display().to_string();
        let mut arguments = vec![
            format!("--datadir={}", at("data")),
            format!("--socket={}", at("s")),
            format!("--pid-file={}", at("pid")),
            format!("--log-error={}", at("error.log")),
            format!("--init-file={}", at("init.sql")),
            // MariaDB removes temporary tables from it when it starts, also those of other servers.
            format!("--tmpdir={}", at("tmp")),
            format!("--port={}", self.port),
            format!("--server-id={}", self.options.server_id),
            "--skip-name-resolve".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
            "--innodb-flush-log-at-trx-commit=1".to_owned(),
            "--sync-binlog=1".to_owned(),
            "--performance-schema=OFF".to_owned(),
            "--relay-log=relay".to_owned(),
            "--relay-log-recovery=ON".to_owned(),
        ];
        if let Some(format) = self.options.binlog_format {
            arguments.push(format!("--binlog-format={format}"));
        }
        if self.kind == Kind::MySql {
            // Its I/O thread reads host and user from there.
            arguments.retain(|word| word != "--performance-schema=OFF");
        }
        arguments.extend(own_arguments(self.kind).iter().map(|&word| word.to_owned()));
        if self.kind.is_mysql() && self.kind.has_gtids() {
            let mode = if self.options.gtid { "ON" } else { "OFF" };
            arguments.push(format!("--gtid-mode={mode}"));
            arguments.push(format!("--enforce-gtid-consistency={mode}"));
        }
        if self.options.readable_by_55 {
            arguments.push("--binlog-checksum=NONE".to_owned());
            arguments.push("--log-bin-use-v1-row-events=1".to_owned());
        }
        if self.options.log_bin {
            arguments.push("--log-bin=mysql-bin".to_owned());
            let updates = match self.kind.says_replica() {
                false => "log-slave-updates",
                true => "log-replica-updates",
            };
            arguments.push(format!(
                "--{updates}={}",
                u8::from(self.options.log_slave_updates)
            ));
        } else {
            arguments.push("--skip-log-bin".to_owned());
        }
        arguments.extend(self.options.extra.iter().cloned());
        arguments
    }

    fn program(&self) -> Command {
        let found = program(self.kind, "server");
        if let Some((first, others)) = self.options.prefix.split_first() {
            let mut command = Command::new(first);
            command.args(others).arg(found.get_program());
            command.args(found.get_args());
            return command;
        }
        let Some(link) = &self.options.program_link else {
            return found;
        };
        let linked = |word| match Path::new(word).file_name() == link.file_name() {
            true => link.as_os_str(),
            false => word,
        };
        let mut command = Command::new(linked(found.get_program()));
        command.args(found.get_args().map(linked));
        command
    }

    async fn spawn(&mut self) {
        if let Err(error) = self.try_spawn().await {
            panic!("{error}");
        }
    }

    /// Starts the process and waits until it answers; returns the reason when it stops, for example
    /// because of options that it refuses.
    pub async fn try_spawn(&mut self) -> Result<(), String> {
        let child = self
            .program()
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.kind));
        self.child = Some(child);
        let deadline = Deadline::after_secs(90);
        loop {
            if Conn::new(self.opts()).await.is_ok() {
                return Ok(());
            }
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("the server can be waited for") {
                self.child = None;
                return Err(format!(
                    "{self}: stopped at its start: {status}\n{}",
                    self.error_log_tail()
                ));
            }
            assert!(
                !deadline.passed(),
                "{self}: no answer in 90 s\n{}",
                self.error_log_tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Options of a connection with all privileges.
    pub fn opts(&self) -> Opts {
        OptsBuilder::default()
            .socket(Some(self.path.join("s").display().to_string()))
            .user(Some("root"))
            .prefer_socket(false)
            .into()
    }

    /// A connection with all privileges.
    pub async fn connect(&self) -> Conn {
        Conn::new(self.opts())
            .await
            .unwrap_or_else(|error| panic!("{self}: connect: {error}"))
    }

    /// Runs statements separated by `;`.
    pub async fn sql(&self, statements: &str) {
        let mut conn = self.connect().await;
        if let Err(error) = conn.query_drop(statements).await {
            panic!("{self}: {statements}: {error}");
        }
        conn.disconnect().await.ok();
    }

    /// All rows of a query.
    pub async fn rows<T: FromRow + Send + 'static>(&self, query: &str) -> Vec<T> {
        let mut conn = self.connect().await;
        let rows = conn.query(query).await;
        let rows = rows.unwrap_or_else(|error| panic!("{self}: {query}: {error}"));
        conn.disconnect().await.ok();
        rows
    }

    /// The first column of the first row as text.
    pub async fn value(&self, query: &str) -> Option<String> {
        let rows: Vec<Row> = self.rows(query).await;
        rows.first()?.get::<Option<String>, usize>(0)?
    }

    /// The type of the load's column for the time, and the function that fills it.
    pub fn clock(&self) -> (&'static str, &'static str) {
        match (self.kind, self.options.readable_by_55) {
            (Kind::MySql55, _) => ("DATETIME", "NOW()"),
            (_, true) => ("VARCHAR(26)", "NOW()"),
            _ => ("DATETIME(6)", "NOW(6)"),
        }
    }

    /// What the account `repl` connects with; its port on 127.0.0.1 is `self.port`.
    pub fn repl_opts(&self) -> Opts {
        OptsBuilder::from_opts(self.opts())
            .user(Some(REPL_USER))
            .pass(Some(REPL_PASSWORD))
            .into()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Its binlog files, oldest first.
    pub fn log_files(&self) -> Vec<PathBuf> {
        numbered_files(&self.data_dir(), "mysql-bin")
    }

    /// Leaves its data where they are when it ends.
    pub fn keep(&mut self) -> &Path {
        if let Some(directory) = self.directory.take() {
            let _ = directory.keep();
        }
        &self.path
    }

    pub fn error_log(&self) -> String {
        let bytes = std::fs::read(self.path.join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn error_log_tail(&self) -> String {
        tail(&self.path.join("error.log"), 25)
    }

    /// SIGKILL, as a power cut does it to the process.
    pub fn kill9(&mut self) {
        let mut child = self
            .child
            .take()
            .unwrap_or_else(|| panic!("{self}: is not running"));
        signal(&child, rustix::process::Signal::KILL);
        child.wait().expect("the server can be waited for");
    }

    /// SIGSTOP: it does nothing any more, and its connections stay open.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, which: rustix::process::Signal) {
        let child = self.child.as_ref();
        signal(
            child.unwrap_or_else(|| panic!("{self}: is not running")),
            which,
        );
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) {
        if self.kind == Kind::MySql {
            self.disconnect_replicas();
        }
        let child = self
            .child
            .take()
            .unwrap_or_else(|| panic!("{self}: is not running"));
        signal(&child, rustix::process::Signal::TERM);
        let status = wait_limited(child, Duration::from_secs(60));
        assert!(
            status.success(),
            "{self}: {status}\n{}",
            self.error_log_tail()
        );
    }

    /// MySQL 9.7 that is told to stop while replicas are attached does so after ten seconds, for eight of which it
    /// keeps a processor busy (seen).
    fn disconnect_replicas(&self) {
        let output = program(self.kind, "client")
            .arg(format!("--socket={}", self.path.join("s").display()))
            .args(["--user=root", "--execute=SET GLOBAL offline_mode=ON"])
            .output()
            .unwrap_or_else(|error| panic!("{self}: the client cannot be started: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self}: {said}");
    }

    /// Starts it again after `kill9` or `terminate`: same port, same data.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "{self}: is still running");
        self.spawn().await;
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with server_id {} at port {}",
            self.kind, self.options.server_id, self.port
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, rustix::process::Signal::KILL);
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- {self}, kept in {}:\n{}",
                self.path.display(),
                self.error_log_tail()
            );
            if let Some(directory) = self.directory.take() {
                let _ = directory.keep();
            }
        }
    }
}

/// Options that only one kind needs.
fn own_arguments(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::MariaDb105 | Kind::MariaDb | Kind::MariaDb118 => &["--innodb-log-file-size=48M"],
        Kind::MySql55 => &["--log-warnings=2", "--log-bin-trust-function-creators=1"],
        // Its position as a replica must survive SIGKILL; later versions ensure that by default.
        Kind::MySql56 | Kind::MySql57 => &[
            "--innodb-log-file-size=48M",
            "--master-info-repository=TABLE",
            "--relay-log-info-repository=TABLE",
            "--log-warnings=2",
            "--log-bin-trust-function-creators=1",
        ],
        // Without what is not used here, it starts in two thirds of the time, with half of the memory.
        Kind::MySql => &[
            "--innodb-redo-log-capacity=64M",
            "--innodb-log-buffer-size=4M",
            "--log-error-verbosity=3",
            "--mysqlx=OFF",
            "--performance-schema-digests-size=0",
            "--performance-schema-error-size=0",
            "--performance-schema-events-stages-history-long-size=0",
            "--performance-schema-events-statements-history-long-size=0",
            "--performance-schema-events-transactions-history-long-size=0",
            "--performance-schema-events-waits-history-long-size=0",
            "--performance-schema-max-digest-length=0",
            "--performance-schema-max-sql-text-length=0",
        ],
    }
}

/// Accounts, created at each start without being logged; one statement a line, as an init file requires.
fn accounts_sql(kind: Kind) -> String {
    let privileges = match kind.is_mariadb() {
        true => "REPLICATION SLAVE, BINLOG MONITOR, REPLICA MONITOR",
        false => "REPLICATION SLAVE, REPLICATION CLIENT",
    };
    let mut lines = vec!["SET SESSION sql_log_bin=0;".to_owned()];
    for host in ["%", "localhost"] {
        if kind.is_before_57() {
            // It does not have CREATE USER IF NOT EXISTS; its GRANT creates the account.
            for (user, granted) in [(REPL_USER, privileges), (UNPRIVILEGED_USER, "USAGE")] {
                lines.push(format!(
                    "GRANT {granted} ON *.* TO {user}@'{host}' IDENTIFIED BY '{REPL_PASSWORD}';"
                ));
            }
            continue;
        }
        lines.push(format!(
            "CREATE USER IF NOT EXISTS {REPL_USER}@'{host}' IDENTIFIED BY '{REPL_PASSWORD}';"
        ));
        lines.push(format!(
            "GRANT {privileges} ON *.* TO {REPL_USER}@'{host}';"
        ));
        lines.push(format!(
            "CREATE USER IF NOT EXISTS {UNPRIVILEGED_USER}@'{host}' IDENTIFIED BY '{REPL_PASSWORD}';"
        ));
    }
    lines.join("\n") + "\n"
}
