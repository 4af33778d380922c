//! The fingerprints of the transactions in a server's binlog, and statements of every kind to write some.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use binrelay::filter::Filter;
use binrelay::identity::{Fingerprint, Identity};
use binrelay::inspect::EventReader;
use binrelay::transaction::{Assembler, AssemblerOptions};

use super::servers::{Server, program};

/// Events larger than this are not expected in these tests.
const EVENT_LEN_MAX: usize = 64 * 1024 * 1024;

/// A transaction of a binlog.
#[derive(Debug, Clone)]
pub struct Logged {
    pub server_id: u32,
    pub fingerprint: Fingerprint,
    /// File and position of its end.
    pub end: String,
}

/// All transactions of a server's binlog, in order.
pub fn transactions(server: &Server) -> Vec<Logged> {
    let spool = tempfile::tempdir().expect("a temporary directory");
    let mut found = Vec::new();
    for path in server.log_files() {
        let mut reader = EventReader::open(&path, EVENT_LEN_MAX).expect("a binlog");
        reader.next_event().expect("a format description");
        let format = Arc::new(reader.format().expect("a format description").clone());
        let options = AssemblerOptions {
            source: 0,
            source_server_id: server.options.server_id,
            source_first_timestamp: 0,
            has_gtids: server.options.gtid,
            first_run: 0,
            filter: Filter::default(),
            spill_dir: spool.path().to_owned(),
            spill_size: EVENT_LEN_MAX,
        };
        let mut assembler = Assembler::new(options, format);
        assembler.start_file(path.display().to_string().into(), 4);
        while let Some(event) = reader.next_event().expect("an event") {
            if !event.header.event_type.is_control() {
                let result = assembler.event(reader.event(), event.end());
                result.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
        assert!(!assembler.is_in_transaction(), "{}", path.display());
        let Some(batch) = assembler.take_batch() else {
            continue;
        };
        for transaction in &batch.transactions {
            let Identity::Anonymous(fingerprint) = transaction.identity else {
                panic!("{}: a transaction with GTID", path.display());
            };
            found.push(Logged {
                server_id: transaction.server_id,
                fingerprint,
                end: format!("{}:{}", path.display(), transaction.source_offset),
            });
        }
    }
    found
}

/// Runs a script in the `mysql` client, which knows DELIMITER and LOAD DATA LOCAL. What a
/// statement fails with does not end it.
pub fn run_script(server: &Server, script: &str) {
    let mut client = program(server.kind, "client")
        .args(["--protocol=tcp", "--host=127.0.0.1", "--user=root"])
        .args(["--local-infile=1", "--force"])
        .arg(format!("--port={}", server.port))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the client starts");
    let mut input = client.stdin.take().expect("it was asked for");
    input.write_all(script.as_bytes()).expect("it reads");
    drop(input);
    client.wait().expect("the client can be waited for");
}

/// Statements of every kind whose logging has its own form.
pub fn cases(load_file: &str) -> String {
    CASES.replace("LOAD_FILE", load_file)
}

/// Transactions over tables with and without transactions, which a peer that logs rows splits.
pub const MIXED_ENGINES: &str = "
USE test;
BEGIN; INSERT INTO f_t (a) VALUES (9); INSERT INTO f_my (a) VALUES (7);
UPDATE f_t SET b = 'z' WHERE id < 5; COMMIT;
BEGIN; INSERT INTO f_t (a) VALUES (9); INSERT INTO f_my (a) VALUES (8); ROLLBACK;
";

/// As rows, MySQL 5.6 logs this as one transaction, and its replica as two.
pub const CREATE_SELECT: &str = "
USE test;
CREATE TABLE f_ctas AS SELECT id, a FROM f_t WHERE id < 20; INSERT INTO f_ctas VALUES (1, 2);
";

const CASES: &str = r"
SET GLOBAL local_infile = 1;
USE test;
CREATE TABLE f_t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(200), c DOUBLE) ENGINE=InnoDB;
CREATE TABLE f_u (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(200)) ENGINE=InnoDB;
CREATE TABLE f_my (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(200)) ENGINE=MyISAM;
CREATE TABLE other.f_o (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(200)) ENGINE=InnoDB;
CREATE TRIGGER f_tr AFTER INSERT ON f_u FOR EACH ROW INSERT INTO other.f_o (a, b) VALUES (NEW.a, 'of the trigger');
DELIMITER //
CREATE PROCEDURE f_p(n INT) BEGIN
  DECLARE i INT DEFAULT 0;
  WHILE i < n DO INSERT INTO f_t (a, b, c) VALUES (i, 'of the procedure', RAND()); SET i = i + 1; END WHILE;
END//
CREATE FUNCTION f_f(x INT) RETURNS INT MODIFIES SQL DATA BEGIN
  INSERT INTO f_u (a, b) VALUES (x, 'of the function'); RETURN x;
END//
DELIMITER ;
INSERT INTO f_t (a, b) VALUES (1, 'x'); INSERT INTO f_t (a, b) VALUES (1, 'x'); INSERT INTO f_t (a, b) VALUES (1, 'x');
INSERT INTO f_t (a, b) VALUES (1, 'x'); INSERT INTO f_t (a, b) VALUES (1, 'x'); INSERT INTO f_t (a, b) VALUES (1, 'x');
INSERT INTO f_t (a, c) VALUES (2, RAND());
SET @v = 'hello ¥', @n = 5, @d = 1.25, @r = 1e3, @z = NULL;
INSERT INTO f_t (a, b) VALUES (@n, @v); INSERT INTO f_t (a, b, c) VALUES (@z, @d, @r);
INSERT INTO f_t (a, b) SELECT id, REPEAT('y', 200) FROM f_t;
INSERT INTO f_t (a, b) SELECT id, REPEAT('y', 200) FROM f_t;
INSERT INTO f_t (a, b) SELECT id, REPEAT('y', 200) FROM f_t;
INSERT INTO f_t (a, b) SELECT id, REPEAT('y', 200) FROM f_t;
INSERT INTO f_u (a, b) VALUES (1, 'u'), (2, 'v');
UPDATE f_t SET b = REPEAT('w', 190) WHERE id < 100;
SELECT SLEEP(1.2);
BEGIN; INSERT INTO f_t (a) VALUES (9); SELECT SLEEP(1.2); INSERT INTO f_u (a) VALUES (LAST_INSERT_ID()); SELECT SLEEP(1.2); COMMIT;
BEGIN; INSERT INTO f_t (a) VALUES (10); SAVEPOINT s; INSERT INTO f_t (a) VALUES (11); ROLLBACK TO s; INSERT INTO f_t (a) VALUES (12); COMMIT;
INSERT INTO f_my (a, b) VALUES (1, 'myisam');
DELETE FROM f_t WHERE id > 1000000;
UPDATE f_t SET a = a WHERE id < 5;
INSERT INTO f_t (a, b) VALUES (3, UUID());
BEGIN; INSERT INTO f_t (a, b) VALUES (4, 'safe'); INSERT INTO f_t (a, b) VALUES (4, UUID()); COMMIT;
UPDATE f_t, other.f_o SET f_t.b = 'multi', f_o.b = 'multi' WHERE f_t.id = f_o.id;
INSERT INTO other.f_o (a) VALUES (4);
USE other; INSERT INTO test.f_t (a) VALUES (44); INSERT INTO f_o (a) VALUES (45); USE test;
CALL f_p(3); SELECT f_f(5); INSERT INTO f_t (a) VALUES (f_f(6));
CREATE TEMPORARY TABLE f_tmp (a INT); INSERT INTO f_tmp VALUES (1), (2); INSERT INTO f_t (a) SELECT a FROM f_tmp; DROP TEMPORARY TABLE f_tmp;
CREATE TABLE f_plain (id INT, a INT);
CREATE TABLE f_like LIKE f_plain;
LOAD DATA LOCAL INFILE 'LOAD_FILE' INTO TABLE f_t FIELDS TERMINATED BY ',' (a, b);
LOAD DATA LOCAL INFILE 'LOAD_FILE' INTO TABLE f_my FIELDS TERMINATED BY ',' (a, b);
BEGIN; INSERT INTO f_t (a) VALUES (1); LOAD DATA LOCAL INFILE 'LOAD_FILE' INTO TABLE f_t FIELDS TERMINATED BY ',' (a, b); COMMIT;
REPLACE INTO f_t (id, a) VALUES (1, 2);
INSERT INTO f_t (id, a) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = a + 1;
DELETE FROM f_u WHERE id < 5;
DELETE f_t, f_u FROM f_t JOIN f_u ON f_t.id = f_u.id;
INSERT IGNORE INTO f_t (id, a) VALUES (1, 1), (2, 2), (100001, 2);
TRUNCATE TABLE f_like; DROP TABLE f_plain, f_like; ALTER TABLE f_my ADD COLUMN z INT;
CREATE USER foo@bar; DROP USER foo@bar;
XA START 'x1'; INSERT INTO f_t (a) VALUES (77); XA END 'x1'; XA PREPARE 'x1'; XA COMMIT 'x1';
XA START 'x2'; INSERT INTO f_t (a) VALUES (78); XA END 'x2'; XA PREPARE 'x2'; XA ROLLBACK 'x2';
ANALYZE TABLE f_t; FLUSH TABLES;
CREATE EVENT f_ev ON SCHEDULE EVERY 1 DAY DO SET @a = 1;
SET timestamp = 1000000000; INSERT INTO f_t (a, b) VALUES (1, NOW()); SET timestamp = DEFAULT;
SET insert_id = 500001; INSERT INTO f_t (a) VALUES (5);
DROP TABLE IF EXISTS f_none;
/* a comment */ INSERT INTO f_t (a) VALUES (6);
 INSERT INTO f_t (a) VALUES (6);
INSERT INTO f_my (id, a) VALUES (900001, 1), (900002, 2), (900001, 3);
FLUSH LOGS;
INSERT INTO f_my (a) VALUES (1), (2), (3); DELETE FROM f_my WHERE a = 2;
";
