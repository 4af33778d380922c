//! SHOW with conditions on its columns.

use super::rule::Rule::{self, Alike, Equal, SameNames};

pub const STATEMENTS: &[(&str, Rule)] = &[
    (
        "SHOW VARIABLES WHERE Variable_name = 'log_bin' AND Value = 'on'",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE Variable_name = 'log_bin' AND Value = 'OFF'",
        Equal,
    ),
    (
        "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'log\\_bin' OR variable_name = 'report_port' AND Value = 0",
        SameNames,
    ),
    (
        "SHOW GLOBAL VARIABLES WHERE Variable_name NOT LIKE '%a%' AND Variable_name IN ('port', 'server_id', \
         'read_only', 'log_bin')",
        SameNames,
    ),
    (
        "SHOW VARIABLES WHERE Variable_name IN ('wait_timeout', 'lower_case_table_names') AND Value > 100",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE NOT Variable_name LIKE '%' OR Variable_name BETWEEN 'wait_timeout' AND 'wait_timeout'",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE NOT (Variable_name <> 'log_bin')",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE Variable_name NOT BETWEEN 'a' AND 'zz'",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE Variable_name = 'log_bin' AND Value",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE Variable_name = 'log_bin' AND Value IS NOT NULL AND CONCAT(Value, 'x') = 'ONx'",
        Equal,
    ),
    (
        "SHOW VARIABLES WHERE Variable_name = 'port' AND Value IS NULL",
        Equal,
    ),
    ("SHOW VARIABLES WHERE nosuch = 1", Equal),
    (
        "SHOW STATUS WHERE Variable_name LIKE 'Upt%' AND Value > 1000000",
        Equal,
    ),
    (
        "SHOW GLOBAL STATUS WHERE `Variable_name` = 'Threads_running' OR Variable_name = 'nosuch'",
        SameNames,
    ),
    (
        "SHOW DATABASES WHERE `Database` LIKE 'information%' AND `Database` NOT LIKE '%x'",
        Equal,
    ),
    ("SHOW COLLATION WHERE Charset = 'binary' AND Id = 63", Alike),
    (
        "SHOW CHARACTER SET WHERE Maxlen = 1 AND Charset = 'binary'",
        Equal,
    ),
    (
        "SELECT NOT 1, NOT 0, NOT NULL, 1 IS NULL, NULL IS NULL",
        Equal,
    ),
    (
        "SELECT 2 BETWEEN 1 AND 3, 2 NOT BETWEEN 1 AND 3, NULL BETWEEN 1 AND 3, 4 BETWEEN NULL AND 3, NOT 1 = 2",
        Equal,
    ),
];
