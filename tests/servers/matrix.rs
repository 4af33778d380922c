//! Every kind of source with every kind of replica that can follow it and the relay between them; a
//! master and the relay are killed under load. A pair fails only where a replica attached to the
//! master itself works.
//!
//! All of it, about a quarter of an hour; the table at the end is the result:
//!
//! ```text
//! tools/server get mariadb-10.5 mariadb-10.11 mariadb-11.8 mysql-5.6 mysql-9.7
//! BINRELAY_PROFILE=long tools/test --test servers matrix
//! ```
//!
//! In the gate's profile each kind is a source and a replica once. BINRELAY_MATRIX="mysql-5.6 dual" runs
//! what has these words in its name, BINRELAY_MATRIX=full everything. MySQL 5.5 and 5.7 take part
//! where BINRELAY_SERVER_MYSQL_5_5 and BINRELAY_SERVER_MYSQL_5_7 name a server; the last line says how
//! much was left out without them.

mod runs;

use std::sync::Arc;

use crate::support;
use crate::support::load::{Load, LoadOptions, LoadReport, assert_acknowledged, create_tables};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    attach, dual_masters, has_mark, kill_replicating, replica_status, resume_from_peer,
    retry_each_second, settle, wait_for_table, write_mark,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::{assert_no_database, assert_same_rows, assert_same_tables};
use crate::support::topology::{
    Mode, gtid_executed, master_options, pause, replica_options, run_for,
};
use crate::support::{Deadline, Profile};
use runs::{Outcome, Run, full, reduced, remove_missing};
use tokio::task::JoinHandle;

use Kind::{MariaDb118, MySql};
use Mode::{MariaDbFilePosition, MariaDbSlavePos};

/// How long replicas may take to receive everything, in seconds.
const ARRIVAL_SECS: u64 = 60;

/// A run in progress.
struct World {
    run: Run,
    m1: Server,
    m2: Option<Server>,
    relay: Relay,
    behind: Vec<Server>,
    direct: Vec<Server>,
    reports: Vec<LoadReport>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_follows_every_source() {
    let _turn = support::turn();
    let (runs, left_out) = chosen_runs();
    assert!(!runs.is_empty(), "BINRELAY_MATRIX chooses nothing");
    let mut lines = Vec::new();
    for run in runs {
        let started = std::time::Instant::now();
        for (replica, outcome) in outcomes(&run).await {
            lines.push((format!("{run} -> {replica}"), outcome));
            let (name, outcome) = lines.last().expect("just pushed");
            println!("{name}: {outcome}");
        }
        println!("  {run} took {:.0} s", started.elapsed().as_secs_f32());
    }
    println!("\n| source, setup, mode -> replica | result |\n|---|---|");
    for (name, outcome) in &lines {
        println!("| {name} | {outcome} |");
    }
    let missing = Kind::ALL.iter().filter_map(|kind| kind.missing_variable());
    let missing: Vec<&str> = missing.collect();
    if !missing.is_empty() {
        println!(
            "{left_out} pairs were left out, without {}",
            missing.join(" and ")
        );
    }
    let failed = lines
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:#?}",
        failed.len(),
        lines.len()
    );
}

/// What BINRELAY_MATRIX and the profile choose, and how many pairs are missing in it for lack of a
/// server. Those that are asked for by name must not be missing.
fn chosen_runs() -> (Vec<Run>, usize) {
    let mut runs = match std::env::var("BINRELAY_MATRIX").as_deref() {
        Err(_) if support::profile() == Profile::Gate => reduced(),
        Err(_) | Ok("full") => full(),
        Ok(words) => {
            for kind in Kind::ALL {
                if let Some(variable) = kind.missing_variable() {
                    let named = words.split(' ').any(|word| word == kind.name());
                    assert!(
                        !named,
                        "BINRELAY_MATRIX={words}: set {variable} to the base directory of a \
                         {kind} server; see tests/README.md"
                    );
                }
            }
            let mut runs = full();
            runs.retain(|run| words.split(' ').all(|word| run.to_string().contains(word)));
            runs
        }
    };
    let left_out = remove_missing(&mut runs);
    (runs, left_out)
}

