//! What failover managers, proxies and exporters ask beyond the other lists, as they write it.

use super::rule::Rule::{self, Alike, Equal, Here, Instead, NoRowsHere, RowsHere, SameNames};

const NO_PLUG_INS: &str = "the packages of MySQL 5.6 do not contain the plug-ins of semi-sync";

pub const STATEMENTS: &[(&str, Rule)] = &[
    // orchestrator
    (
        "select @@global.gtid_mode, @@global.server_uuid, @@global.gtid_executed, @@global.gtid_purged, \
         @@global.master_info_repository = 'TABLE', @@global.binlog_row_image",
        Alike,
    ),
    ("select @@global.binlog_row_image", Equal),
    (
        "show global variables like 'rpl_semi_sync_%'",
        RowsHere(NO_PLUG_INS),
    ),
    (
        "show global status like 'rpl_semi_sync_%'",
        RowsHere(NO_PLUG_INS),
    ),
    ("show binlog events limit 5", Alike),
    (
        "show binlog events in 'nosuch.000001' from 4 limit 2",
        Equal,
    ),
    (
        "SELECT MEMBER_ID, MEMBER_HOST, MEMBER_PORT, MEMBER_STATE, MEMBER_ROLE, \
         @@global.group_replication_group_name, @@global.group_replication_single_primary_mode FROM \
         performance_schema.replication_group_members",
        Instead(
            1146,
            1193,
            "a server without the plug-in names the variable first; orchestrator accepts both",
        ),
    ),
    ("SELECT @@global.version", Alike),
    // mysqld_exporter
    ("SHOW ALL SLAVES STATUS NONBLOCKING", Alike),
    ("SHOW ALL SLAVES STATUS NOLOCK", Alike),
    ("SHOW REPLICA STATUS NONBLOCKING", Alike),
    ("SHOW REPLICA STATUS NOLOCK", Alike),
    (
        "SELECT page_size, compress_ops, compress_ops_ok, compress_time, uncompress_ops, uncompress_time FROM \
         information_schema.innodb_cmp",
        NoRowsHere("the relay has no InnoDB"),
    ),
    (
        "SELECT page_size, buffer_pool_instance, pages_used, pages_free, relocation_ops, relocation_time FROM \
         information_schema.innodb_cmpmem",
        NoRowsHere("the relay has no InnoDB"),
    ),
    (
        "SELECT user, SUBSTRING_INDEX(host, ':', 1) AS host, COALESCE(command,'') AS command, \
         COALESCE(state,'') AS state, COUNT(*) AS processes, SUM(time) AS seconds FROM \
         information_schema.processlist WHERE ID != connection_id() AND TIME >= 0 GROUP BY user, host, command, \
         state",
        NoRowsHere("only the server has another client, the relay"),
    ),
    // ProxySQL and MaxScale
    (
        "SELECT MAX(ROUND(TIMESTAMPDIFF(MICROSECOND, ts, SYSDATE(6))/1000000)) AS Seconds_Behind_Master FROM \
         percona.heartbeat",
        Instead(
            1146,
            1049,
            "MySQL 8 and later name the database that is missing; tools expect 1146",
        ),
    ),
    (
        "SELECT @@global.server_id, @@read_only, @@global.gtid_domain_id;",
        Alike,
    ),
    ("SELECT @@gtid_current_pos, @@gtid_binlog_pos;", Alike),
    ("SELECT IS_USED_LOCK('maxscale_mariadbmonitor')", Equal),
    (
        "SELECT VARIABLE_VALUE FROM INFORMATION_SCHEMA.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'read_only'",
        Alike,
    ),
    (
        "SELECT c.VARIABLE_VALUE, s.VARIABLE_VALUE FROM INFORMATION_SCHEMA.GLOBAL_VARIABLES c JOIN \
         INFORMATION_SCHEMA.GLOBAL_STATUS s ON(c.VARIABLE_NAME = 'rpl_semi_sync_master_enabled' AND \
         s.VARIABLE_NAME = 'rpl_semi_sync_master_status')",
        RowsHere(NO_PLUG_INS),
    ),
    // Percona Toolkit
    ("SHOW VARIABLES LIKE 'character_set_server'", Alike),
    ("SHOW VARIABLES LIKE 'innodb_version'", Equal),
    (
        "SHOW VARIABLES LIKE 'innodb_stats_persistent'",
        NoRowsHere("the relay has no InnoDB"),
    ),
    ("SHOW VARIABLES LIKE 'version%'", Alike),
    // MHA
    ("SELECT CONNECTION_ID() AS Value", Alike),
    ("SELECT @@global.datadir AS Value", Alike),
    ("SELECT @@global.max_allowed_packet AS Value", Alike),
    ("SELECT @@global.read_only As Value", Alike),
    ("SELECT @@global.server_id As Value", Alike),
    ("SELECT @@global.gtid_mode As Value", Alike),
    ("SELECT MASTER_POS_WAIT('', 4, 0) AS Result", Equal),
    (
        "SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(NULL,0) AS Result",
        Instead(
            1305,
            1046,
            "MySQL 8 and later look for an unknown function in the default database first",
        ),
    ),
    (
        "SELECT Repl_slave_priv AS Value FROM mysql.user WHERE user = 'repl'",
        Here(1146, "the relay's accounts are in its configuration"),
    ),
    // The names that exist, not only the columns.
    (
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('hostname', 'port', 'report_host', 'report_port', \
         'datadir', 'basedir', 'socket', 'log_slave_updates', 'log_replica_updates', 'slave_parallel_workers', \
         'replica_parallel_workers', 'master_info_repository', 'super_read_only', 'innodb_read_only', \
         'tx_isolation', 'transaction_isolation', 'read_only', 'log_bin', 'server_id', 'server_uuid', \
         'binlog_format', 'binlog_row_image', 'gtid_mode', 'gtid_domain_id', 'max_allowed_packet', 'version')",
        SameNames,
    ),
    (
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_running', 'Threads_connected', \
         'Max_used_connections', 'Aborted_connects', 'Bytes_sent', 'Bytes_received', 'Questions', 'Connections', \
         'Uptime', 'Slave_connections', 'Slaves_connected', 'Slaves_running')",
        SameNames,
    ),
];
