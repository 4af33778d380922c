//! All that the listener shows of itself, and why it is true. What is not in these lists is not shown:
//! no variable, status row or capability of a feature that the relay does not have.

use super::fixture::*;
use crate::connection::{Connection, ConnectionErrorCause};
use crate::flavor::Flavor;
use crate::protocol::capability::*;
use std::time::Duration;
use tokio::time::timeout;

/// Sessions change no table and log nothing: their settings, at the defaults of servers, have no effect.
const OF_SESSIONS: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("auto_increment_offset", "1"),
    ("autocommit", "ON"),
    ("binlog_row_image", "FULL"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("collation_database", "utf8mb4_general_ci"),
    ("collation_server", "utf8mb4_general_ci"),
    ("group_concat_max_len", "1024"),
    ("init_connect", ""),
    ("lower_case_table_names", "0"),
    ("net_buffer_length", "16384"),
    ("sql_auto_is_null", "OFF"),
    ("sql_log_bin", "ON"),
    ("sql_mode", ""),
    ("sql_quote_show_create", "ON"),
    ("sql_select_limit", "18446744073709551615"),
];

/// Names and values of every result are UTF-8; times are UTC.
const OF_RESULTS: &[(&str, &str)] = &[
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("character_set_system", "utf8mb3"),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
];

/// Limits and facts that other tests verify: idle sessions end, packets of this size are sent, every event
/// has a checksum, transactions of the sources are logged, and no statement changes anything.
const OF_THE_RELAY: &[(&str, &str)] = &[
    ("binlog_checksum", "CRC32"),
    ("interactive_timeout", "28800"),
    ("license", "Apache-2.0"),
    ("log_bin", "ON"),
    ("log_slave_updates", "ON"),
    ("max_allowed_packet", "1073741824"),
    ("net_write_timeout", "30"),
    ("performance_schema", "OFF"),
    ("rpl_semi_sync_master_enabled", "ON"),
    ("read_only", "ON"),
    ("server_id", "900"),
    ("version_comment", "binrelay, a binlog relay"),
    ("version_compile_machine", std::env::consts::ARCH),
    ("version_compile_os", std::env::consts::OS),
    ("wait_timeout", "28800"),
];

/// Names of the machine and of files; no statement reaches InnoDB, and no thread but one writes.
const OF_THE_HOST: &[(&str, &str)] = &[
    ("basedir", "/usr/"),
    ("datadir", "/var/lib/binrelay/"),
    ("hostname", "relay.example"),
    ("innodb_read_only", "ON"),
    ("max_binlog_size", "1073741824"),
    ("port", "3306"),
    ("relay_log_purge", "OFF"),
    ("report_host", "reported.example"),
    ("report_port", "3307"),
    ("slave_parallel_workers", "0"),
    ("socket", ""),
];