/// Each replica's outcome.
async fn outcomes(run: &Run) -> Vec<(Kind, Outcome)> {
    let everywhere = |why: String| {
        let replicas = run.replicas.iter();
        replicas
            .map(|kind| (*kind, Outcome::Failed(why.clone())))
            .collect()
    };
    let world = match ended(tokio::spawn(World::play(run.clone()))).await {
        Ok(world) => world,
        Err(why) => return everywhere(why),
    };
    let mark = write_mark(&world.masters()).await;
    let world = Arc::new(world);
    if let Err(why) = ended(tokio::spawn(Arc::clone(&world).wait_for_masters(mark))).await {
        return everywhere(why);
    }
    let check = |relayed, index| tokio::spawn(Arc::clone(&world).check(relayed, index, mark));
    let count = run.replicas.len();
    let direct: Vec<_> = (0..world.direct.len()).map(|i| check(false, i)).collect();
    let relayed: Vec<_> = (0..count).map(|i| check(true, i)).collect();
    let mut found = Vec::new();
    let mut of_direct = Vec::new();
    for task in direct {
        of_direct.push(ended(task).await);
    }
    for (index, task) in relayed.into_iter().enumerate() {
        let direct = of_direct.get(index).cloned().unwrap_or(Ok(()));
        let outcome = match (ended(task).await, direct) {
            (Ok(()), Ok(())) => Outcome::Ok,
            (Ok(()), Err(direct)) => Outcome::OnlyThroughRelay { direct },
            (Err(relayed), Err(direct)) => Outcome::NotSupported { direct, relayed },
            (Err(why), Ok(())) => Outcome::Failed(why),
        };
        found.push((run.replicas[index], outcome));
    }
    let stopped = tokio::spawn(async move {
        let mut world = Arc::into_inner(world).expect("all checks have ended");
        world.relay.assert_running();
        world.relay.terminate();
        world.relay.verify();
    });
    match ended(stopped).await {
        Ok(()) => found,
        Err(why) => everywhere(why),
    }
}

/// What a task returned, or what it panicked with.
async fn ended<T>(task: JoinHandle<T>) -> Result<T, String> {
    task.await.map_err(|error| {
        let payload = error.into_panic();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a text");
        let line: String = text.lines().take(3).collect::<Vec<_>>().join(" ");
        line.chars().take(300).collect()
    })
}

impl World {
    fn masters(&self) -> Vec<&Server> {
        std::iter::once(&self.m1).chain(&self.m2).collect()
    }

    /// Everything up to the last load: the relay is killed, then a master.
    async fn play(run: Run) -> World {
        let mut world = World::start(run).await;
        let loads = world.start_loads(0);
        run_for(700).await;
        world.relay.kill9();
        run_for(200).await;
        world.relay.restart();
        run_for(600).await;
        world.finish(loads).await;
        if let Some(m2) = &world.m2 {
            // Where DDL is not atomic, none may be under way when M1 is killed.
            settle(&[&world.m1, m2], &[&world.m1, m2], ARRIVAL_SECS).await;
        }

        let mut loads = world.start_loads(1);
        run_for(700).await;
        match world.run.dual {
            true => kill_replicating(&mut world.m1).await,
            false => world.m1.kill9(),
        }
        run_for(500).await;
        let on_m1 = loads.remove(0).ended().await;
        assert_eq!(on_m1.disconnected, 4, "all clients of a killed master");
        world.reports.push(on_m1);
        world.m1.restart().await;
        if let (Some(m2), MariaDbFilePosition) = (&world.m2, world.run.mode) {
            resume_from_peer(&world.m1, m2).await;
        }
        loads.push(Load::start(&world.m1, &world.load_options(1, 2)));
        run_for(500).await;
        world.finish(loads).await;
        let acknowledged: u64 = world.reports.iter().map(|report| report.acknowledged).sum();
        assert!(acknowledged > 100, "too little load: {:?}", world.reports);
        if let Some(m2) = &world.m2 {
            settle(&[&world.m1, m2], &[&world.m1, m2], ARRIVAL_SECS).await;
        }
        world
    }

