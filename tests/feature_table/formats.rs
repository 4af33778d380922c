//! What is tried, as scripts: DDL, forms of events, what surrounds them.

use super::scripts::{Feature, both, mariadb, mysql};

/// What is in DDL, in the forms of events, and around them.
pub const FORMATS: &[Feature] = &[
    both(
        "CREATE TABLE … SELECT and LIKE",
        r"
        SET SESSION binlog_format='ROW'
        CREATE TABLE c1 SELECT * FROM t
        CREATE TABLE c2 (k INT PRIMARY KEY) SELECT id AS k, v FROM other.t
        CREATE TABLE c3 LIKE t
        USE other
        CREATE TABLE c5 SELECT * FROM test.t
        USE test
        SET SESSION binlog_format='STATEMENT'
        CREATE TABLE c6 SELECT * FROM t",
    ),
    both(
        "atomic DDL",
        r"
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
        CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)
        USE other
        CREATE TABLE big LIKE test.big
        USE test
        INSERT INTO big VALUES (1, REPEAT('a', 20 << 20))
        INSERT INTO other.big SELECT * FROM big
        BEGIN
        INSERT INTO other.big VALUES (2, REPEAT('c', 9 << 20)), (3, REPEAT('d', 9 << 20))
        INSERT INTO big VALUES (2, REPEAT('e', 17 << 20))
        UPDATE big JOIN other.big AS o USING (id) SET big.b = 'short', o.b = 'short'
        COMMIT
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
        ?SET SESSION binlog_row_value_options='PARTIAL_JSON'
        SET SESSION binlog_row_image='MINIMAL'
        UPDATE j SET j = JSON_SET(j, '$.a', 2) WHERE id = 1
        UPDATE j JOIN other.j AS o USING (id) SET j.j = JSON_REMOVE(j.j, '$[1]'), o.j = JSON_SET(o.j, '$.a', 5)"#,
    ),
    mysql(
        "ROWS_QUERY",
        r"
        SET SESSION binlog_format='ROW'
        ?SET SESSION binlog_rows_query_log_events=1
        INSERT INTO t VALUES (10, 'query')
        INSERT INTO other.t VALUES (10, 'query')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'q', o.v = 'q'",
    ),
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
    ),
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
    ),
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
    ),
    both(
        "checksums switched while running",
        r"
        SET SESSION binlog_format='ROW'
        SET GLOBAL binlog_checksum=NONE
        INSERT INTO t VALUES (10, 'none')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'q', o.v = 'q'
        !relays
        INSERT INTO t SELECT NULL, REPEAT('x', 150) FROM information_schema.columns LIMIT 1000
        CREATE TABLE n (id INT)
        USE other
        CREATE TABLE n (id INT)
        SET GLOBAL binlog_checksum=CRC32
        INSERT INTO test.t VALUES (20000, 'crc32')",
    ),
    both(
        "FLUSH LOGS, GRANT and other administration",
        r"
        FLUSH LOGS
        CREATE USER featone@localhost IDENTIFIED BY 'Secret-1'
        GRANT SELECT ON test.* TO featone@localhost
        FLUSH TABLES t
        FLUSH PRIVILEGES
        CREATE USER feattwo@localhost
        DROP USER feattwo@localhost
        USE other
        CREATE USER featthree@localhost
        SET PASSWORD FOR featthree@localhost = ''
        FLUSH BINARY LOGS
        INSERT INTO test.t VALUES (10, 'after')
        USE test
        DROP USER featone@localhost
        USE other
        DROP USER featthree@localhost",
    ),
    both(
        "the master restarts",
        r"
        INSERT INTO t VALUES (10, 'before')
        !master
        INSERT INTO test.t VALUES (11, 'after')
        !relays kill
        INSERT INTO test.t VALUES (12, 'after')
        INSERT INTO other.t VALUES (12, 'after')",
    ),
    mysql(
        "binlog_encryption",
        r"
        ?SET GLOBAL binlog_encryption=ON
        INSERT INTO t VALUES (10, 'encrypted')
        !relays
        INSERT INTO t VALUES (11, 'encrypted')
        SET GLOBAL binlog_encryption=OFF",
    ),
    mariadb(
        "encrypt_binlog",
        r"
        ?!master --plugin-load-add=file_key_management --file-key-management-filename={dir}/keys --encrypt-binlog=ON
        USE test
        SET SESSION binlog_format='ROW'
        INSERT INTO t VALUES (10, 'encrypted')
        !relays
        INSERT INTO t VALUES (11, 'encrypted')
        INSERT INTO other.t VALUES (11, 'encrypted')
        FLUSH BINARY LOGS
        INSERT INTO t VALUES (12, 'encrypted')
        !wait
        !master --plugin-load-add=file_key_management --file-key-management-filename={dir}/keys",
    ),
    both(
        "odd names",
        r#"
        CREATE DATABASE `{odd}`
        CREATE DATABASE `odd-näme`
        USE `odd-näme`
        CREATE TABLE `t` (id INT)
        USE `{odd}`
        CREATE TABLE `tä"ble -- ``x` (`cö l'` INT PRIMARY KEY, `select` VARCHAR(9))
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO `tä"ble -- ``x` VALUES (1, 'ä')
        SET SESSION binlog_format='ROW'
        INSERT INTO `tä"ble -- ``x` VALUES (2, 'ñ')
        INSERT INTO `odd-näme`.`t` VALUES (1)
        CREATE USER 'feat ü''"x'@'%'
        CREATE VIEW `v-1` AS SELECT `cö l'` FROM `tä"ble -- ``x`
        DROP USER 'feat ü''"x'@'%'
        USE `odd-näme`
        INSERT INTO t VALUES (2)
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO t VALUES (3)
        DROP DATABASE `odd-näme`"#,
    ),
];
