//! The competitors, one run each a round.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Options;
use crate::report::{Figures, Report};
use crate::source::Source;
use crate::support::Deadline;
use crate::support::raw_client::RawClient;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, program};

/// No run takes longer, in seconds.
pub const RUN_SECS_MAX: u64 = 600;
/// The server_id of the client that reads logs.
pub const CLIENT_SERVER_ID: u32 = 4711;
const CLIENT_UUID: &str = "00000000-0000-0000-0000-000000004711";
/// The server ends the dump at the end of its log.
const BINLOG_DUMP_NON_BLOCK: u16 = 1;

/// Everything that is measured against one source.
pub struct Competitors<'a> {
    pub source: &'a Source,
    pub options: &'a Options,
}

impl Competitors<'_> {
    /// Intake and serving, in that order.
    pub async fn measure(&self, report: &mut Report) -> [Figures; 2] {
        let programs = self.options.programs();
        let keys = KeyPair::generate(&programs[0], &[self.source]).await;
        let mut intake = Figures::new("intake", self.binlog_tool(), programs.len());
        let mut serving = Figures::new("serving", "the source", programs.len());
        for round in 0..self.options.rounds {
            intake.reference.push(self.time_binlog_tool().await);
            serving.reference.push(
                discard_log(
                    self.source.server.port,
                    &self.source.files[0].0,
                    self.source.server.kind,
                )
                .await,
            );
            // Every other round in the other order, so that none is always measured first.
            let mut order: Vec<usize> = (0..programs.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let run = self.time_relay(&programs[index], &keys).await;
                intake.cpu_seconds[index].push(run.intake_cpu);
                serving.cpu_seconds[index].push(run.serving_cpu);
                intake.relays[index].push(run.intake);
                serving.relays[index].push(run.serving);
                intake.peak_kib[index] = intake.peak_kib[index].max(run.peak_kib);
            }
            report.note(&format!("round {}: {intake}; {serving}", round + 1));
        }
        [intake, serving]
    }

    fn binlog_tool(&self) -> &'static str {
        match self.source.server.kind.is_mariadb() {
            true => "mariadb-binlog --raw",
            false => "mysqlbinlog --raw",
        }
    }

    /// The seconds that the server's own tool takes to copy every binlog file.
    async fn time_binlog_tool(&self) -> f64 {
        let server = &self.source.server;
        let directory = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
        let errors = directory.path().join("errors");
        let tls: &[&str] = match (self.options.tls, server.kind) {
            (true, _) => &[],
            // Without TLS its logins need the server's RSA key.
            (false, kind) if kind.is_mysql() => &["--ssl-mode=DISABLED", "--get-server-public-key"],
            (false, _) => &["--skip-ssl"],
        };
        // `tools/server` is asked for the command before the clock starts.
        let mut command = program(server.kind, "binlog");
        command
            .args(tls)
            .args([
                "--raw",
                "--read-from-remote-server",
                "--to-last-log",
                "--host=127.0.0.1",
            ])
            .arg(format!("--port={}", server.port))
            .arg(format!("--user={REPL_USER}"))
            .arg(format!("--password={REPL_PASSWORD}"))
            .arg(format!(
                "--result-file={}/copy-",
                directory.path().display()
            ))
            .arg(&self.source.files[0].0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&errors).expect("a file for errors"));
        let began = Instant::now();
        let mut child = command.spawn().expect("the binlog tool can be started");
        let status = loop {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let took = began.elapsed().as_secs_f64();
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        assert!(status.success(), "{}: {status}\n{said}", self.binlog_tool());
        let copied = copied_bytes(directory.path());
        assert_eq!(
            copied,
            self.source.bytes(),
            "bytes that {} copied",
            self.binlog_tool()
        );
        took
    }

    /// The seconds until a fresh relay has everything, and until a client has read its log.
    async fn time_relay(&self, program: &Path, keys: &KeyPair) -> RelayRun {
        let mut options = self.relay_options(program);
        options.data_files = keys.files();
        let (file, position) = self.source.end();
        let deadline = Deadline::after_secs(RUN_SECS_MAX);
        let began = Instant::now();
        let mut relay = Relay::start(options);
        let status = loop {
            let status = relay.status();
            let source = &status["sources"][0];
            if source["file"] == file.as_str() && source["position"] == *position {
                break status;
            }
            relay.assert_running();
            assert!(
                !deadline.passed(),
                "not everything in {RUN_SECS_MAX} s: {status:#}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let intake = began.elapsed().as_secs_f64();
        let intake_cpu = relay.cpu_seconds();
        let executed = status["relay"]["gtid_executed"]
            .as_str()
            .unwrap_or_default();
        let executed: String = executed.split_whitespace().collect();
        if !self.source.gtid_executed.is_empty() {
            assert_eq!(
                executed, self.source.gtid_executed,
                "the relay's gtid_executed"
            );
        }
        let serving = discard_log(relay.port, "relay-bin.000001", self.source.server.kind).await;
        let serving_cpu = relay.cpu_seconds() - intake_cpu;
        let peak_kib = relay.rss_peak_kib();
        if self.options.keep {
            eprintln!("the relay's data are in {}", relay.keep().display());
        }
        relay.terminate();
        RelayRun {
            intake,
            serving,
            intake_cpu,
            serving_cpu,
            peak_kib,
        }
    }

    fn relay_options(&self, program: &Path) -> RelayOptions {
        let mut source = SourceOptions::of("m1", &self.source.server);
        let mode = if self.options.tls {
            "required"
        } else {
            "disabled"
        };
        source.extra.push(format!("tls = {{ mode = \"{mode}\" }}"));
        source.start = Some("earliest".to_owned());
        let mut options = RelayOptions::new(vec![source]);
        options.program = program.to_path_buf();
        options.replicate_do_db.clear();
        options
    }
}

/// The RSA key pair of every relay that is measured. A relay generates its own on its first start, which takes a
/// random time, up to more than the intake of little data.
pub struct KeyPair {
    relay: Relay,
}

impl KeyPair {
    /// Lets a relay of `program` generate it. It logs in to the sources with TLS, after which a MySQL source knows the
    /// account's password and lets it log in without TLS.
    pub async fn generate(program: &Path, sources: &[&Source]) -> KeyPair {
        let named = sources.iter().zip(["m1", "m2"]);
        let mut options = RelayOptions::new(
            named
                .map(|(source, name)| SourceOptions::of(name, &source.server))
                .collect(),
        );
        options.program = program.to_path_buf();
        let mut relay = Relay::start(options);
        relay.wait_streaming().await;
        // It is generated in the background, and the private key is written last.
        let deadline = Deadline::after_secs(60);
        while !relay.data_dir().join("private_key.pem").exists() {
            assert!(!deadline.passed(), "no key pair: {}", relay.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        relay.terminate();
        KeyPair { relay }
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let data_dir = self.relay.data_dir();
        ["private_key.pem", "public_key.pem"]
            .map(|name| data_dir.join(name))
            .to_vec()
    }
}

struct RelayRun {
    intake: f64,
    serving: f64,
    /// Processor time, in seconds.
    intake_cpu: f64,
    serving_cpu: f64,
    peak_kib: u64,
}

fn copied_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("the copies can be listed");
    let entries = entries.map(|entry| entry.expect("a directory entry"));
    let copies = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("copy-"));
    copies
        .map(|entry| entry.metadata().expect("a file's size").len())
        .sum()
}

/// The seconds that a client takes to read a whole log, from its dump command to the end, and to discard it.
async fn discard_log(port: u16, first_file: &str, kind: Kind) -> f64 {
    let first_file = first_file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut client = RawClient::connect("127.0.0.1", port);
        client.set_read_timeout(Duration::from_secs(60));
        client.login(REPL_USER, REPL_PASSWORD).expect("a login");
        let uuid = kind.is_mysql().then_some(CLIENT_UUID);
        client
            .prepare_dump(CLIENT_SERVER_ID, uuid)
            .expect("a session for a dump");
        let began = Instant::now();
        client.dump(CLIENT_SERVER_ID, &first_file, 4, BINLOG_DUMP_NON_BLOCK);
        let (packets, _) = client.discard_dump().expect("a whole log");
        assert!(packets > 2, "{packets} packets");
        began.elapsed().as_secs_f64()
    });
    read.await.expect("the log is read")
}