    /// Everything is connected.
    async fn start(run: Run) -> World {
        let options = run.topology();
        let start = |kind, options| tokio::spawn(Server::start(kind, options));
        let m1 = start(run.source, master_options(&options, 1));
        let m2 = run
            .dual
            .then(|| start(run.source, master_options(&options, 2)));
        let replica = |kind: Kind, server_id: u32| {
            let mut options: ServerOptions = replica_options(kind, server_id);
            options.gtid = run.mode.has_gtids();
            start(kind, options)
        };
        let numbered = || (0..).zip(run.replicas.iter().copied());
        let behind: Vec<_> = numbered().map(|(i, kind)| replica(kind, 11 + i)).collect();
        let direct: Vec<_> = numbered()
            .filter(|_| run.direct)
            .map(|(i, kind)| replica(kind, 31 + i))
            .collect();
        let m1 = started(m1).await;
        let m2 = match m2 {
            Some(m2) => Some(started(m2).await),
            None => None,
        };
        if let Some(m2) = &m2 {
            dual_masters(&m1, m2, &run.mode.start_at("mysql-bin")).await;
        }
        let relay = start_relay(&run, &m1, m2.as_ref());
        let mut world = World {
            run,
            m1,
            m2,
            relay,
            behind: Vec::new(),
            direct: Vec::new(),
            reports: Vec::new(),
        };
        wait_streaming(&world.relay).await;
        for server in behind {
            world.behind.push(started(server).await);
        }
        for server in direct {
            world.direct.push(started(server).await);
        }
        world.attach_replicas().await;
        create_tables(&world.m1, "").await;
        if let Some(m2) = &world.m2 {
            wait_for_table(m2, "other", "items").await;
        }
        world
    }

    /// Those behind the relay get no option beyond what they need. Those of a master without TLS
    /// have an option for that: by default MySQL 9.7 and MariaDB 11.8 refuse it.
    async fn attach_replicas(&self) {
        let mode = self.run.mode;
        for replica in &self.behind {
            let at = mode.start_at("relay-bin");
            let extra = retry_each_second(replica.kind);
            attach(replica, RELAY_HOST, self.relay.port, &at, extra).await;
        }
        for replica in &self.direct {
            let master = self.m2.as_ref().unwrap_or(&self.m1);
            let mut extra = retry_each_second(replica.kind).to_owned();
            if !matches!(master.kind, MySql | MariaDb118)
                && matches!(replica.kind, MySql | MariaDb118)
            {
                extra += match replica.kind.says_replica() {
                    true => ", SOURCE_SSL=0",
                    false => ", MASTER_SSL=0",
                };
            }
            let at = mode.start_at("mysql-bin");
            attach(replica, "127.0.0.1", master.port, &at, &extra).await;
        }
    }

    fn load_options(&self, master: u32, round: u32) -> LoadOptions {
        let mut load = LoadOptions::new(1, master * 100 + round * 10);
        load.cross_database = self.run.topology().binlog_format() == "ROW";
        load.pause = pause(self.run.source);
        // No master is killed in the first round.
        load.ddl = round == 0;
        load
    }

    fn start_loads(&self, round: u32) -> Vec<Load> {
        let numbered = (1..).zip(self.masters());
        numbered
            .map(|(number, master)| Load::start(master, &self.load_options(number, round)))
            .collect()
    }

    async fn finish(&mut self, loads: Vec<Load>) {
        for load in loads {
            self.reports.push(load.finish().await);
        }
    }

