//! Attacks of clients without privileges, while a replica receives 400 rows a second.

use std::fmt;
use std::net::TcpStream;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::lag::{LagMeter, Lags};
use crate::support::many_clients::largest_set;
use crate::support::raw_client::{RawClient, connect_from};
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::{self, Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions};

/// From where they come.
const ATTACKER: [u8; 4] = [127, 0, 0, 3];
/// The name of their threads.
const THREAD: &str = "attacker";
/// An account that may only log in.
const ACCOUNT: &str = "nobody";
/// Silent connections that are open at the same time, and the time between two.
const SILENT: usize = 200;
const SILENT_EVERY: Duration = Duration::from_millis(40);

/// One replica of the relay receives 400 rows a second. For each attack, the lag of the rows is measured before and while it
/// lasts, at that replica and, for comparison, at one that follows the master itself: what both have is the machine's.
#[derive(Args)]
pub struct Options {
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 20)]
    seconds: u64,
    /// How often each attack is measured
    #[arg(long, value_name = "N", default_value_t = 2)]
    rounds: u32,
    /// Clients of an attack that work at the same time; an address may have 50 connections
    #[arg(long, value_name = "N", default_value_t = 4)]
    clients: u32,
    /// Only attacks whose description contains it
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[derive(Clone, Copy)]
enum Attack {
    DeepStatements,
    LargeResults,
    LargeSets,
    SilentConnections,
}

const ATTACKS: [Attack; 4] = [
    Attack::DeepStatements,
    Attack::LargeResults,
    Attack::LargeSets,
    Attack::SilentConnections,
];

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attack::DeepStatements => "A: expressions 10,000 deep, account without privileges",
            Attack::LargeResults => "B: large results and patterns, account without privileges",
            Attack::LargeSets => "C: dumps with 15.6 MB of GTIDs, account of a replica",
            Attack::SilentConnections => "D: 25 silent connections a second, no login",
        })
    }
}

/// Prints the figures of all attacks.
pub async fn run(options: &Options, relay: &Path) {
    servers::get(&[Kind::MySql]);
    let master = Server::start(Kind::MySql, ServerOptions::new(86)).await;
    let mut of_relay = RelayOptions::new(vec![SourceOptions::of("m1", &master)]);
    of_relay.program = relay.into();
    of_relay.replicate_do_db.clear();
    of_relay.log_extra.push(format!(
        "[[user]]\nname = \"{ACCOUNT}\"\npassword = \"{REPL_PASSWORD}\"\nprivileges = []"
    ));
    let mut relay = Relay::start(of_relay);
    relay.wait_streaming().await;
    be_silent_about_attackers();
    let meter = LagMeter::start(&master, relay.port).await;
    meter.measure(Duration::from_secs(3)).await;
    println!(
        "| attack | p99 at the relay's replica, before → during | at the master's | p50 | connections | memory |"
    );
    println!("|---|---|---|---|---|---|");
    let is_wanted = |attack: &Attack| attack.to_string().contains(&options.only);
    for attack in ATTACKS.into_iter().filter(is_wanted) {
        for _ in 0..options.rounds {
            measure(attack, options, &meter, &relay).await;
            relay.assert_running();
        }
    }
    meter.finish().await;
    relay.terminate();
}

/// One line of the table.
async fn measure(attack: Attack, options: &Options, meter: &LagMeter, relay: &Relay) {
    let time = Duration::from_secs(options.seconds);
    let [before, direct_before] = meter.measure(time).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tries = Arc::new(AtomicU64::new(0));
    let clients = match attack {
        Attack::SilentConnections => 1,
        _ => options.clients,
    };
    let attackers = start(attack, clients, relay.port, &stop, &tries);
    let [during, direct_during] = meter.measure(time).await;
    stop.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.join().expect("an attacker");
    }
    println!(
        "| {attack} | {} ({:.1}×) | {} ({:.1}×) | {:.1} → {:.1} ms | {} | {} MiB |",
        change(before, during),
        during.p99 / before.p99,
        change(direct_before, direct_during),
        direct_during.p99 / direct_before.p99,
        before.p50,
        during.p50,
        tries.load(Ordering::Relaxed),
        relay.rss_peak_kib() / 1024
    );
}

/// Where the relay ends a connection, its client panics, which is no news.
fn be_silent_about_attackers() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().name() != Some(THREAD) {
            report(panic);
        }
    }));
}

fn change(before: Lags, during: Lags) -> String {
    format!("{:.1} → {:.1} ms", before.p99, during.p99)
}

fn start(
    attack: Attack,
    clients: u32,
    port: u16,
    stop: &Arc<AtomicBool>,
    tries: &Arc<AtomicU64>,
) -> Vec<thread::JoinHandle<()>> {
    let set = Arc::new(match attack {
        Attack::LargeSets => largest_set(),
        _ => Vec::new(),
    });
    (0..clients)
        .map(|number| {
            let (stop, tries, set) = (stop.clone(), tries.clone(), set.clone());
            let attacker = thread::Builder::new().name(THREAD.to_owned());
            let attacking = move || {
                // They are not on the relay's machine: what they compute themselves must not take its processor.
                rustix::process::setpriority_process(None, 19).ok();
                run_attacker(attack, port, number, &set, &stop, &tries);
            };
            attacker.spawn(attacking).expect("a thread")
        })
        .collect()
}

fn run_attacker(
    attack: Attack,
    port: u16,
    number: u32,
    set: &[u8],
    stop: &AtomicBool,
    tries: &AtomicU64,
) {
    let mut silent: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let done = tries.fetch_add(1, Ordering::Relaxed);
        // Where the relay ends the connection, the client panics; another one follows.
        let _ = panic::catch_unwind(|| match attack {
            Attack::DeepStatements => deep(port),
            Attack::LargeResults => large(port, done),
            Attack::LargeSets => sets(port, 3000 + number, set),
            Attack::SilentConnections => {}
        });
        if let Attack::SilentConnections = attack {
            silent.extend(connect_from(ATTACKER, port));
            if silent.len() > SILENT {
                silent.remove(0);
            }
            thread::sleep(SILENT_EVERY);
        }
    }
}

fn log_in(port: u16, user: &str) -> RawClient {
    let mut client = RawClient::connect_from(ATTACKER, port);
    client.login(user, REPL_PASSWORD).expect("a login");
    client
}

fn deep(port: u16) {
    let mut client = log_in(port, ACCOUNT);
    let deep = format!("SELECT {}1{}", "a(".repeat(10_000), ")".repeat(10_000));
    for _ in 0..50 {
        // It is refused.
        let _ = client.query(&deep);
    }
}

fn large(port: u16, number: u64) {
    let mut client = log_in(port, ACCOUNT);
    let text = "a".repeat(900_000);
    let _ = match number % 3 {
        0 => {
            let _ = client.query(&format!("SET @a = '{text}'"));
            client.query(&format!("SELECT @a{}", ",@a".repeat(3000)))
        }
        1 => client.query(&format!("SELECT 1{}", ",1".repeat(450_000))),
        _ => client.query(&format!("SELECT '{text}' LIKE '{}b'", "%a".repeat(10_000))),
    };
}

fn sets(port: u16, server_id: u32, set: &[u8]) {
    let mut client = log_in(port, REPL_USER);
    let uuid = format!("11111111-2222-3333-4444-{server_id:012}");
    client
        .prepare_dump(server_id, Some(&uuid))
        .expect("a replica");
    client.dump_gtid_set(server_id, 0, set);
    for _ in 0..3 {
        client.next_event();
    }
}
