//! Valid inputs of the targets that read text.

pub(super) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Statements of one session each.
pub(super) fn statements() -> Vec<Vec<u8>> {
    texts(&[
        "SET @master_heartbeat_period= 30000000000, @source_heartbeat_period = 1\n\
         SET @master_binlog_checksum= @@global.binlog_checksum\nSELECT @master_binlog_checksum",
        "SELECT @@GLOBAL.SERVER_ID, VERSION(), UNIX_TIMESTAMP(), 1+1, 'it''s' AS `a b`, NULL",
        "SELECT @@session.max_allowed_packet,@@system_time_zone,@@time_zone LIMIT 1",
        "SELECT binlog_gtid_pos('relay-bin.000001',4)\nSET @slave_connect_state='0-1-5,1-2-7'",
        "SHOW VARIABLES LIKE 'SERVER\\\\_ID'\nSHOW GLOBAL VARIABLES WHERE Variable_name IN ('a','b')",
        "SHOW BINLOG EVENTS IN 'relay-bin.000001' FROM 4 LIMIT 1,10\nSHOW BINARY LOGS",
        "SHOW MASTER STATUS\nSHOW PROCESSLIST\nSHOW SLAVE HOSTS\nKILL CONNECTION 77",
        "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, autocommit=1, @a := (((1))), SQL_MODE=''",
        "/*!40101 SET @a=1 */ ; -- end\nSELECT /* c */ CONCAT(@a,'b',x'4142',0x43,\"d\")",
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'a'\nUSE test",
    ])
}

pub(super) fn configurations() -> Vec<Vec<u8>> {
    texts(&[
        "[relay]\nserver_id = 900\ndata_dir = \"/d\"\nlisten = \"[::1]:3306\"\nflavor = \"mysql\"\n\
         [log]\nmax_size = \"64MiB\"\nsync = \"100ms\"\nexpire_after = \"7d\"\n\
         [[source]]\nname = \"m1\"\nhost = \"h\"\nuser = \"u\"\nstart = \"mysql-bin.000010:154\"\n\
         auto_position = false\ntls = { mode = \"verify_ca\", ca = \"ca.pem\" }\n",
        "[relay]\nserver_id=1\ndata_dir=\"d\"\n[[source]]\nname=\"a\"\nhost=\"::1\"\nuser=\"u\"\n\
         start=\"gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5\"\npassword_env=\"P\"\n\
         [source.filter]\nreplicate_do_db=[\"a\"]\nreplicate_rewrite_db=[\"a->b\"]\n\
         [[user]]\nname=\"r\"\nprivileges=[\"replication\",\"admin\"]\n\
         password_hash=\"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19\"\n[limits]\nmax_connections=5\n\
         login_timeout=\"5s\"\n[admin]\nsocket=\"/s\"\n",
        "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
        "$A$005$abcdefghijklmnopqrst0123456789012345678901234567890123456789012",
    ])
}

pub(super) fn gtid_texts() -> Vec<Vec<u8>> {
    [
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7,3e11fa47-71ca-11e1-9e33-c80aa9429563:tag:1-5:x:2",
        "3E11FA47-71CA-11E1-9E33-C80AA9429562:9223372036854775806",
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3, \n 3e11fa47-71ca-11e1-9e33-c80aa9429562:4-9",
        "0-1-100,1-2-18446744073709551615",
        "0-1-5,0-2-7,4294967295-4294967295-1",
        "tag_with_32_characters__________",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
