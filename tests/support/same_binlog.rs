//! The relay, and a real master that has the same binlog files.

use std::fs;
use std::path::PathBuf;

use mysql_async::Row;

use super::relay::{RELAY_SERVER_ID, Relay, RelayOptions, SourceOptions};
use super::servers::{Kind, Server, ServerOptions};

/// The default database of the workload; its table `things` never changes its columns.
pub const DATABASE: &str = "clients";

pub struct SameBinlog {
    pub source: Server,
    pub relay: Relay,
    /// A server whose binlog begins with copies of the relay's closed files.
    pub master: Server,
    /// Those files on the relay's side.
    pub files: Vec<PathBuf>,
}

impl SameBinlog {
    /// The ports of the relay and of the master.
    pub fn ports(&self) -> [u16; 2] {
        [self.relay.port, self.master.port]
    }

    /// Everything runs, and the source has written its share.
    pub async fn start(kind: Kind) -> SameBinlog {
        let source = Server::start(kind, source_options(kind)).await;
        let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
        options.replicate_do_db.clear();
        options.log_extra = vec!["max_size = \"48KiB\"".to_owned()];
        let relay = Relay::start(options);
        relay.wait_streaming().await;
        write_everything(&source).await;
        wait_for(&relay, &source).await;
        // The newest file is being written; on the master it is one of its own.
        let mut files = relay.log_files();
        files.pop();
        assert!(files.len() >= 2, "too few closed files: {files:?}");
        // The relay's server_id: the events that a server generates itself contain it.
        let options = ServerOptions::new(RELAY_SERVER_ID).extra("--log-bin=relay-bin");
        let master = Server::start_prepared(kind, options, |data| {
            let mut index = String::new();
            for file in &files {
                let name = file.file_name().expect("a name").to_str().expect("UTF-8");
                fs::copy(file, data.join(name)).expect("a log file is copied");
                index.push_str(&format!("./{name}\n"));
            }
            fs::write(data.join("relay-bin.index"), index).expect("the index is written");
        })
        .await;
        SameBinlog {
            source,
            relay,
            master,
            files,
        }
    }

    pub fn kind(&self) -> Kind {
        self.source.kind
    }

    /// The names of the files that both have.
    pub fn file_names(&self) -> Vec<String> {
        let names = self.files.iter().map(|file| file.file_name());
        names
            .map(|name| name.expect("a name").to_string_lossy().into_owned())
            .collect()
    }

    /// The first file that differs.
    pub fn stop_file(&self) -> String {
        format!("relay-bin.{:06}", self.files.len() + 1)
    }
}

fn source_options(kind: Kind) -> ServerOptions {
    let mut options = ServerOptions::new(1);
    options.binlog_format = Some("ROW");
    match kind.is_mysql() {
        true => options.extra("--binlog-rows-query-log-events=ON"),
        false => options,
    }
}

/// Waits until the relay has all that the source has written.
pub async fn wait_for(relay: &Relay, source: &Server) {
    let query = match source.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows: Vec<Row> = source.rows(query).await;
    let row = rows.first().expect("the source has a binlog");
    let (file, position): (String, u64) = (row.get(0).expect("file"), row.get(1).expect("at"));
    relay
        .wait_status("the relay has everything", 60, |status| {
            let source = &status["sources"][0];
            source["file"] == file.as_str() && source["position"] == position
        })
        .await;
}

/// Events of all kinds that a server writes by itself.
async fn write_everything(source: &Server) {
    source
        .sql(&format!(
            "CREATE DATABASE {DATABASE}; USE {DATABASE}; \
             CREATE TABLE things (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
               name VARCHAR(300) CHARACTER SET utf8mb4, amount DECIMAL(30,4), ratio DOUBLE, \
               at DATETIME(3), day DATE, size ENUM('small','big'), data BLOB, note TEXT, big BIGINT UNSIGNED); \
             CREATE TABLE `odd ``name` (a INT PRIMARY KEY, b INT)"
        ))
        .await;
    let insert = "INSERT INTO things (name, amount, ratio, at, day, size, data, note, big) VALUES";
    let row = "('n\u{e4}me \u{1f600}', -12.5, 0.25, '2024-02-03 04:05:06.789', '2024-02-03', 'big', x'00417f', REPEAT('n', 700), 18446744073709551615)";
    for _ in 0..25 {
        source
            .sql(&format!(
                "USE {DATABASE}; {insert} {row}, {row}, {row}; \
                 BEGIN; UPDATE things SET amount = amount + 1, note = NULL ORDER BY id DESC LIMIT 2; \
                 INSERT INTO `odd ``name` VALUES (1, 2); SAVEPOINT one; DELETE FROM `odd ``name`; COMMIT; \
                 DELETE FROM things ORDER BY id LIMIT 1"
            ))
            .await;
    }
    let load = std::env::temp_dir().join(format!("binrelay-load-{}", source.port));
    fs::write(&load, "1\t2\n3\t4\n").expect("a file to load is written");
    source
        .sql(&format!(
            "USE {DATABASE}; SET SESSION binlog_format = 'STATEMENT'; \
             SET @text = 'it''s', @whole = -7, @real = 1.5e10, @exact = 12345678901.0625, @nothing = NULL; \
             {insert} (@text, @exact, @real, NULL, NULL, NULL, @nothing, @text, @whole * -1); \
             INSERT INTO things (name, ratio) VALUES ('random', RAND()); \
             INSERT INTO `odd ``name` VALUES (LAST_INSERT_ID(), 1); DELETE FROM `odd ``name`; \
             LOAD DATA INFILE '{}' INTO TABLE `odd ``name`; \
             ALTER TABLE `odd ``name` ADD c INT, ADD KEY (b); TRUNCATE `odd ``name`; \
             CREATE VIEW seen AS SELECT 1 AS one; DROP VIEW seen; DROP TABLE `odd ``name`",
            load.display()
        ))
        .await;
    fs::remove_file(load).ok();
    let prepared = "XA START 'trx','branch'; INSERT INTO things (name) VALUES ('xa'); \
                    XA END 'trx','branch'; XA PREPARE 'trx','branch'; XA COMMIT 'trx','branch'";
    source.sql(&format!("USE {DATABASE}; {prepared}")).await;
    let own = match source.kind.is_mysql() {
        true => {
            "SET SESSION gtid_next = 'AUTOMATIC:tag'; INSERT INTO things (name) VALUES ('tagged'); \
             SET SESSION gtid_next = 'AUTOMATIC', SESSION binlog_transaction_compression = ON; \
             INSERT INTO things (name, note) VALUES ('packed', REPEAT('z', 2000))"
        }
        false => {
            "SET GLOBAL log_bin_compress = ON; SET SESSION gtid_domain_id = 5; \
             INSERT INTO things (name, note) VALUES ('packed', REPEAT('z', 2000)); \
             CREATE TABLE packed (a INT) COMMENT = 'A comment long enough to make the statement worth compressing, \
             which begins at a length of two hundred and fifty-six bytes, so that there must be many words that \
             say nothing at all but continue and continue until so many bytes have been reached, and then some more of them.'; \
             SET GLOBAL log_bin_compress = OFF"
        }
    };
    source.sql(&format!("USE {DATABASE}; {own}")).await;
    // What is last must be in a closed file as well.
    for _ in 0..25 {
        source
            .sql(&format!("USE {DATABASE}; {insert} {row}, {row}, {row}"))
            .await;
    }
}
