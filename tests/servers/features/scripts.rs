//! Scripts: statements, transactions, XA.

use super::feature::{Feature, both, mariadb};

/// Features of statements and transactions.
pub const STATEMENTS: &[Feature] = &[
    both(
        "row images full, minimal, noblob",
        r"
        SET SESSION binlog_format='ROW'
        CREATE TABLE r (id INT PRIMARY KEY, a INT, b LONGBLOB, c TEXT)
        ?SET SESSION binlog_row_image='FULL'
        INSERT INTO r VALUES (1, 1, 'b', 'c'), (2, 2, REPEAT('b', 70000), NULL)
        UPDATE r SET a = a + 1
        SET SESSION binlog_row_image='MINIMAL'
        INSERT INTO r (id, a) VALUES (3, 3), (4, 4)
        UPDATE r SET c = 'minimal' WHERE id IN (1, 3)
        DELETE FROM r WHERE id = 4
        SET SESSION binlog_row_image='NOBLOB'
        UPDATE r SET a = 9
        UPDATE r JOIN other.t SET r.b = 'joined', other.t.v = 'joined'
        DELETE FROM r WHERE id = 2",
    )
    .lacking(&[("mysql-5.5", "Unknown system variable")]),
    both(
        "row metadata full",
        r"
        SET SESSION binlog_format='ROW'
        ?SET GLOBAL binlog_row_metadata='FULL'
        CREATE TABLE m (id INT UNSIGNED PRIMARY KEY, e ENUM('x','y'), s SET('p','q'), g GEOMETRY, c CHAR(9) CHARACTER SET latin1)
        INSERT INTO m VALUES (1, 'y', 'p,q', ST_GeomFromText('POINT(1 2)'), 'abc')
        INSERT INTO other.t (v) VALUES ('x')
        UPDATE m SET e = 'x'
        SET GLOBAL binlog_row_metadata=DEFAULT",
    )
    .lacking(&[("mysql-5", "Unknown system variable")]),
    both(
        "statements with INTVAR, RAND, USER_VAR",
        r"
        SET SESSION binlog_format='STATEMENT'
        CREATE TABLE s (id INT AUTO_INCREMENT PRIMARY KEY, r DOUBLE, v VARCHAR(99), l INT)
        INSERT INTO s (r) VALUES (RAND()), (RAND())
        INSERT INTO s (v, l) SELECT v, LAST_INSERT_ID() FROM t
        SET @a = 'text', @b = 12345678901234567890, @c = -1.5e10, @d = 12.345, @n = NULL
        INSERT INTO s (v) VALUES (@a), (@b), (@c), (@d), (@n)
        SET INSERT_ID = 500
        INSERT INTO s (v) VALUES ('five hundred')
        [-mysql-5.5] SET TIMESTAMP = 1700000000.123456
        [-mysql-5.5] INSERT INTO s (v) VALUES (NOW(6)), (UNIX_TIMESTAMP())
        [mysql-5.5] SET TIMESTAMP = 1700000000
        [mysql-5.5] INSERT INTO s (v) VALUES (NOW()), (UNIX_TIMESTAMP())
        SET TIMESTAMP = DEFAULT
        USE other
        SET @a = 'dropped'
        INSERT INTO t (v) VALUES (@a), (RAND())
        USE test
        BEGIN
        INSERT INTO s (v) VALUES (@a)
        USE other
        INSERT INTO t (v) VALUES (@a), (RAND())
        USE test
        INSERT INTO s (r) VALUES (RAND())
        COMMIT",
    ),
    both(
        "time zones, character sets, sql_mode",
        r#"
        SET SESSION binlog_format='STATEMENT'
        [mysql-5.5] CREATE TABLE z (id INT PRIMARY KEY, at TIMESTAMP NULL, v VARCHAR(99) CHARACTER SET utf8mb4)
        [-mysql-5.5] CREATE TABLE z (id INT PRIMARY KEY, at TIMESTAMP(3) NULL, v VARCHAR(99) CHARACTER SET utf8mb4)
        SET time_zone = '+05:30'
        INSERT INTO z VALUES (1, '2024-02-29 12:00:00.5', 'zone')
        SET time_zone = '-03:00'
        INSERT INTO z VALUES (2, '2024-02-29 12:00:00.5', FROM_UNIXTIME(1))
        SET NAMES latin1
        INSERT INTO z VALUES (3, NULL, 'Ã¤')
        SET NAMES utf8mb4
        INSERT INTO z VALUES (4, NULL, 'ä€😀')
        SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'
        INSERT INTO "z" VALUES (5, NULL, 'a' || '\b')
        SET sql_mode = ''
        INSERT INTO z VALUES (6, '0000-00-00', "cut")
        SET collation_connection = utf8mb4_bin, lc_time_names = 'de_DE'
        INSERT INTO z VALUES (7, NULL, DATE_FORMAT('2024-03-01', '%M')), (8, NULL, 'a' = 'A')
        SET foreign_key_checks = 0, unique_checks = 0
        INSERT INTO z VALUES (9, NULL, 'unchecked')"#,
    ),
    both(
        "LOAD DATA, rows",
        r"
        SET SESSION binlog_format='ROW'
        LOAD DATA INFILE '{dir}/rows.csv' REPLACE INTO TABLE t FIELDS TERMINATED BY ','
        LOAD DATA INFILE '{dir}/rows.csv' REPLACE INTO TABLE other.t FIELDS TERMINATED BY ','",
    ),
    both(
        "LOAD DATA, statements",
        r"
        SET SESSION binlog_format='STATEMENT'
        LOAD DATA INFILE '{dir}/rows.csv' REPLACE INTO TABLE t CHARACTER SET utf8 FIELDS TERMINATED BY ',' (id, @v) SET v = CONCAT('<', @v, '>')
        USE other
        LOAD DATA INFILE '{dir}/rows.csv' REPLACE INTO TABLE t FIELDS TERMINATED BY ','
        LOAD DATA INFILE '{dir}/many.csv' INTO TABLE t FIELDS TERMINATED BY ','
        USE test
        LOAD DATA INFILE '{dir}/many.csv' INTO TABLE t FIELDS TERMINATED BY ','
        BEGIN
        LOAD DATA INFILE '{dir}/rows.csv' IGNORE INTO TABLE t FIELDS TERMINATED BY ','
        USE other
        LOAD DATA INFILE '{dir}/rows.csv' IGNORE INTO TABLE t FIELDS TERMINATED BY ','
        COMMIT",
    ),
    both(
        "triggers, procedures, functions, events, views",
        r"
        CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(99))
        CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log (v) VALUES (CONCAT('new ', NEW.id))
        CREATE PROCEDURE p(IN n INT) BEGIN INSERT INTO t (v) VALUES (n); UPDATE t SET v = CONCAT(v, '!') WHERE id = 1; END
        CREATE FUNCTION f(n INT) RETURNS INT BEGIN INSERT INTO log (v) VALUES ('f'); RETURN n + 1; END
        CREATE VIEW w AS SELECT id, v FROM t WHERE id > 1
        CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO INSERT INTO t (v) VALUES ('event')
        CREATE EVENT ended ON SCHEDULE EVERY 1 DAY DO DELETE FROM t
        CALL p(7)
        SET SESSION binlog_format='STATEMENT'
        CALL p(8)
        INSERT INTO t (v) VALUES (f(1))
        INSERT INTO w VALUES (90, 'through the view')
        SET SESSION binlog_format='ROW'
        INSERT INTO t (v) VALUES (f(2))
        ALTER EVENT e ON SCHEDULE EVERY 2 DAY
        DROP EVENT ended
        USE other
        CREATE PROCEDURE p() INSERT INTO t (v) VALUES ('p')
        CALL p()
        CREATE TRIGGER tr BEFORE DELETE ON t FOR EACH ROW SET @x = 1
        DELETE FROM t",
    ),
    both(
        "temporary tables",
        r"
        SET SESSION binlog_format='STATEMENT'
        CREATE TEMPORARY TABLE tmp (id INT, v VARCHAR(99))
        INSERT INTO tmp VALUES (10, 'tmp'), (11, 'tmp')
        !relays
        INSERT INTO t SELECT id, v FROM tmp
        CREATE TEMPORARY TABLE tmp2 LIKE tmp
        ALTER TABLE tmp ADD n INT
        DROP TEMPORARY TABLE tmp
        USE other
        CREATE TEMPORARY TABLE tmp (id INT)
        !close 1
        INSERT INTO test.t VALUES (12, 'after')",
    ),
    both(
        "base tables with the names of temporary ones",
        r"
        SET SESSION binlog_format='STATEMENT'
        CREATE TEMPORARY TABLE tmp (id INT, v VARCHAR(99))
        INSERT INTO tmp VALUES (10, 'tmp')
        CREATE TEMPORARY TABLE u (id INT)
        CREATE TABLE u (id INT PRIMARY KEY, v VARCHAR(99))
        @2 USE test
        @2 INSERT INTO u VALUES (1, 'another session')
        @2 RENAME TABLE u TO w
        INSERT INTO t SELECT id, v FROM tmp
        INSERT INTO u VALUES (2)
        INSERT INTO t SELECT id + 20, 'u' FROM u",
    ),
    mariadb(
        "temporary tables that are renamed",
        r"
        SET SESSION binlog_format='STATEMENT'
        CREATE TEMPORARY TABLE tmp (id INT, v VARCHAR(99))
        INSERT INTO tmp VALUES (10, 'tmp')
        CREATE TABLE base (id INT)
        CREATE TEMPORARY TABLE base (id INT, v INT)
        RENAME TABLE base TO u, u TO base
        RENAME TABLE base TO u, base TO w
        INSERT INTO w VALUES (1)
        INSERT INTO u VALUES (30, 1)
        CREATE TABLE base (id INT)
        INSERT INTO base VALUES (2)
        INSERT INTO t SELECT id, v FROM tmp
        INSERT INTO t SELECT id, 'u' FROM u",
    ),
    both(
        "savepoints and rollbacks",
        r"
        SET SESSION binlog_format='ROW'
        CREATE TABLE my (id INT) ENGINE=MyISAM
        BEGIN
        INSERT INTO t VALUES (10, 'kept')
        SAVEPOINT `a b`
        INSERT INTO other.t VALUES (10, 'kept')
        ROLLBACK TO `a b`
        INSERT INTO t VALUES (11, 'kept')
        SAVEPOINT c
        RELEASE SAVEPOINT c
        COMMIT
        SET SESSION binlog_format='STATEMENT'
        BEGIN
        SAVEPOINT s
        INSERT INTO t VALUES (12, 'back')
        ROLLBACK TO s
        INSERT INTO t VALUES (13, 'kept')
        COMMIT
        USE other
        BEGIN
        SAVEPOINT s
        INSERT INTO t VALUES (12, 'back')
        ROLLBACK TO s
        COMMIT",
    ),
    both(
        "multi-table and cross-database changes",
        r"
        SET SESSION binlog_format='ROW'
        CREATE TABLE a (id INT PRIMARY KEY, v INT)
        CREATE TABLE b (id INT PRIMARY KEY, v INT)
        USE other
        CREATE TABLE c (id INT PRIMARY KEY, v INT)
        USE test
        INSERT INTO a VALUES (1,1),(2,2),(3,3)
        INSERT INTO b VALUES (1,1),(2,2),(3,3)
        INSERT INTO other.c VALUES (1,1),(2,2),(3,3)
        UPDATE a JOIN b USING (id) SET a.v = 10, b.v = 20
        USE other
        CREATE TABLE d LIKE t
        CREATE TABLE c2 (id INT PRIMARY KEY, v INT)
        INSERT INTO c2 VALUES (1,1),(2,2)
        UPDATE c2 JOIN test.a USING (id) SET c2.v = 5, a.v = 6
        UPDATE test.b JOIN c2 USING (id) SET b.v = 7, c2.v = 8
        DELETE test.a, c2 FROM test.a JOIN c2 USING (id) WHERE a.id = 1
        INSERT INTO test.a SELECT id + 50, v FROM c2
        REPLACE INTO test.b VALUES (3, 33), (4, 44)
        INSERT INTO test.b VALUES (3, 0) ON DUPLICATE KEY UPDATE v = v + 1
        USE test
        SET SESSION binlog_format='STATEMENT'
        UPDATE a JOIN b USING (id) SET a.v = 100, b.v = 200
        DELETE a, b FROM a JOIN b USING (id) WHERE a.id = 2",
    ),
    both(
        "foreign keys with cascades",
        r"
        CREATE TABLE p (id INT PRIMARY KEY)
        CREATE TABLE k (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)
        INSERT INTO p VALUES (1), (2), (3)
        INSERT INTO k VALUES (1, 1), (2, 2), (3, 3)
        SET SESSION binlog_format='ROW'
        DELETE FROM p WHERE id = 1
        UPDATE p SET id = 20 WHERE id = 2
        SET SESSION binlog_format='STATEMENT'
        DELETE FROM p WHERE id = 3
        INSERT INTO p VALUES (4), (5), (6)
        USE other
        CREATE TABLE k (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES test.p (id) ON DELETE CASCADE)
        USE test
        CREATE TABLE k2 (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE SET NULL)
        INSERT INTO k2 VALUES (4, 4), (5, 5), (6, 6)
        SET SESSION binlog_format='ROW'
        INSERT INTO other.k VALUES (4, 4), (5, 5)
        SET SESSION binlog_format='STATEMENT'
        DELETE FROM p WHERE id = 4
        SET SESSION binlog_format='ROW'
        DELETE FROM p WHERE id = 5
        USE other
        DROP TABLE k",
    ),
    both(
        "XA: prepare, restart, commit by another session",
        r"
        SET SESSION binlog_format='ROW'
        @2 USE test
        @2 XA START 'x1', 'b', 7
        @2 INSERT INTO t VALUES (10, 'prepared')
        @2 XA END 'x1', 'b', 7
        @2 XA PREPARE 'x1', 'b', 7
        !close 2
        INSERT INTO t VALUES (11, 'between')
        INSERT INTO other.t VALUES (11, 'between')
        FLUSH BINARY LOGS
        !relays
        INSERT INTO t VALUES (12, 'between')
        ?XA COMMIT 'x1', 'b', 7",
    )
    // They roll back what a client prepared that goes away, and log no PREPARE.
    .lacking(&[("mysql-5.5", "XAER_NOTA"), ("mysql-5.6", "XAER_NOTA")]),
    both(
        "XA: rollback, one phase, two at once",
        r"
        @2 USE test
        @2 XA START 'x2'
        @2 INSERT INTO t VALUES (20, 'two')
        @2 XA END 'x2'
        @2 XA PREPARE 'x2'
        @3 USE test
        @3 SET SESSION binlog_format='ROW'
        @3 XA START 'x3'
        @3 INSERT INTO t VALUES (30, 'three')
        @3 INSERT INTO other.t VALUES (30, 'three')
        @3 XA END 'x3'
        @3 XA PREPARE 'x3'
        XA START X'0001ff', 'q'
        INSERT INTO t VALUES (21, 'one phase')
        XA END X'0001ff', 'q'
        XA COMMIT X'0001ff', 'q' ONE PHASE
        @2 XA ROLLBACK 'x2'
        !relays kill
        @3 XA COMMIT 'x3'",
    ),
];
