//! Commands, the first packet of every exchange after the login: parsed on the server's side,
//! encoded on the client's side.

use super::InvalidMessage;
use super::wire::WireReader;

/// The client is about to close the connection; there is no answer.
pub const COM_QUIT: u8 = 0x01;
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_STATISTICS: u8 = 0x09;
const COM_PROCESS_KILL: u8 = 0x0C;
const COM_PING: u8 = 0x0E;
const COM_CHANGE_USER: u8 = 0x11;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_SET_OPTION: u8 = 0x1B;
const COM_BINLOG_DUMP_GTID: u8 = 0x1E;
const COM_RESET_CONNECTION: u8 = 0x1F;

/// Dump flag: send EOF at the end of the log instead of waiting for more.
pub const BINLOG_DUMP_NON_BLOCK: u16 = 0x01;
/// GTID dump flag: the file name and position are used.
pub const BINLOG_THROUGH_POSITION: u16 = 0x02;
/// GTID dump flag: the set is used.
pub const BINLOG_THROUGH_GTID: u16 = 0x04;

/// A client's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// COM_QUIT: the client is about to close; there is no answer.
    Quit,
    /// COM_INIT_DB: the default database's name.
    InitDb(&'a [u8]),
    /// COM_QUERY: the statement's text.
    Query(&'a [u8]),
    /// COM_PING: answered by OK.
    Ping,
    /// COM_STATISTICS: answered by one line of text without any header.
    Statistics,
    /// COM_PROCESS_KILL: the id of the connection to end.
    ProcessKill(u32),
    /// COM_SET_OPTION: 0 turns multi-statements on, 1 off; answered by EOF.
    SetOption(u16),
    /// COM_CHANGE_USER: not supported.
    ChangeUser,
    /// COM_RESET_CONNECTION: answered by OK.
    ResetConnection,
    /// COM_STMT_PREPARE: not supported.
    StmtPrepare,
    /// COM_REGISTER_SLAVE: how the replica is to be listed; answered by OK.
    RegisterReplica(RegisterReplica<'a>),
    /// COM_BINLOG_DUMP.
    BinlogDump(BinlogDump<'a>),
    /// COM_BINLOG_DUMP_GTID.
    BinlogDumpGtid(BinlogDumpGtid<'a>),
    /// An unknown command byte.
    Unknown(u8),
}

/// What a replica reports about itself. The password that it reports is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterReplica<'a> {
    /// The replica's server_id.
    pub server_id: u32,
    /// Its `report_host`; may be empty.
    pub host: &'a [u8],
    /// Its `report_user`; may be empty.
    pub user: &'a [u8],
    /// Its `report_port`.
    pub port: u16,
    /// The server_id of its source; servers send 0.
    pub source_id: u32,
}

/// The start of the stream that a replica requests, by file and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinlogDump<'a> {
    /// Offset in the file, in bytes; servers refuse values below 4.
    pub position: u32,
    /// See [`BINLOG_DUMP_NON_BLOCK`].
    pub flags: u16,
    /// The replica's server_id; with 0 the dump ends at the end of the log.
    pub server_id: u32,
    /// The file's name; empty for the first one.
    pub file: &'a [u8],
}

/// The start of the stream that a replica requests, by the GTIDs it already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinlogDumpGtid<'a> {
    /// See [`BINLOG_DUMP_NON_BLOCK`] and the flags after it.
    pub flags: u16,
    /// The replica's server_id; with 0 the dump ends at the end of the log.
    pub server_id: u32,
    /// The file's name; replicas with auto-position send none.
    pub file: &'a [u8],
    /// Offset in the file, in bytes.
    pub position: u64,
    /// The GTID set that the replica has, still encoded.
    pub set: &'a [u8],
}

impl<'a> Command<'a> {
    /// Reads a command's packet.
    ///
    /// # Errors
    /// An empty packet, or one that is too short for its command.
    pub fn parse(payload: &'a [u8]) -> Result<Command<'a>, InvalidMessage> {
        let mut reader = WireReader::new("command", payload);
        Ok(match reader.u8()? {
            COM_QUIT => Command::Quit,
            COM_INIT_DB => Command::InitDb(reader.rest()),
            COM_QUERY => Command::Query(reader.rest()),
            COM_PING => Command::Ping,
            COM_STATISTICS => Command::Statistics,
            COM_PROCESS_KILL => Command::ProcessKill(reader.u32()?),
            COM_SET_OPTION => Command::SetOption(reader.u16()?),
            COM_CHANGE_USER => Command::ChangeUser,
            COM_RESET_CONNECTION => Command::ResetConnection,
            COM_STMT_PREPARE => Command::StmtPrepare,
            COM_REGISTER_SLAVE => Command::RegisterReplica(parse_register(payload)?),
            COM_BINLOG_DUMP => Command::BinlogDump(parse_dump(payload)?),
            COM_BINLOG_DUMP_GTID => Command::BinlogDumpGtid(parse_dump_gtid(payload)?),
            other => Command::Unknown(other),
        })
    }
}

fn parse_register(payload: &[u8]) -> Result<RegisterReplica<'_>, InvalidMessage> {
    let mut reader = WireReader::new("COM_REGISTER_SLAVE", payload);
    reader.u8()?;
    let server_id = reader.u32()?;
    let host = reader.short_bytes()?;
    let user = reader.short_bytes()?;
    let _password = reader.short_bytes()?;
    let port = reader.u16()?;
    // The replication rank, which servers no longer use.
    reader.u32()?;
    let source_id = reader.u32()?;
    Ok(RegisterReplica {
        server_id,
        host,
        user,
        port,
        source_id,
    })
}

fn parse_dump(payload: &[u8]) -> Result<BinlogDump<'_>, InvalidMessage> {
    let mut reader = WireReader::new("COM_BINLOG_DUMP", payload);
    reader.u8()?;
    Ok(BinlogDump {
        position: reader.u32()?,
        flags: reader.u16()?,
        server_id: reader.u32()?,
        file: until_nul(reader.rest()),
    })
}

