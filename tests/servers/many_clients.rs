//! Many clients at once: the memory of each is bounded, and replicas log in while others only knock.

use crate::support;
use crate::support::many_clients::ManyClients;

/// Bytes for each client that has logged in and does nothing, and for each replica that receives.
const IDLE_MAX: u64 = 32 * 1024;
const STREAMING_MAX: u64 = 300 * 1024;

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