/// As above, on MySQL 9.7.
const MYSQL: &[(&str, &str)] = &[
    ("binlog_format", "ROW"),
    ("binlog_row_metadata", "MINIMAL"),
    ("binlog_row_value_options", ""),
    ("enforce_gtid_consistency", "ON"),
    ("gtid_executed", "11111111-1111-1111-1111-111111111111:1-2"),
    ("gtid_mode", "ON"),
    ("gtid_next", "AUTOMATIC"),
    ("gtid_owned", ""),
    ("gtid_purged", ""),
    ("log_replica_updates", "ON"),
    ("replica_parallel_workers", "0"),
    ("innodb_version", "9.7.4"),
    ("rpl_semi_sync_replica_enabled", "OFF"),
    ("rpl_semi_sync_source_enabled", "ON"),
    ("rpl_semi_sync_source_timeout", "0"),
    ("rpl_semi_sync_source_wait_for_replica_count", "0"),
    ("rpl_semi_sync_source_wait_no_replica", "ON"),
    ("server_uuid", RELAY_UUID),
    ("super_read_only", "ON"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("transaction_read_only", "OFF"),
    ("version", "9.7.4"),
];

/// As above, on MariaDB 10.11. A transaction that two sources send is in the log once.
const MARIADB: &[(&str, &str)] = &[
    ("binlog_format", "MIXED"),
    ("binlog_row_metadata", "NO_LOG"),
    ("gtid_binlog_pos", "0-1-1,3-2-9"),
    ("gtid_binlog_state", "0-1-1,3-2-9"),
    ("gtid_current_pos", "0-1-1,3-2-9"),
    ("default_master_connection", ""),
    ("gtid_domain_id", "0"),
    ("gtid_ignore_duplicates", "ON"),
    ("gtid_slave_pos", ""),
    ("gtid_strict_mode", "OFF"),
    ("query_cache_size", "0"),
    ("query_cache_type", "OFF"),
    ("rpl_semi_sync_slave_enabled", "OFF"),
    ("slave_parallel_threads", "0"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("tx_read_only", "OFF"),
    ("version", "10.11.19-MariaDB-log"),
];

const STATUS: &[&str] = &[
    "Aborted_connects",
    "Bytes_received",
    "Bytes_sent",
    "Com_binlog_dump",
    "Connection_seconds",
    "Connections",
    "Max_used_connections",
    "Questions",
    "Threads_connected",
    "Threads_running",
    "Uptime",
];

/// After those, on MariaDB.
const STATUS_MARIADB: &[&str] = &[
    "Rpl_semi_sync_slave_send_ack",
    "Slave_connections",
    "Slaves_connected",
    "Slaves_running",
];

/// The relay understands or ignores these requests of a client; it has TLS. Not among them: several
/// statements in one, prepared statements, LOAD DATA LOCAL, sessions' state in OK packets.
const CAPABILITIES: u32 = CLIENT_LONG_PASSWORD
    | CLIENT_FOUND_ROWS
    | CLIENT_LONG_FLAG
    | CLIENT_CONNECT_WITH_DB
    | CLIENT_IGNORE_SPACE
    | CLIENT_PROTOCOL_41
    | CLIENT_INTERACTIVE
    | CLIENT_SSL
    | CLIENT_TRANSACTIONS
    | CLIENT_SECURE_CONNECTION
    | CLIENT_PLUGIN_AUTH
    | CLIENT_CONNECT_ATTRS
    | CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;

fn log_of(flavor: Flavor) -> TestLog {
    let mut log = TestLog::empty(flavor, 1 << 20);
    match flavor {
        Flavor::MySql => log.mysql(1, b"CREATE").mysql(2, b"CREATE"),
        Flavor::MariaDb => log.mariadb("0-1-1", None).mariadb("3-2-9", None),
    };
    log
}

async fn rows(connection: &mut Connection, statement: &str) -> Vec<(String, String)> {
    let result = connection.query(statement).await.unwrap();
    let text =
        |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap_or_default()).unwrap();
    let rows = result.rows.iter();
    rows.map(|row| (text(&row[0]), text(&row[1]))).collect()
}

#[tokio::test]
async fn every_variable_is_true_and_no_other_is_shown() {
    for (flavor, own) in [(Flavor::MySql, MYSQL), (Flavor::MariaDb, MARIADB)] {
        let log = log_of(flavor);
        let sender = TestSender::of(&log).await;
        let mut connection = sender.connect("repl").await.unwrap();
        let dir = log.log().log_dir().dir.join("relay-bin");
        let basename = dir.to_string_lossy().into_owned();
        let mut expected: Vec<_> = [OF_SESSIONS, OF_RESULTS, OF_THE_RELAY, OF_THE_HOST, own]
            .concat()
            .into_iter()
            .chain([("log_bin_basename", basename.as_str())])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        expected.sort();
        let shown = rows(&mut connection, "SHOW GLOBAL VARIABLES").await;
        assert_eq!(shown, expected, "{flavor:?}");
        for name in ["protocol_compression_algorithms", "have_ssl"] {
            let statement = format!("SELECT @@GLOBAL.{name}");
            let error = connection.query(&statement).await.unwrap_err();
            assert_eq!(error.server_error().unwrap().code, 1193, "{name}");
        }
    }
}

#[tokio::test]
async fn every_status_row_and_capability_is_of_something_that_is_served() {
    for (flavor, role, other) in [
        (Flavor::MySql, "source", "replica"),
        (Flavor::MariaDb, "master", "slave"),
    ] {
        let log = log_of(flavor);
        let sender = TestSender::of(&log).await;
        let (mut connection, greeting) = sender.login("repl").await.unwrap();
        assert_eq!(greeting.capabilities, CAPABILITIES, "{flavor:?}");
        let shown = rows(&mut connection, "SHOW GLOBAL STATUS").await;
        let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        let mut expected = match flavor {
            Flavor::MySql => STATUS.to_vec(),
            Flavor::MariaDb => [STATUS, STATUS_MARIADB].concat(),
        };
        // Those of semi-sync have the names of the two roles in the version.
        let semi_sync = [(role, "clients"), (role, "status"), (other, "status")];
        let semi_sync = semi_sync.map(|(role, row)| format!("Rpl_semi_sync_{role}_{row}"));
        expected.extend(semi_sync.iter().map(String::as_str));
        expected.sort_unstable();
        assert_eq!(names, expected, "{flavor:?}");
    }
}

#[tokio::test]
async fn a_session_ends_after_its_wait_timeout() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.connect("repl").await.unwrap();
    connection.execute("SET wait_timeout = 1").await.unwrap();
    let waiting = timeout(Duration::from_secs(10), connection.fill());
    let error = waiting.await.expect("the session ends").unwrap_err();
    assert!(
        matches!(error.cause, ConnectionErrorCause::Closed),
        "{error}"
    );
}
