//! The HTTP listener, of a relay whose source cannot be reached.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::http::get;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::free_port;

fn relay(lines: &[&str]) -> (Relay, u16) {
    let port = free_port();
    let mut options = RelayOptions::new(vec![SourceOptions::at("m1", free_port())]);
    options.admin_extra = vec![format!("http = \"127.0.0.1:{port}\"")];
    options
        .admin_extra
        .extend(lines.iter().map(|line| (*line).to_owned()));
    (Relay::start(options), port)
}

#[test]
fn every_path_answers_as_documented() {
    let (mut relay, port) = relay(&[]);
    let (status, head, body) = get(port, "/healthz", "");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert!(
        head.to_ascii_lowercase().contains("connection: close"),
        "{head}"
    );
    // A report is at most a second old: the first one may be from before the first attempt to connect.
    std::thread::sleep(Duration::from_millis(1_100));
    let (status, _, body) = get(port, "/readyz", "");
    assert_eq!((status, body.as_str()), (503, "degraded\n"));
    let (status, head, body) = get(port, "/metrics", "");
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    assert!(
        body.contains("binrelay_source_state{source=\"m1\",state=\"connecting\"} 1\n"),
        "{body}"
    );
    let (status, _, body) = get(port, "/status.json", "");
    let shown: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(shown["sources"][0]["name"], "m1");
    let fields = |report: &Value| -> Vec<String> {
        let source = report["sources"][0].as_object().expect("a source");
        source.keys().cloned().collect()
    };
    assert_eq!(fields(&shown), fields(&relay.status()));
    assert_eq!(
        shown["relay"]["degraded"].as_array().map(Vec::len),
        Some(2),
        "{body}"
    );
    let (status, _, body) = get(port, "/history.json", "");
    let samples: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(samples[0]["sources"][0]["name"], "m1", "{body}");
    let (status, head, body) = get(port, "/", "");
    assert_eq!(status, 200, "{head}");
    assert!(
        head.to_ascii_lowercase()
            .contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    assert!(body.starts_with("<!doctype html>"), "{body}");
    assert_eq!(get(port, "/nothing", "").0, 404);
    relay.terminate();
}

#[test]
fn foreign_names_are_refused_without_token() {
    let (mut relay, port) = relay(&[]);
    for path in ["/", "/metrics", "/status.json", "/history.json"] {
        assert_eq!(get(port, path, "Host: evil.example\r\n").0, 403, "{path}");
    }
    relay.terminate();
}

#[test]
fn token_is_needed_for_all_but_the_health_checks() {
    let (mut relay, port) = relay(&["http_token = \"a token of the test\""]);
    for path in ["/", "/metrics", "/status.json", "/history.json"] {
        let (status, head, _) = get(port, path, "");
        assert_eq!(status, 401, "{path}");
        assert!(
            head.to_ascii_lowercase()
                .contains("www-authenticate: basic"),
            "{head}"
        );
        let token = "Authorization: Bearer a token of the test\r\nHost: relay.example\r\n";
        assert_eq!(get(port, path, token).0, 200, "{path}");
    }
    assert_eq!(get(port, "/healthz", "").0, 200);
    assert_eq!(get(port, "/readyz", "").0, 503);
    assert!(
        !relay.log().contains("a token of the test"),
        "{}",
        relay.log()
    );
    relay.terminate();
}

#[test]
fn silent_clients_do_not_keep_others_out() {
    let (mut relay, port) = relay(&[]);
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the listener accepts"))
        .collect();
    // They have five seconds, the first ones first.
    let (status, _, _) = get(port, "/healthz", "");
    assert_eq!(status, 200);
    drop(silent);
    // A request that never ends is one, too.
    let mut endless = TcpStream::connect(("127.0.0.1", port)).expect("the listener accepts");
    endless.write_all(b"GET / HTTP/1.1\r\nA: ").expect("sent");
    endless
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time limit");
    let mut rest = Vec::new();
    endless.read_to_end(&mut rest).expect("closed by the relay");
    relay.terminate();
}
