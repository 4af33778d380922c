//! Everything at once under load on two masters: the relay and the masters are killed, the network fails in every
//! way, the relay's disk is full, a replica is attached and detached, a master gets another history. At every calm point
//! all replicas equal the masters, nothing is there twice, and the relay has not grown.

use std::time::Duration;

use crate::support::chaos::{self, Length, Setup};
use crate::support::{self, Profile, profile, seed};

/// In a normal run every fault once; else 20 minutes. `BINRELAY_SEED` decides on the servers, too.
#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once() {
    let _turn = support::turn();
    let length = match profile() {
        Profile::Gate => Length::OnePart,
        Profile::Long => Length::Time(Duration::from_secs(20 * 60)),
    };
    chaos::run(Setup::of_seed(seed()), seed(), length, None).await;
}
