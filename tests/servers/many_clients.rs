//! Many clients at once: the memory of each is bounded, replicas log in while others only knock, and metrics are
//! scraped without delay.

use std::time::{Duration, Instant};

use crate::support;
use crate::support::http::get;
use crate::support::many_clients::ManyClients;
use crate::support::servers::free_port;
use crate::support::topology::run_for;

/// Bytes for each client that has logged in and does nothing, and for each replica that receives.
const IDLE_MAX: u64 = 32 * 1024;
const STREAMING_MAX: u64 = 300 * 1024;
/// For the metrics of this many replicas; the middle one of some scrapes.
const SCRAPE_MAX: Duration = Duration::from_millis(50);
const SCRAPED: u32 = 200;
const SCRAPES: usize = 5;
/// Older reports are not used again.
const STALE: Duration = Duration::from_millis(1_050);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn memory_of_each_client_is_bounded() {
    let _turn = support::turn();
    let limits = "max_connections = 2000\nmax_connections_per_address = 2000";
    let mut clients = ManyClients::start(None, limits).await;
    let idle = clients.idle_bytes(1000).await;
    let streaming = clients.streaming_bytes(200, 400).await;
    println!("1,000 idle clients: {idle} bytes each; 200 replicas: {streaming} bytes each");
    assert!(idle <= IDLE_MAX, "{idle} bytes for an idle client");
    assert!(
        streaming <= STREAMING_MAX,
        "{streaming} bytes for a replica"
    );
    let set = clients.largest_set().await;
    println!("{set:?}");
    // The packet, the set, and the buffers of a connection and a dump.
    assert!(set.peak_kib <= 2 * set.set_kib + 4096, "{set:?}");
    // The log does not have these transactions yet: the set may still be needed.
    assert!(set.at_end_kib <= set.set_kib * 5 / 4, "{set:?}");
    assert!(set.after_kib <= set.set_kib / 2, "{set:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn replicas_log_in_while_another_address_connects_without_end() {
    let _turn = support::turn();
    let clients = ManyClients::start(None, "").await;
    let figures = clients.knock(300);
    println!("{figures:?}");
    assert_eq!(figures.succeeded, figures.logins, "{figures:?}");
}

/// The values of a metric, one for each label.
fn values<'m>(metrics: &'m str, name: &str) -> Vec<&'m str> {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples.filter(|rest| rest.starts_with(['{', ' ']));
    samples.filter_map(|rest| rest.rsplit(' ').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn metrics_of_200_replicas_are_scraped_without_delay() {
    let _turn = support::turn();
    let http = free_port();
    let sections = format!(
        "max_connections = 300\nmax_connections_per_address = 300\n\n[admin]\nhttp = \"127.0.0.1:{http}\""
    );
    let clients = ManyClients::start(None, &sections).await;
    let replicas = clients.replicas(SCRAPED).await;
    let (mut times, mut uptimes) = (Vec::new(), Vec::new());
    for _ in 0..SCRAPES {
        run_for(STALE.as_millis() as u64).await;
        let began = Instant::now();
        let (status, _, metrics) = get(http, "/metrics", "");
        times.push(began.elapsed());
        assert_eq!(status, 200);
        for name in [
            "binrelay_replica_connected",
            "binrelay_replica_bytes_behind",
        ] {
            assert_eq!(values(&metrics, name).len(), SCRAPED as usize, "{name}");
        }
        assert!(
            values(&metrics, "binrelay_replica_connected")
                .iter()
                .all(|value| *value == "1")
        );
        uptimes.push(values(&metrics, "binrelay_uptime_seconds")[0].to_owned());
    }
    drop(replicas);
    // Each was made from a report of its own.
    uptimes.dedup();
    assert_eq!(uptimes.len(), SCRAPES, "{uptimes:?}");
    times.sort_unstable();
    println!("scrapes with {SCRAPED} replicas: {times:?}");
    assert!(times[SCRAPES / 2] <= SCRAPE_MAX, "{times:?}");
}
