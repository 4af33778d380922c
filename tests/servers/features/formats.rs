//! Scripts: DDL and the forms of events.

use super::feature::{Feature, both, mariadb, mysql};

/// Features of DDL and of the forms of events.
pub const FORMATS: &[Feature] = &[
    both(
        "CREATE TABLE … SELECT",
        r"
        SET SESSION binlog_format='ROW'
        ?CREATE TABLE c1 SELECT * FROM t
        CREATE TABLE c2 (k INT PRIMARY KEY) SELECT id AS k, v FROM other.t
        USE other
        CREATE TABLE c5 SELECT * FROM test.t
        USE test
        SET SESSION binlog_format='STATEMENT'
        CREATE TABLE c6 SELECT * FROM t",
    )
    .lacking(&[
        ("mysql-5.6", "CREATE TABLE ... SELECT is forbidden"),
        ("mysql-5.7", "CREATE TABLE ... SELECT"),
    ]),
    both(
        "DDL",
        r"
        CREATE TABLE c3 LIKE t
        CREATE TABLE d1 (id INT PRIMARY KEY, v INT)
        CREATE TABLE d2 (id INT PRIMARY KEY)
        CREATE TABLE d3 (id INT) PARTITION BY HASH (id) PARTITIONS 3
        RENAME TABLE d1 TO d4, d2 TO d1
        CREATE INDEX i ON d4 (v)
        ALTER TABLE d4 ADD w INT DEFAULT 5, RENAME TO d5
        ALTER TABLE d3 ADD PARTITION PARTITIONS 1
        TRUNCATE TABLE t
        INSERT INTO t VALUES (1, 'again')
        DROP TABLE d1, d3
        CREATE TABLE IF NOT EXISTS d5 (x INT)
        DROP TABLE IF EXISTS d1
        ALTER DATABASE test CHARACTER SET latin1
        ANALYZE TABLE t
        OPTIMIZE TABLE t
        USE other
        ALTER TABLE t ADD w INT
        CREATE TABLE u (id INT)
        DROP TABLE t",
    ),
    both(
        "DDL and a killed master",
        r"
        CREATE TABLE k1 (id INT PRIMARY KEY)
        CREATE TABLE k2 (id INT PRIMARY KEY)
        INSERT INTO k1 VALUES (1)
        ALTER TABLE k1 ADD v INT
        !kill
        USE test
        RENAME TABLE k1 TO k3, k2 TO k1
        DROP TABLE k1, t
        !kill
        INSERT INTO test.k3 VALUES (2, 2)
        USE other
        DROP TABLE t
        CREATE TABLE k4 (id INT)",
    ),
    mariadb(
        "CREATE OR REPLACE, sequences, system versioning",
        r"
        CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))
        CREATE OR REPLACE TABLE t AS SELECT 5 AS id, 'five' AS v
        CREATE SEQUENCE s START WITH 5
        INSERT INTO t VALUES (NEXT VALUE FOR s, 'next')
        CREATE TABLE h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING
        INSERT INTO h VALUES (1)
        SET SESSION binlog_format='ROW'
        DELETE FROM h
        INSERT INTO t SELECT NEXTVAL(s), 'row'
        USE other
        CREATE SEQUENCE s
        SELECT NEXTVAL(s)
        INSERT INTO t VALUES (NEXTVAL(s), 'x')",
    ),
    both(
        "large rows and events over 16 MiB",
        r"
        SET SESSION binlog_format='ROW'
        [-mysql-5.5 mysql-5.6] CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)
        [mysql-5.5 mysql-5.6] CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB) ENGINE=MyISAM
        USE other
        CREATE TABLE big LIKE test.big
        USE test
        INSERT INTO big VALUES (1, REPEAT('a', 20 << 20))
        INSERT INTO other.big SELECT * FROM big
        [-mysql-5.5 mysql-5.6] BEGIN
        INSERT INTO other.big VALUES (2, REPEAT('c', 9 << 20)), (3, REPEAT('d', 9 << 20))
        INSERT INTO big VALUES (2, REPEAT('e', 17 << 20))
        UPDATE big JOIN other.big AS o USING (id) SET big.b = 'short', o.b = 'short'
        [-mysql-5.5 mysql-5.6] COMMIT
        SET SESSION binlog_format='STATEMENT'
        SET @b = REPEAT('f', 17 << 20)
        INSERT INTO big VALUES (4, @b)
        USE other
        INSERT INTO big VALUES (4, @b)",
    ),
    mysql(
        "JSON and partial updates of it",
        r#"
        SET SESSION binlog_format='ROW'
        ?CREATE TABLE j (id INT PRIMARY KEY, j JSON)
        USE other
        CREATE TABLE j LIKE test.j
        USE test
        INSERT INTO j VALUES (1, JSON_OBJECT('a', 1, 'b', REPEAT('x', 1000))), (2, '[1, 2, 3]')
        INSERT INTO other.j SELECT * FROM j
        [-mysql-5.7] ?SET SESSION binlog_row_value_options='PARTIAL_JSON'
        SET SESSION binlog_row_image='MINIMAL'
        UPDATE j SET j = JSON_SET(j, '$.a', 2) WHERE id = 1
        UPDATE j JOIN other.j AS o USING (id) SET j.j = JSON_REMOVE(j.j, '$[1]'), o.j = JSON_SET(o.j, '$.a', 5)"#,
    )
    .lacking(&[
        ("mysql-5.5", "SQL syntax"),
        ("mysql-5.6", "SQL syntax"),
    ]),
    both(
        "generated columns",
        r"
        SET SESSION binlog_format='ROW'
        ?CREATE TABLE g (id INT PRIMARY KEY, a INT, b INT AS (a * 2) STORED, c INT AS (a + 1) VIRTUAL, KEY (b))
        USE other
        CREATE TABLE g LIKE test.g
        USE test
        INSERT INTO g (id, a) VALUES (1, 1), (2, 2), (3, 3)
        INSERT INTO other.g (id, a) VALUES (1, 1)
        UPDATE g SET a = 5 WHERE b = 2
        SET SESSION binlog_row_image='MINIMAL'
        UPDATE g JOIN other.g AS o USING (id) SET g.a = 7, o.a = 8
        DELETE FROM g WHERE c = 3
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO g (id, a) SELECT id + 10, b FROM g
        ALTER TABLE g DROP c, ADD d VARCHAR(9) AS (CONCAT('<', a, '>')) VIRTUAL
        SET SESSION binlog_format='ROW'
        UPDATE g SET a = a + 1",
    )
    .lacking(&[("mysql-5.5", "SQL syntax"), ("mysql-5.6", "SQL syntax")]),
    mysql(
        "ROWS_QUERY",
        r"
        SET SESSION binlog_format='ROW'
        ?SET SESSION binlog_rows_query_log_events=1
        INSERT INTO t VALUES (10, 'query')
        INSERT INTO other.t VALUES (10, 'query')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'q', o.v = 'q'",
    )
    .lacking(&[("mysql-5.5", "Unknown system variable")]),
    mariadb(
        "ANNOTATE_ROWS",
        r"
        SET SESSION binlog_format='ROW'
        SET SESSION binlog_annotate_row_events=1
        INSERT INTO t VALUES (10, 'query')
        INSERT INTO other.t VALUES (10, 'query')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'q', o.v = 'q'
        SET SESSION binlog_annotate_row_events=0
        INSERT INTO t VALUES (11, 'none')",
    ),
    mysql(
        "binlog_transaction_compression",
        r"
        SET SESSION binlog_format='ROW'
        ?SET SESSION binlog_transaction_compression=ON
        INSERT INTO t VALUES (10, 'kept')
        INSERT INTO other.t VALUES (10, 'dropped')
        BEGIN
        INSERT INTO t VALUES (11, 'kept')
        INSERT INTO other.t VALUES (11, 'dropped')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'q', o.v = 'q'
        COMMIT
        CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)
        BEGIN
        INSERT INTO big VALUES (1, REPEAT('a', 20 << 20)), (2, REPEAT('b', 3 << 20))
        INSERT INTO other.t SELECT NULL, REPEAT('x', 150) FROM information_schema.columns LIMIT 1000
        INSERT INTO t SELECT NULL, REPEAT('x', 150) FROM information_schema.columns LIMIT 1000
        COMMIT
        UPDATE big SET b = RANDOM_BYTES(1024)
        SET SESSION binlog_transaction_compression_level_zstd=22
        UPDATE big SET b = 'none'
        SET SESSION binlog_rows_query_log_events=1
        UPDATE other.t AS o JOIN big ON o.id = big.id SET big.b = 'short', o.v = 'short'
        @2 USE test
        @2 SET SESSION binlog_transaction_compression=ON
        @2 XA START 'zx'
        @2 INSERT INTO t VALUES (5000, 'prepared')
        @2 INSERT INTO other.t VALUES (5000, 'prepared')
        @2 XA END 'zx'
        @2 XA PREPARE 'zx'
        @2 XA COMMIT 'zx'",
    )
    .lacking(&[("mysql-5", "Unknown system variable")]),
    mariadb(
        "log_bin_compress",
        r"
        SET GLOBAL log_bin_compress=ON, log_bin_compress_min_len=10
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO t VALUES (10, 'a statement that is longer than ten bytes')
        SET @v = 'other'
        USE other
        INSERT INTO t VALUES (10, @v)
        SET SESSION binlog_format='ROW'
        INSERT INTO test.t VALUES (11, REPEAT('r', 190)), (12, 'r')
        INSERT INTO t VALUES (11, REPEAT('r', 190))
        UPDATE test.t JOIN t AS o USING (id) SET test.t.v = 'q', o.v = REPEAT('q', 99)
        CREATE TABLE ddl_that_is_compressed (id INT)
        USE test
        CREATE TABLE ddl_that_is_compressed (id INT)
        DELETE FROM t WHERE id = 12
        SET GLOBAL log_bin_compress=OFF, log_bin_compress_min_len=256",
    ),
    mariadb(
        "two-phase ALTER",
        r"
        ?SET SESSION binlog_alter_two_phase=1
        ALTER TABLE t ADD n INT DEFAULT 3
        FLUSH BINARY LOGS
        USE other
        ALTER TABLE t ADD m INT, ALGORITHM=COPY
        ALTER TABLE test.t ADD m INT
        USE test
        ALTER TABLE t ADD k INT, ALGORITHM=COPY
        INSERT INTO t (id, v) VALUES (20, 'after')",
    )
    .lacking(&[("mariadb-10.5", "Unknown system variable")]),
    mariadb(
        "transactions over binlog_large_commit_threshold",
        r"
        ?SET GLOBAL binlog_large_commit_threshold=10485760
        SET SESSION binlog_format='ROW'
        CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)
        BEGIN
        INSERT INTO big VALUES (1, REPEAT('a', 9 << 20))
        INSERT INTO other.t VALUES (2, 'dropped')
        INSERT INTO big VALUES (2, REPEAT('b', 9 << 20))
        COMMIT
        INSERT INTO t VALUES (10, 'behind it')
        BEGIN
        INSERT INTO big VALUES (3, REPEAT('c', 9 << 20))
        INSERT INTO big VALUES (4, REPEAT('d', 9 << 20))
        COMMIT
        !relays
        INSERT INTO t VALUES (11, 'behind it')
        SET GLOBAL binlog_large_commit_threshold=DEFAULT",
    )
    .lacking(&[
        ("mariadb-10.5", "Unknown system variable"),
        ("mariadb-10.11", "Unknown system variable"),
    ]),
    mysql(
        "tagged GTIDs",
        r"
        ?SET GTID_NEXT='AUTOMATIC:blue'
        INSERT INTO t VALUES (10, 'blue')
        INSERT INTO other.t VALUES (10, 'blue')
        SET GTID_NEXT='AUTOMATIC:a_longer_tag_of_32_characters_xx'
        CREATE TABLE tagged (id INT)
        USE other
        CREATE TABLE tagged (id INT)
        SET GTID_NEXT='AUTOMATIC'
        INSERT INTO test.t VALUES (11, 'plain')",
    )
    .lacking(&[
        ("mysql-5.5", "Unknown system variable"),
        ("mysql-5.6", "Variable 'gtid_next' can't be set"),
        ("mysql-5.7", "Malformed GTID specification"),
    ]),
];
