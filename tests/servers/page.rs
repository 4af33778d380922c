//! The page of the HTTP listener in a browser: what it shows while a master is killed and a replica is lost, with many
//! replicas, on a phone, light and dark. BINRELAY_PROFILE=long; BINRELAY_SCREENSHOTS keeps the screenshots.

use std::path::PathBuf;

use serde_json::Value;

use crate::support;
use crate::support::browser::Browser;
use crate::support::kind::Kind;
use crate::support::raw_client::RawClient;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, attach, dual_masters};
use crate::support::servers::{REPL_PASSWORD, REPL_USER, Server, ServerOptions, free_port};
use crate::support::topology::{replica_options, run_for};

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);
/// Readable at arm's length, in pixels of CSS.
const FONT_MIN: f64 = 12.0;

/// Where screenshots are written, and the directory that is removed with the test, if it is not kept.
fn screenshots() -> (PathBuf, Option<tempfile::TempDir>) {
    if let Some(path) = std::env::var_os("BINRELAY_SCREENSHOTS") {
        let path = PathBuf::from(path);
        std::fs::create_dir_all(&path).expect("the directory of BINRELAY_SCREENSHOTS");
        return (path, None);
    }
    let directory = tempfile::tempdir().expect("a directory");
    (directory.path().to_owned(), Some(directory))
}