fn parse_dump_gtid(payload: &[u8]) -> Result<BinlogDumpGtid<'_>, InvalidMessage> {
    let mut reader = WireReader::new("COM_BINLOG_DUMP_GTID", payload);
    reader.u8()?;
    let flags = reader.u16()?;
    let server_id = reader.u32()?;
    let file = until_nul(read_long_bytes(&mut reader)?);
    let position = reader.u64()?;
    // Clients that start by position may omit the set.
    let set = if reader.is_empty() {
        &[]
    } else {
        read_long_bytes(&mut reader)?
    };
    Ok(BinlogDumpGtid {
        flags,
        server_id,
        file,
        position,
        set,
    })
}

/// Servers read a file's name as a C string. MySQL 5.6 relies on that: with auto-position it
/// sends as many zero bytes as the name of its current file has.
fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A string after four length bytes.
fn read_long_bytes<'a>(reader: &mut WireReader<'a>) -> Result<&'a [u8], InvalidMessage> {
    let length = reader.u32()?;
    reader.bytes(usize::try_from(length).unwrap_or(usize::MAX))
}

/// COM_QUIT.
pub fn quit() -> Vec<u8> {
    vec![COM_QUIT]
}

/// COM_QUERY.
pub fn query(sql: &str) -> Vec<u8> {
    let mut out = vec![COM_QUERY];
    out.extend_from_slice(sql.as_bytes());
    out
}

/// COM_PING.
pub fn ping() -> Vec<u8> {
    vec![COM_PING]
}

/// COM_REGISTER_SLAVE. A host of more than 60 bytes, which servers refuse, is truncated.
pub fn register_slave(server_id: u32, report_host: &str, report_port: u16) -> Vec<u8> {
    let host_length = report_host.floor_char_boundary(60);
    let host = report_host.get(..host_length).unwrap_or_default();
    let mut out = vec![COM_REGISTER_SLAVE];
    out.extend_from_slice(&server_id.to_le_bytes());
    out.push(host.len() as u8);
    out.extend_from_slice(host.as_bytes());
    // No user and no password are reported.
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&report_port.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out
}

/// COM_BINLOG_DUMP.
pub fn binlog_dump(dump: &BinlogDump<'_>) -> Vec<u8> {
    let mut out = vec![COM_BINLOG_DUMP];
    out.extend_from_slice(&dump.position.to_le_bytes());
    out.extend_from_slice(&dump.flags.to_le_bytes());
    out.extend_from_slice(&dump.server_id.to_le_bytes());
    out.extend_from_slice(dump.file);
    out
}

