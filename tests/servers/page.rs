//! The page of the HTTP listener in a browser: what it shows while a master is killed and a replica is lost, with many
//! replicas, on a phone, light and dark; retention and conflicts; an address with the token in it. BINRELAY_PROFILE=long;
//! BINRELAY_SCREENSHOTS keeps the screenshots.

use std::path::PathBuf;
use std::time::SystemTime;

use binrelay::utc;
use serde_json::Value;

use crate::support;
use crate::support::browser::Browser;
use crate::support::http::get;
use crate::support::kind::Kind;
use crate::support::raw_client::RawClient;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, assert_healthy, attach, dual_masters, wait_for_table};
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
    fn open(url: &str) -> Viewer {
        let browser = Browser::start();
        let (directory, temporary) = screenshots();
        browser.resize(DESKTOP.0, DESKTOP.1);
        browser.prefer("light");
        browser.open(url);
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
    m2: Server,
    replica: Server,
    relay: Relay,
    http: u16,
    /// When all this began.
    began: String,
}

impl Stage {
    async fn start() -> Stage {
        let began = utc::seconds(SystemTime::now());
        let master = |id: u32| ServerOptions::new(id).extra(format!("--gtid-domain-id={id}"));
        let (m1, m2) = tokio::join!(
            Server::start(Kind::MariaDb, master(86)),
            Server::start(Kind::MariaDb, master(18)),
        );
        let replica = Server::start(Kind::MariaDb, replica_options(Kind::MariaDb, 11)).await;
        dual_masters(&m1, &m2, &StartAt::first_file("mysql-bin")).await;
        let http = free_port();
        let sources = vec![SourceOptions::of("m1", &m1), SourceOptions::of("m2", &m2)];
        let mut options = RelayOptions::new(sources);
        options.log_extra = vec!["max_total_size = \"10GiB\"".to_owned()];
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
            m2,
            replica,
            relay,
            http,
            began,
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
    let ready = get(stage.http, "/readyz", "");
    assert_eq!((ready.0, ready.2.as_str()), (200, "ready\n"));
    shows_retention(stage, viewer);
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

/// The limits as they are configured, and since when there is a log.
fn shows_retention(stage: &Stage, viewer: &Viewer) {
    let relay = stage.relay.status()["relay"].clone();
    let since = relay["log_begins_at"].as_str().expect("a time").to_owned();
    let now = utc::seconds(SystemTime::now());
    assert!(stage.began <= since && since <= now, "{since}");
    let card = &viewer.cards("relay")[0];
    for line in [
        "log: 1 file · ",
        &format!("log begins at {since}"),
        "expire_after: 7 days",
        "max_total_size: 10.0 GiB",
        "disk: ",
        "iB free",
        "conflicts: 0",
    ] {
        assert!(card.contains(line), "{line}: {card}");
    }
    // The rate at which the disk is filled is not known before ten minutes have passed.
    let other = viewer.browser.script(
        "return read('status.json').then((status) => {
           Object.assign(status.relay, { disk_full_seconds: 18000, expire_after_seconds: null, max_total_size: null });
           showStatus(status);
           return document.getElementById('relay').innerText;
         })",
    );
    let other = other.as_str().unwrap_or_default();
    for line in [
        "iB free · full in 5 h",
        "expire_after: never",
        "max_total_size: no limit",
    ] {
        assert!(other.contains(line), "{line}: {other}");
    }
}

/// Both masters change a row before either has the other's change. The row is there, so no replica stops.
async fn masters_are_in_conflict(stage: &Stage, viewer: &Viewer) {
    let create = "USE test; CREATE TABLE shared (id INT PRIMARY KEY, v INT); INSERT INTO shared VALUES (1, 0)";
    stage.m1.sql(create).await;
    wait_for_table(&stage.m2, "test", "shared").await;
    let deadline = support::Deadline::after_secs(30);
    while stage.m2.value("SELECT v FROM test.shared").await.is_none() {
        assert!(!deadline.passed(), "no row");
        run_for(50).await;
    }
    let masters = [(&stage.m1, 1), (&stage.m2, 2)];
    for (master, _) in masters {
        for host in ["%", "localhost"] {
            // The relay asks for the primary key.
            let grant = format!("GRANT SELECT ON *.* TO {REPL_USER}@'{host}'");
            master.sql(&format!("SET sql_log_bin = 0; {grant}")).await;
        }
        master.sql("STOP SLAVE SQL_THREAD").await;
    }
    for (master, value) in masters {
        let update = format!("UPDATE test.shared SET v = {value}");
        master
            .sql(&format!("SET binlog_format = ROW; {update}"))
            .await;
    }
    viewer.browser.wait(
        "the conflict",
        "return document.getElementById('relay').innerText.includes('conflicts: 1 (binrelay conflicts)')",
    );
    for (master, _) in masters {
        master.sql("START SLAVE SQL_THREAD").await;
    }
    viewer.look("conflict");
    assert_healthy(&stage.replica).await;
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
    let viewer = Viewer::open(&format!("http://127.0.0.1:{}/", stage.http));
    all_is_well(&stage, &viewer).await;
    masters_are_in_conflict(&stage, &viewer).await;
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

/// Browsers refuse to fetch addresses with a password, and take relative ones to be such here.
#[test]
#[ignore = "BINRELAY_PROFILE=long"]
fn page_with_the_token_in_its_address_reads_the_status() {
    let _turn = support::turn();
    let http = free_port();
    let mut options = RelayOptions::new(vec![SourceOptions::at("m1", free_port())]);
    options.admin_extra = vec![
        format!("http = \"127.0.0.1:{http}\""),
        "http_token = \"token-of-the-page\"".to_owned(),
    ];
    let mut relay = Relay::start(options);
    let viewer = Viewer::open(&format!("http://x:token-of-the-page@127.0.0.1:{http}/"));
    let is_refused = "try { new Request('status.json'); return false; } catch { return true; }";
    assert_eq!(viewer.browser.script(is_refused), true);
    viewer.wait_card("sources", "m1 connecting");
    viewer.browser.wait(
        "history",
        "return document.body.dataset.showHistory === 'shown'",
    );
    // There is one source.
    let card = &viewer.cards("relay")[0];
    assert!(card.contains("conflicts: not detected"), "{card}");
    assert_eq!(viewer.browser.console(), [""; 0]);
    relay.terminate();
}
