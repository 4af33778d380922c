//! Scripts: how servers are run and administered.

use super::feature::{Feature, both, mariadb, mysql};

/// Features around events: checksums, restarts, encryption, accounts, incidents.
pub const OPERATION: &[Feature] = &[
    both(
        "checksums switched while running",
        r"
        SET SESSION binlog_format='ROW'
        ?SET GLOBAL binlog_checksum=NONE
        INSERT INTO t VALUES (10, 'none')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'q', o.v = 'q'
        !relays
        INSERT INTO t SELECT NULL, REPEAT('x', 150) FROM information_schema.columns LIMIT 1000
        CREATE TABLE n (id INT)
        USE other
        CREATE TABLE n (id INT)
        SET GLOBAL binlog_checksum=CRC32
        INSERT INTO test.t VALUES (20000, 'crc32')",
    )
    .lacking(&[("mysql-5.5", "Unknown system variable")]),
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
        INSERT INTO other.t VALUES (11, 'encrypted')
        ALTER INSTANCE ROTATE BINLOG MASTER KEY
        INSERT INTO t VALUES (12, 'another key')
        !master --binlog-encryption=ON
        INSERT INTO test.t VALUES (13, 'encrypted')
        SET GLOBAL binlog_encryption=OFF",
    )
    .lacking(&[("mysql-5", "Unknown system variable")]),
    mariadb(
        "encrypt_binlog",
        r"
        !master --plugin-load-add=file_key_management --file-key-management-filename={dir}/keys --encrypt-binlog=ON
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
        CREATE VIEW `v-1` AS SELECT `cö l'` FROM `tä"ble -- ``x`
        USE `odd-näme`
        INSERT INTO t VALUES (2)
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO t VALUES (3)
        DROP DATABASE `odd-näme`"#,
    ),
    both(
        "odd names of users, grants, definers",
        r#"
        CREATE USER 'feat ü''"x'@'%' IDENTIFIED BY 'Secret-1 '' "ü'
        CREATE USER 'feat d-ö'@'10.0.0.0/255.0.0.0'
        GRANT SELECT, EXECUTE ON `test`.* TO 'feat ü''"x'@'%'
        CREATE TABLE `p-ö` (id INT PRIMARY KEY)
        GRANT UPDATE (id) ON `p-ö` TO 'feat ü''"x'@'%'
        CREATE DEFINER='feat ü''"x'@'%' PROCEDURE `p "ö"`(n INT) SQL SECURITY INVOKER INSERT INTO `p-ö` VALUES (n)
        CREATE DEFINER='feat ü''"x'@'%' VIEW `v-ö` AS SELECT id FROM t
        CREATE DEFINER='feat ü''"x'@'%' EVENT `e-ö` ON SCHEDULE EVERY 1 DAY DO SELECT 1
        CALL `p "ö"`(1)
        SET SESSION binlog_format='STATEMENT'
        CALL `p "ö"`(2)
        RENAME USER 'feat d-ö'@'10.0.0.0/255.0.0.0' TO 'feat "e"'@'localhost'
        USE other
        GRANT INSERT ON `test`.* TO 'feat "e"'@'localhost'
        CREATE USER 'feat o-ö'@'localhost'
        USE test
        GRANT DELETE ON `test`.* TO 'feat "e"'@'localhost' WITH GRANT OPTION
        REVOKE EXECUTE ON `test`.* FROM 'feat ü''"x'@'%'
        DROP USER 'feat "e"'@'localhost'
        USE other
        DROP USER 'feat o-ö'@'localhost'"#,
    ),
    both(
        // Nothing may follow it: a source that is refused stays so.
        "INCIDENT: events are lost",
        r"
        CREATE TABLE my (id INT, v VARCHAR(200)) ENGINE=MyISAM
        SET GLOBAL max_binlog_stmt_cache_size=4096
        SET GLOBAL binlog_stmt_cache_size=4096
        @2 USE test
        @2 SET SESSION binlog_format='ROW'
        !wait
        ~1705 @2 INSERT INTO my SELECT 1, REPEAT('x', 190) FROM information_schema.columns LIMIT 400
        [mysql-9.7] !stopped 13119
        [mysql-5.5 mysql-5.7] !stopped 1590
        [-mysql-9.7 mysql-5.5 mysql-5.7] !reference stopped 1590
        SET GLOBAL max_binlog_stmt_cache_size=DEFAULT
        SET GLOBAL binlog_stmt_cache_size=DEFAULT
        DROP TABLE my
        INSERT INTO t VALUES (10, 'behind it')",
    )
    .refused(&[
        ("mysql-5.6", "the source lost changes that its binlog should hold here (Incident event 1: error writing"),
        ("mariadb", "the source lost changes that its binlog should hold here (Incident event 1: error writing"),
    ]),
];