/// COM_BINLOG_DUMP_GTID.
pub fn binlog_dump_gtid(dump: &BinlogDumpGtid<'_>) -> Vec<u8> {
    let mut out = vec![COM_BINLOG_DUMP_GTID];
    out.extend_from_slice(&dump.flags.to_le_bytes());
    out.extend_from_slice(&dump.server_id.to_le_bytes());
    out.extend_from_slice(&(dump.file.len() as u32).to_le_bytes());
    out.extend_from_slice(dump.file);
    out.extend_from_slice(&dump.position.to_le_bytes());
    out.extend_from_slice(&(dump.set.len() as u32).to_le_bytes());
    out.extend_from_slice(dump.set);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_cuts_fail(bytes: &[u8], from: usize) {
        for cut in 0..from {
            assert!(Command::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_dump_round_trips() {
        let dump = BinlogDump {
            position: 154,
            flags: 1,
            server_id: 900,
            file: b"bin.000010",
        };
        let bytes = binlog_dump(&dump);
        assert_eq!(bytes.len(), 11 + 10);
        assert_eq!(Command::parse(&bytes).unwrap(), Command::BinlogDump(dump));
        assert_cuts_fail(&bytes, 11);
    }

    #[test]
    fn a_gtid_dump_round_trips() {
        let dump = BinlogDumpGtid {
            flags: BINLOG_THROUGH_GTID,
            server_id: 900,
            file: b"",
            position: 4,
            set: &[0; 8],
        };
        let bytes = binlog_dump_gtid(&dump);
        assert_eq!(
            Command::parse(&bytes).unwrap(),
            Command::BinlogDumpGtid(dump)
        );
        // Truncated before the set's length it is a dump without a set.
        let no_set = bytes.len() - 12;
        assert_cuts_fail(&bytes, no_set);
        for cut in no_set + 1..bytes.len() {
            assert!(Command::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_name_ends_at_its_first_zero_byte() {
        let file_of = |name: &[u8]| {
            let dump = BinlogDumpGtid {
                flags: BINLOG_THROUGH_GTID,
                server_id: 11,
                file: name,
                position: 4,
                set: b"set",
            };
            let bytes = binlog_dump_gtid(&dump);
            let Command::BinlogDumpGtid(by_gtid) = Command::parse(&bytes).unwrap() else {
                panic!("not a dump by GTID")
            };
            assert_eq!(by_gtid.set, b"set");
            let file = by_gtid.file.to_vec();
            let bytes = binlog_dump(&BinlogDump {
                position: 4,
                flags: 0,
                server_id: 11,
                file: name,
            });
            let Command::BinlogDump(dump) = Command::parse(&bytes).unwrap() else {
                panic!("not a dump")
            };
            assert_eq!(dump.file, file);
            file
        };
        // MySQL 5.6.24 with auto-position sends this when it reconnects.
        assert_eq!(file_of(&[0; 16]), b"");
        assert_eq!(file_of(b"b.000001\0\0"), b"b.000001");
        assert_eq!(file_of(b"b.000001"), b"b.000001");
    }

    #[test]
    fn a_length_of_4_gib_is_refused() {
        let mut bytes = vec![COM_BINLOG_DUMP_GTID, 0, 0, 1, 0, 0, 0];
        bytes.extend_from_slice(&[0xFF; 4]);
        assert!(Command::parse(&bytes).is_err());
    }

    #[test]
    fn a_registration_round_trips() {
        let bytes = register_slave(900, "relay", 3306);
        let expected = RegisterReplica {
            server_id: 900,
            host: b"relay",
            user: b"",
            port: 3306,
            source_id: 0,
        };
        assert_eq!(
            Command::parse(&bytes).unwrap(),
            Command::RegisterReplica(expected)
        );
        assert_cuts_fail(&bytes, bytes.len());
    }

    #[test]
    fn a_reported_password_is_not_stored() {
        let mut bytes = vec![COM_REGISTER_SLAVE, 1, 0, 0, 0, 0, 1, b'u', 6];
        bytes.extend_from_slice(b"secret");
        bytes.extend_from_slice(&[0; 10]);
        let command = Command::parse(&bytes).unwrap();
        let shown = format!("{command:?}");
        assert!(!shown.contains(&format!("{:?}", b"secret")), "{shown}");
        let Command::RegisterReplica(replica) = command else {
            panic!("{shown}")
        };
        assert_eq!(replica.user, b"u");
    }

    #[test]
    fn a_long_report_host_is_truncated_between_characters() {
        let bytes = register_slave(1, &"é".repeat(100), 1);
        let Command::RegisterReplica(replica) = Command::parse(&bytes).unwrap() else {
            panic!("not a registration")
        };
        assert_eq!(replica.host, "é".repeat(30).as_bytes());
    }

    #[test]
    fn simple_commands_are_parsed() {
        assert_eq!(
            Command::parse(&query("SELECT 1")).unwrap(),
            Command::Query(b"SELECT 1")
        );
        assert_eq!(Command::parse(&ping()).unwrap(), Command::Ping);
        assert_eq!(Command::parse(&quit()).unwrap(), Command::Quit);
        assert_eq!(
            Command::parse(&[0x0C, 7, 0, 0, 0]).unwrap(),
            Command::ProcessKill(7)
        );
        assert_eq!(Command::parse(&[0xEE, 1]).unwrap(), Command::Unknown(0xEE));
        assert!(Command::parse(&[0x0C, 7, 0, 0]).is_err());
        assert!(Command::parse(&[]).is_err());
    }
}
