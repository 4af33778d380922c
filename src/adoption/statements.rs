//! The statements to execute on the replica.

use super::decide::Decision;
use super::messages::Attachment;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::relay_log::RelayLog;
use crate::relay_log::bridge::ServedFile;

/// How replicas connect to the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: String,
    user: String,
}

impl Address {
    /// `listen` is `HOST:PORT`. An address that stands for all of them is replaced by the machine's
    /// name.
    pub(super) fn of(listen: &str, user: Option<&str>) -> Self {
        let (host, port) = listen.rsplit_once(':').unwrap_or((listen, "3306"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = match host {
            "" | "0.0.0.0" | "::" | "*" => machine_name(),
            host => host.to_owned(),
        };
        Self {
            host,
            port: port.to_owned(),
            user: user.unwrap_or("repl").to_owned(),
        }
    }
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Which words a replica understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// CHANGE MASTER TO, STOP SLAVE.
    Master,
    /// CHANGE REPLICATION SOURCE TO, STOP REPLICA: MySQL 8.0.23 and later.
    Source,
}

impl Words {
    /// Those of a server.
    pub(super) fn of(flavor: Flavor, version: (u32, u32, u32)) -> Self {
        match flavor {
            Flavor::MySql if version >= (8, 0, 23) => Words::Source,
            Flavor::MySql | Flavor::MariaDb => Words::Master,
        }
    }

    fn stop(self) -> String {
        match self {
            Words::Master => "STOP SLAVE;".to_owned(),
            Words::Source => "STOP REPLICA;".to_owned(),
        }
    }

    fn start(self) -> String {
        match self {
            Words::Master => "START SLAVE;".to_owned(),
            Words::Source => "START REPLICA;".to_owned(),
        }
    }

    pub(super) fn change(self, address: &Address, options: &str) -> String {
        let (statement, word) = match self {
            Words::Master => ("CHANGE MASTER TO", "MASTER"),
            Words::Source => ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
        };
        let Address { host, port, user } = address;
        let options = options.replace("WORD", word);
        format!(
            "{statement} {word}_HOST='{host}', {word}_PORT={port}, {word}_USER='{user}', \
             {word}_PASSWORD='…', {options};"
        )
    }
}

/// The answer, with the statements.
pub(super) fn attachment(log: &RelayLog, address: &Address, decision: Decision) -> Attachment {
    let version = log.server_version();
    let flavor = Flavor::of_version(version);
    let numbers = version_numbers(version);
    let words = Words::of(flavor, numbers);
    let (options, before) = options(log, &decision, numbers);
    let all = |words: Words| {
        let before = before.iter().cloned();
        let change = [words.change(address, &options), words.start()];
        [words.stop()]
            .into_iter()
            .chain(before)
            .chain(change)
            .collect()
    };
    let is_old_mysql = flavor == Flavor::MySql && words == Words::Master;
    let mut attachment = Attachment {
        file: None,
        position: None,
        bridge: false,
        bridge_transactions: 0,
        continues_at: None,
        gtid: None,
        statements: all(words),
        on_new_replica: Vec::new(),
        other_words: match is_old_mysql {
            true => all(Words::Source),
            false => Vec::new(),
        },
    };
    match decision {
        Decision::ByGtid(gtids) => {
            attachment.gtid = Some(gtids.to_text());
            attachment.on_new_replica = on_new_replica(&gtids, numbers);
        }
        Decision::At {
            file,
            position,
            missing,
            from,
        } => {
            attachment.file = Some(file.name(log.log_dir()));
            attachment.position = Some(position);
            attachment.bridge = matches!(file, ServedFile::Bridge(_));
            attachment.bridge_transactions = missing;
            let name = log.log_dir().file_name(from.file);
            attachment.continues_at = Some(format!("{name}:{}", from.offset));
        }
    }
    attachment
}

/// The options of the CHANGE statement, with `WORD` for MASTER or SOURCE, and the statements before
/// it.
fn options(log: &RelayLog, decision: &Decision, version: (u32, u32, u32)) -> (String, Vec<String>) {
    let flavor = Flavor::of_version(log.server_version());
    match decision {
        Decision::ByGtid(Executed::MariaDb(state)) => (
            "MASTER_USE_GTID=slave_pos".to_owned(),
            vec![format!("SET GLOBAL gtid_slave_pos='{}';", state.position())],
        ),
        Decision::ByGtid(_) => ("WORD_AUTO_POSITION=1".to_owned(), Vec::new()),
        Decision::At { file, position, .. } => {
            let name = file.name(log.log_dir());
            let how = match flavor {
                Flavor::MariaDb => ", MASTER_USE_GTID=no",
                Flavor::MySql if version >= (5, 6, 5) => ", WORD_AUTO_POSITION=0",
                Flavor::MySql => "",
            };
            let options = format!("WORD_LOG_FILE='{name}', WORD_LOG_POS={position}{how}");
            (options, Vec::new())
        }
    }
}

fn on_new_replica(gtids: &Executed, version: (u32, u32, u32)) -> Vec<String> {
    let Executed::MySql(set) = gtids else {
        return Vec::new();
    };
    let reset = match version >= (8, 2, 0) {
        true => "RESET BINARY LOGS AND GTIDS;",
        false => "RESET MASTER;",
    };
    vec![reset.to_owned(), format!("SET GLOBAL gtid_purged='{set}';")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_interfaces_becomes_the_name_of_the_machine() {
        let address = Address::of("10.0.0.9:3307", Some("r"));
        assert_eq!((&*address.host, &*address.port), ("10.0.0.9", "3307"));
        assert_eq!(Address::of("[::1]:3306", None).host, "::1");
        for all in ["0.0.0.0:3306", "[::]:3306"] {
            assert_eq!(Address::of(all, None).host, machine_name());
        }
    }

    #[test]
    fn each_kind_has_its_own_words() {
        let address = Address::of("relay:3306", Some("repl"));
        let options = "WORD_LOG_FILE='relay-bin.000001', WORD_LOG_POS=4";
        assert_eq!(
            Words::Master.change(&address, options),
            "CHANGE MASTER TO MASTER_HOST='relay', MASTER_PORT=3306, MASTER_USER='repl', \
             MASTER_PASSWORD='…', MASTER_LOG_FILE='relay-bin.000001', MASTER_LOG_POS=4;"
        );
        assert_eq!(
            Words::Source.change(&address, options),
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='relay', SOURCE_PORT=3306, \
             SOURCE_USER='repl', SOURCE_PASSWORD='…', SOURCE_LOG_FILE='relay-bin.000001', \
             SOURCE_LOG_POS=4;"
        );
    }
}