struct Viewer {
    browser: Browser,
    directory: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Viewer {
    fn open(port: u16) -> Viewer {
        let browser = Browser::start();
        let (directory, temporary) = screenshots();
        browser.resize(DESKTOP.0, DESKTOP.1);
        browser.prefer("light");
        browser.open(&format!("http://127.0.0.1:{port}/"));
        browser.wait(
            "loaded",
            "return document.body.dataset.showStatus === 'shown'",
        );
        Viewer {
            browser,
            directory,
            _temporary: temporary,
        }
    }

    /// Screenshots of the page in all sizes and colours, each of which must be readable.
    fn look(&self, name: &str) {
        for (size, place) in [(DESKTOP, "desktop"), (PHONE, "phone")] {
            self.browser.resize(size.0, size.1);
            for scheme in ["light", "dark"] {
                self.browser.prefer(scheme);
                // The lines are drawn again when the size changes.
                std::thread::sleep(std::time::Duration::from_millis(300));
                let file = self.directory.join(format!("{name}-{place}-{scheme}.png"));
                self.browser.screenshot(&file);
                self.assert_readable(&format!("{name} {place} {scheme}"));
            }
        }
        self.browser.resize(DESKTOP.0, DESKTOP.1);
        self.browser.prefer("light");
        assert_eq!(self.browser.console(), [""; 0], "{name}");
    }

    /// Nothing is wider than the page, smaller than can be read, or in a colour like its background.
    fn assert_readable(&self, what: &str) {
        let found = self.browser.script(
            "const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
             const shade = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
             const back = (node) => { for (; node; node = node.parentElement) { const c = getComputedStyle(node).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
             let smallest = 99, contrast = 99, cut = [];
             for (const node of document.querySelectorAll('main *')) {
               if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
               const style = getComputedStyle(node);
               smallest = Math.min(smallest, parseFloat(style.fontSize));
               const [a, b] = [shade(style.color), shade(back(node))].sort((a, b) => b - a);
               contrast = Math.min(contrast, (a + 0.05) / (b + 0.05));
               if (node.scrollWidth > node.clientWidth + 1 && style.display !== 'inline') cut.push(node.textContent);
             }
             return { wide, smallest, contrast, cut };",
        );
        assert_eq!(found["wide"], 0, "{what}: {found}");
        assert!(
            found["smallest"].as_f64() >= Some(FONT_MIN),
            "{what}: {found}"
        );
        // The limit of WCAG 2.1 for text, level AA.
        assert!(found["contrast"].as_f64() >= Some(4.5), "{what}: {found}");
        assert_eq!(found["cut"], Value::Array(Vec::new()), "{what}");
    }

    /// The text of each card of a column.
    fn cards(&self, column: &str) -> Vec<String> {
        let script = format!(
            "return [...document.querySelectorAll('#{column} .card')].map((card) => card.innerText)"
        );
        let cards = self.browser.script(&script);
        let cards = cards.as_array().expect("cards").iter();
        cards
            .map(|card| card.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Waits for a card that begins so.
    fn wait_card(&self, column: &str, begin: &str) {
        let script = format!(
            "return [...document.querySelectorAll('#{column} .card')].some((card) => card.innerText.startsWith({begin:?}))"
        );
        self.browser.wait(begin, &script);
    }

    fn text(&self, id: &str) -> String {
        let text = self
            .browser
            .script(&format!("return document.getElementById('{id}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }
}

/// Clients that follow the log as replicas do.
fn many_replicas(relay: &Relay, count: u32) -> Vec<RawClient> {
    let replica = |number| {
        let mut client = RawClient::connect("127.0.0.1", relay.port);
        client.login(REPL_USER, REPL_PASSWORD).expect("logged in");
        client
            .prepare_dump(1000 + number, None)
            .expect("registered");
        client.dump(1000 + number, "relay-bin.000001", 4, 0);
        client
    };
    (0..count).map(replica).collect()
}

/// The masters, the relay with its HTTP port, and a replica.
struct Stage {
    m1: Server,
    _m2: Server,
    replica: Server,
    relay: Relay,
    http: u16,
}

impl Stage {
    async fn start() -> Stage {
        let (m1, m2) = tokio::join!(
            Server::start(Kind::MariaDb, ServerOptions::new(86)),
            Server::start(Kind::MariaDb, ServerOptions::new(18)),
        );
        let replica = Server::start(Kind::MariaDb, replica_options(Kind::MariaDb, 11)).await;
        dual_masters(&m1, &m2, &StartAt::first_file("mysql-bin")).await;
        let http = free_port();
        let sources = vec![SourceOptions::of("m1", &m1), SourceOptions::of("m2", &m2)];
        let mut options = RelayOptions::new(sources);
        options.admin_extra = vec![
            format!("http = \"127.0.0.1:{http}\""),
            "[limits]\nmax_connections_per_address = 200".to_owned(),
            "[alert]\nreplica_missing_after = \"2s\"".to_owned(),
        ];
        let relay = Relay::start(options);
        relay.wait_streaming().await;
        let at = StartAt::first_file("relay-bin");
        attach(&replica, RELAY_HOST, relay.port, &at, "").await;
        m1.sql("CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY)")
            .await;
        Stage {
            m1,
            _m2: m2,
            replica,
            relay,
            http,
        }
    }
}

async fn all_is_well(stage: &Stage, viewer: &Viewer) {
    for begin in ["m1 streaming", "m2 streaming"] {
        viewer.wait_card("sources", begin);
    }
    viewer.browser.wait(
        "a replica",
        "return /\\(11\\) streaming/.test(document.getElementById('replicas').innerText)",
    );
    assert_eq!(viewer.cards("replicas").len(), 1);
    assert_eq!(viewer.text("state"), "all is well");
    assert_eq!(viewer.text("errors"), "none");
    // Two samples, ten seconds apart, and the time until they are read.
    for number in 0..22 {
        let insert = format!("INSERT INTO test.t VALUES ({number})");
        stage.m1.sql(&insert).await;
        run_for(1000).await;
    }
    viewer.browser.wait(
        "rates",
        "return /m1: [0-9]/.test(document.getElementById('rate-legend').innerText)",
    );
    viewer.browser.wait(
        "lag",
        "return /slowest replica: 0 s/.test(document.getElementById('lag-legend').innerText)",
    );
    viewer.look("loaded");
}

fn master_is_dead(viewer: &Viewer) {
    viewer.wait_card("sources", "m1 connecting");
    viewer.browser.wait(
        "degraded",
        "return document.getElementById('degraded').innerText.includes('source m1 is connecting')",
    );
    assert_eq!(viewer.text("state"), "degraded");
    assert!(viewer.cards("sources")[1].starts_with("m2 streaming"));
    let errors = viewer.text("errors");
    assert!(errors.contains("m1"), "{errors}");
    viewer.look("master-dead");
}

async fn replica_is_missing(stage: &Stage, viewer: &Viewer) {
    stage.replica.sql("STOP SLAVE").await;
    viewer.browser.wait(
        "the replica is missing",
        "return /\\(11\\) missing/.test(document.getElementById('replicas').innerText) && \
         /replica 11/.test(document.getElementById('degraded').innerText)",
    );
    viewer.look("replica-missing");
    stage.replica.sql("START SLAVE").await;
    viewer.browser.wait(
        "it is back",
        "return /\\(11\\) streaming/.test(document.getElementById('replicas').innerText)",
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn page_shows_what_happens() {
    let _turn = support::turn();
    let mut stage = Stage::start().await;
    let viewer = Viewer::open(stage.http);
    all_is_well(&stage, &viewer).await;
    stage.m1.kill9();
    master_is_dead(&viewer);
    replica_is_missing(&stage, &viewer).await;
    let clients = many_replicas(&stage.relay, 100);
    viewer.browser.wait(
        "100 more replicas",
        "return document.querySelectorAll('#replicas .card').length === 101",
    );
    viewer.look("many-replicas");
    drop(clients);
}