    /// One replica has all that the masters have.
    async fn check(self: Arc<Self>, relayed: bool, index: usize, mark: u64) {
        let replica = match relayed {
            true => &self.behind[index],
            false => &self.direct[index],
        };
        self.wait_for_mark(replica, mark).await;
        if replica.kind == self.m1.kind {
            assert_same_tables(&self.m1, replica, "test").await;
        } else {
            assert_same_rows(&self.m1, replica, "test").await;
        }
        for report in &self.reports {
            assert_acknowledged(replica, report, "").await;
        }
        assert_same_gtids(self.run.mode, self.run.dual, &self.m1, replica).await;
        if !relayed {
            return;
        }
        assert_no_database(replica, "other").await;
        if let Some(direct) = self.direct.get(index)
            && self.arrived(direct, mark).await
        {
            assert_same_tables(direct, replica, "test").await;
        }
    }

    async fn arrived(&self, replica: &Server, mark: u64) -> bool {
        for master in self.masters() {
            if !has_mark(replica, master, mark).await {
                return false;
            }
        }
        true
    }

    /// Masters have each other's mark too.
    async fn wait_for_masters(self: Arc<Self>, mark: u64) {
        for master in self.masters() {
            if self.run.dual {
                self.wait_for_mark(master, mark).await;
            }
        }
    }

    async fn wait_for_mark(&self, replica: &Server, mark: u64) {
        let deadline = Deadline::after_secs(ARRIVAL_SECS);
        while !self.arrived(replica, mark).await {
            let status = replica_status(replica).await;
            let stopped = status.sql_running != "Yes" || status.io_running == "No";
            if stopped || deadline.passed() {
                eprintln!("---- {replica}:\n{}", replica.error_log_tail());
            }
            assert!(
                !stopped && !deadline.passed(),
                "{}: I/O {} {} {}, SQL {} {} {}",
                if stopped { "stopped" } else { "no end" },
                status.io_running,
                status.io_errno,
                status.io_error,
                status.sql_running,
                status.sql_errno,
                status.sql_error
            );
            run_for(100).await;
        }
    }
}

async fn started(server: JoinHandle<Server>) -> Server {
    match server.await {
        Ok(server) => server,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn start_relay(run: &Run, m1: &Server, m2: Option<&Server>) -> Relay {
    let mut sources = vec![SourceOptions::of("m1", m1)];
    sources.extend(m2.map(|m2| SourceOptions::of("m2", m2)));
    for source in &mut sources {
        source.auto_position = run.mode.auto_position();
    }
    Relay::start(RelayOptions::new(sources))
}

/// A source that only an administrator can repair fails the run at once.
async fn wait_streaming(relay: &Relay) {
    let deadline = Deadline::after_secs(30);
    loop {
        let status = relay.status();
        let sources = status["sources"].as_array().cloned().unwrap_or_default();
        if sources.iter().all(|source| source["state"] == "streaming") {
            return;
        }
        let bad = sources.iter().find(|source| source["state"] == "failed");
        if let Some(source) = bad {
            panic!(
                "the relay's source: {}",
                source["last_error"]["message"].as_str().unwrap_or("")
            );
        }
        assert!(
            !deadline.passed(),
            "sources are not streaming: {sources:#?}"
        );
        run_for(100).await;
    }
}

/// The replica has exactly the master's transactions, where GTIDs tell: two MariaDB masters in one
/// domain end with whichever of the two marks came last.
async fn assert_same_gtids(mode: Mode, dual: bool, master: &Server, replica: &Server) {
    if master.kind.is_mysql() && replica.kind.is_mysql() && mode.has_gtids() {
        let (wanted, found) = (gtid_executed(master).await, gtid_executed(replica).await);
        assert_eq!(found, wanted, "gtid_executed of {replica}");
    }
    if master.kind.is_mariadb() && (mode == MariaDbSlavePos || !dual) {
        let wanted = position(master, "SELECT @@gtid_binlog_pos").await;
        let found = position(replica, "SELECT @@gtid_slave_pos").await;
        assert_eq!(found, wanted, "gtid_slave_pos of {replica}");
    }
}

/// A MariaDB position in the order of its domains.
async fn position(server: &Server, query: &str) -> Vec<String> {
    let text = server.value(query).await.unwrap_or_default();
    let mut gtids: Vec<String> = text.split(',').map(str::to_owned).collect();
    gtids.sort();
    gtids
}
