//! The statements, and where the relay may differ from a server.

use super::rule::Rule::{
    self, Alike, AlikeWhereKnown, Equal, Here, Instead, NoRowsHere, NoRowsHereWhereKnown,
};

const NO_REPLICA: &str = "the relay is the server's replica, and has none itself";

pub const STATEMENTS: &[(&str, Rule)] = &[
    // SHOW
    ("SHOW SLAVE STATUS", AlikeWhereKnown),
    ("SHOW REPLICA STATUS", AlikeWhereKnown),
    ("SHOW ALL SLAVES STATUS", Alike),
    ("SHOW ALL REPLICAS STATUS", AlikeWhereKnown),
    ("SHOW SLAVE STATUS NONBLOCKING", Alike),
    ("SHOW SLAVE STATUS NOLOCK", Alike),
    ("SHOW SLAVE 'nope' STATUS", AlikeWhereKnown),
    ("SHOW REPLICA STATUS FOR CHANNEL 'nope'", AlikeWhereKnown),
    ("SHOW MASTER STATUS", AlikeWhereKnown),
    ("SHOW BINARY LOG STATUS", AlikeWhereKnown),
    ("SHOW BINLOG STATUS", AlikeWhereKnown),
    ("SHOW BINARY LOGS", Alike),
    ("SHOW SLAVE HOSTS", NoRowsHereWhereKnown(NO_REPLICA)),
    ("SHOW REPLICAS", NoRowsHereWhereKnown(NO_REPLICA)),
    ("SHOW ENGINES", Alike),
    ("SHOW PLUGINS", NoRowsHere("the relay has no plug-ins")),
    ("SHOW ENGINE INNODB STATUS", Alike),
    ("SHOW PROCESSLIST", Alike),
    ("SHOW FULL PROCESSLIST", Alike),
    ("SHOW GLOBAL STATUS", Alike),
    ("SHOW /*!50002 GLOBAL */ STATUS", Alike),
    ("SHOW GLOBAL STATUS LIKE 'Uptime'", Alike),
    ("SHOW STATUS LIKE 'Threads_running'", Alike),
    ("SHOW STATUS LIKE 'Max_used_connections'", Alike),
    ("SHOW GLOBAL VARIABLES", Alike),
    ("SHOW GLOBAL VARIABLES LIKE 'max_allowed_packet'", Alike),
    ("SHOW VARIABLES LIKE 'maxscale%'", Equal),
    ("SHOW VARIABLES LIKE 'wait\\_timeout'", Equal),
    // Variables
    ("SELECT @@version;", Alike),
    ("SELECT VERSION()", Alike),
    ("SELECT @@log_bin", Equal),
    (
        "SELECT @@server_id /*!50038 , @@hostname*/, CONNECTION_ID() as connection_id",
        Alike,
    ),
    (
        "select @@global.hostname, ifnull(@@global.report_host, ''), @@global.server_id, @@global.version, \
         @@global.version_comment, @@global.read_only, @@global.binlog_format, @@global.log_bin, \
         @@global.log_slave_updates",
        Alike,
    ),
    ("select @@global.hostname, @@global.port", Alike),
    ("SELECT CONCAT(@@hostname, @@port)", Alike),
    ("SELECT @@hostname", Equal),
    (
        "SELECT @@report_host, @@report_port, @@datadir, @@basedir, @@socket",
        Alike,
    ),
    ("SELECT @@global.basedir AS Value", Alike),
    ("SELECT @@global.slave_parallel_workers AS Value", Alike),
    ("SELECT @@slave_parallel_threads", Alike),
    ("SELECT @@replica_parallel_workers", Alike),
    ("SELECT @@log_replica_updates", Alike),
    ("SELECT @@global.master_info_repository = 'TABLE'", Alike),
    (
        "select @@global.gtid_mode, @@global.server_uuid, @@global.gtid_executed, @@global.gtid_purged",
        Alike,
    ),
    ("SELECT @@global.read_only read_only", Alike),
    ("SELECT @@super_read_only", Alike),
    ("SELECT @@innodb_read_only", Alike),
    (
        "SELECT @@global.read_only&@@global.innodb_read_only read_only",
        Alike,
    ),
    (
        "SELECT @@global.read_only|@@global.innodb_read_only read_only",
        Alike,
    ),
    ("SELECT @@tx_isolation", Alike),
    ("SELECT @@transaction_isolation", Alike),
    ("SELECT @@query_response_time_stats", Equal),
    (
        "SELECT @@gtid_strict_mode, @@log_bin, @@log_slave_updates",
        Alike,
    ),
    ("SELECT @@gtid_current_pos, @@gtid_binlog_pos", Alike),
    ("SELECT @@SQL_MODE", Alike),
    // Functions and operators
    ("SELECT 1 As Value", Equal),
    (
        "SELECT /* pmm-agent:connectionchecker */ 'pmm-agent'",
        Equal,
    ),
    (
        "SELECT IFNULL(NULL, 'x'), COALESCE(NULL, NULL, 'x'), CONCAT('a', 1, 'b'), CONCAT('a', NULL)",
        Equal,
    ),
    ("SELECT UTC_TIMESTAMP(), NOW(), UTC_TIMESTAMP(6)", Alike),
    (
        "SELECT UNIX_TIMESTAMP(), UNIX_TIMESTAMP('1970-01-02 00:00:00') > 1",
        Alike,
    ),
    ("SELECT IS_USED_LOCK('x'), IS_FREE_LOCK('x')", Equal),
    ("SELECT MASTER_POS_WAIT('', 4, 1)", Equal),
    (
        "SELECT SUBSTRING_INDEX('a:b:c', ':', 1), SUBSTRING_INDEX('a:b:c', ':', -2), SUBSTRING_INDEX('a', ':', 3)",
        Equal,
    ),
    (
        "SELECT 1=1, 1=2, 'a'='A', NULL=1, 3&1, 3|4, 'TABLE'='TABLE', 1='1', 'x'=0, 1|2&3=3",
        Equal,
    ),
    (
        "SELECT 1<2, 2<=1, 'b'>'a', 3>=3, 1<>2, 1!=1, 10>9, '10'>'9', (1=1)=1",
        Equal,
    ),
    (
        "SELECT 1 IN (1,2), 3 NOT IN (1,2), NULL IN (1), 'ab' LIKE 'A%', 'ab' NOT LIKE '_', 1 AND NULL, 0 AND NULL, 1 OR NULL",
        Equal,
    ),
    ("SELECT -1 & 3, '5x' | 2, 1.5 = 1.5", Equal),
    (
        "select gtid_subtract('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5','3e11fa47-71ca-11e1-9e33-c80aa9429562:2-3')",
        Equal,
    ),
    (
        "select gtid_subset('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5','3e11fa47-71ca-11e1-9e33-c80aa9429562:2-3'), gtid_subset('','3e11fa47-71ca-11e1-9e33-c80aa9429562:2')",
        Equal,
    ),
    ("select gtid_subset('xx', '')", Equal),
    ("SELECT GTID_SUBTRACT(NULL, '')", Equal),
    // Tables
    ("SELECT 1 FROM DUAL", Equal),
    ("SELECT 1 FROM nosuch", Equal),
    ("SELECT * FROM mysql.nosuch", Equal),
    ("SELECT * FROM sys.nosuch", Equal),
    ("SELECT * FROM performance_schema.nosuch", Equal),
    (
        "SELECT DISTINCT User, Host FROM mysql.user",
        Here(1146, "the relay's accounts are in its configuration"),
    ),
    ("SELECT * FROM information_schema.nosuch", Equal),
    (
        "SELECT UNIX_TIMESTAMP(ts), UNIX_TIMESTAMP(NOW(6)), server_id from heartbeat.heartbeat",
        Instead(
            1146,
            1049,
            "MySQL 8 and later name the database that is missing; tools expect 1146",
        ),
    ),
    (
        "select substring_index(host, ':', 1) as slave_hostname from information_schema.processlist where \
         command IN ('Binlog Dump','Binlog Dump GTID') and host = 'nowhere'",
        Alike,
    ),
    (
        "SELECT user, SUBSTRING_INDEX(host, ':', 1) AS host, COALESCE(command,''), COALESCE(state,''), COUNT(*), \
         SUM(time) FROM information_schema.processlist WHERE ID = connection_id() AND TIME >= 0 GROUP BY user, \
         host, command, state",
        Alike,
    ),
    (
        "SELECT COUNT(*), SUM(time) FROM information_schema.processlist WHERE id = 0",
        Equal,
    ),
    ("SELECT nosuch FROM information_schema.processlist", Equal),
    (
        "SELECT page_size, compress_ops, compress_ops_ok, compress_time, uncompress_ops, uncompress_time FROM \
         information_schema.innodb_cmp LIMIT 0",
        Alike,
    ),
    (
        "SELECT page_size, buffer_pool_instance, pages_used, pages_free, relocation_ops, relocation_time FROM \
      information_schema.innodb_cmpmem LIMIT 0",
        Alike,
    ),
    // Clients
    (
        "help 'contents'",
        Here(0, "one topic of its own, where servers have many"),
    ),
    ("SET lock_wait_timeout=2", Equal),
    (
        "SET @@SQL_QUOTE_SHOW_CREATE = 1/*!40101, @@SQL_MODE='NO_AUTO_VALUE_ON_ZERO'*/",
        Equal,
    ),
    (
        "FLUSH STATUS",
        Here(1235, "the relay's counters are reset by a restart only"),
    ),
];
