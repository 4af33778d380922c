//! What drivers, consoles and further monitoring tools send when they connect and when they look around.

use super::rule::Rule::{self, Alike, Equal, FirstColumns, Here, NoRowsHere};

pub const STATEMENTS: &[(&str, Rule)] = &[
    // The mysql client, mycli, Workbench
    ("select @@version_comment limit 1", Alike),
    ("select DATABASE(), USER() limit 1", Alike),
    ("SELECT DATABASE()", Equal),
    ("SELECT CURRENT_USER()", Alike),
    ("SELECT USER()", Alike),
    (
        "SHOW SESSION VARIABLES LIKE 'lower_case_table_names'",
        Alike,
    ),
    ("SHOW SESSION VARIABLES LIKE 'sql_mode'", Alike),
    (
        "SHOW SESSION STATUS LIKE 'Ssl_cipher'",
        NoRowsHere("the relay does not show it"),
    ),
    (
        "SHOW VARIABLES WHERE Variable_name IN ('version', 'port')",
        Alike,
    ),
    (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        Equal,
    ),
    ("SET autocommit=1", Equal),
    // mysqldump and mariadb-dump
    (
        "SET SESSION NET_READ_TIMEOUT= 86400, SESSION NET_WRITE_TIMEOUT= 86400",
        Equal,
    ),
    ("SET NAMES utf8mb4", Equal),
    ("SET CHARACTER SET utf8mb4", Equal),
    ("SET SQL_SAFE_UPDATES=1", Equal),
    ("SET SESSION wait_timeout = 2147483", Equal),
    ("/*!40103 SET TIME_ZONE='+00:00' */", Equal),
    (
        "START TRANSACTION /*!40108 WITH CONSISTENT SNAPSHOT */",
        Equal,
    ),
    ("ROLLBACK", Equal),
    ("SHOW WARNINGS", Alike),
    ("SELECT @@default_master_connection", Alike),
    ("SELECT @@tokudb_version", Equal),
    ("SELECT @@global.relay_log_purge AS Value", Alike),
    // Databases and tables
    ("SHOW DATABASES", Alike),
    ("SHOW SCHEMAS", Alike),
    ("SHOW DATABASES LIKE 'information%'", Equal),
    ("SHOW TABLES", Equal),
    ("SHOW TABLES FROM nosuch", Equal),
    ("SHOW TABLES FROM `nosuch` LIKE 'checksums'", Equal),
    ("SHOW FULL TABLES FROM nosuch", Equal),
    (
        "SHOW FULL TABLES FROM information_schema LIKE 'PROCESSLIST'",
        Equal,
    ),
    ("SHOW TABLE STATUS", Equal),
    ("SHOW TABLE STATUS FROM nosuch", Equal),
    ("SHOW TRIGGERS FROM nosuch", Equal),
    ("SHOW COLUMNS FROM nosuch", Equal),
    ("SHOW INDEX FROM nosuch", Equal),
    ("SHOW CREATE TABLE nosuch", Equal),
    ("SHOW CREATE DATABASE nosuch", Equal),
    ("DESCRIBE nosuch", Equal),
    ("DESC mysql.nosuch", Equal),
    ("USE nosuch", Equal),
    // Drivers
    ("SHOW COLLATION", Alike),
    ("SHOW COLLATION WHERE Collation = 'binary'", Alike),
    ("SHOW CHARACTER SET", Alike),
    ("SHOW CHARSET LIKE 'binary'", Equal),
    ("SELECT @@max_allowed_packet, @@wait_timeout", Alike),
    (
        "SELECT @@max_allowed_packet,@@system_time_zone,@@time_zone,@@auto_increment_increment",
        Alike,
    ),
    (
        "/* mysql-connector-java */SELECT @@session.auto_increment_increment AS auto_increment_increment, \
         @@character_set_client AS character_set_client, @@character_set_connection AS character_set_connection, \
         @@character_set_results AS character_set_results, @@character_set_server AS character_set_server, \
         @@collation_server AS collation_server, @@collation_connection AS collation_connection, @@init_connect \
         AS init_connect, @@interactive_timeout AS interactive_timeout, @@license AS license, \
         @@lower_case_table_names AS lower_case_table_names, @@max_allowed_packet AS max_allowed_packet, \
         @@net_write_timeout AS net_write_timeout, @@sql_mode AS sql_mode, @@system_time_zone AS \
         system_time_zone, @@time_zone AS time_zone, @@wait_timeout AS wait_timeout",
        Alike,
    ),
    ("SELECT @@session.tx_isolation", Alike),
    ("SELECT @@session.transaction_read_only", Alike),
    ("SELECT CONNECTION_ID()", Alike),
    ("SELECT 1", Equal),
    ("DO 1", Equal),
    // Monitoring
    (
        "SELECT COALESCE(command,''),COALESCE(state,''),count(*) FROM information_schema.processlist WHERE ID != \
         connection_id() AND 1 = 0 GROUP BY command,state ORDER BY null",
        Alike,
    ),
    (
        "SELECT * FROM information_schema.processlist WHERE command LIKE '%nothing%'",
        FirstColumns("MariaDB has more columns"),
    ),
    (
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'nobody'",
        Equal,
    ),
    (
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Questions')",
        Alike,
    ),
    ("SHOW GLOBAL VARIABLES LIKE 'read_only'", Alike),
    ("SHOW GLOBAL VARIABLES LIKE 'gtid_mode'", Alike),
    (
        "SHOW STATUS LIKE 'wsrep%'",
        NoRowsHere("MariaDB shows them; the relay is not a node of a cluster"),
    ),
    (
        "SHOW VARIABLES LIKE 'wsrep_on'",
        NoRowsHere("MariaDB shows it; the relay is not a node of a cluster"),
    ),
    (
        "SHOW GLOBAL VARIABLES LIKE 'group_replication%'",
        NoRowsHere(
            "MySQL 8 and later show one without the plug-in; the relay is not a member of a group",
        ),
    ),
    (
        "SELECT plugin_status FROM information_schema.plugins WHERE plugin_name = 'group_replication'",
        Alike,
    ),
    (
        "SELECT channel_name FROM performance_schema.replication_connection_status",
        Here(
            1146,
            "the relay has no performance_schema; MariaDB and MySQL 5.6 do not have this table",
        ),
    ),
];
