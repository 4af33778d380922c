//! An assembler for recorded events.

#![allow(dead_code, reason = "each test crate uses its own part of this module")]

use std::sync::Arc;

use binrelay::binlog::format_description::FormatDescription;
use binrelay::filter::Filter;
use binrelay::flavor::Flavor;
use binrelay::transaction::{Assembler, AssemblerOptions};

/// The flavor of a kind of server.
pub fn flavor(kind: &str) -> Flavor {
    match kind.starts_with("mariadb") {
        true => Flavor::MariaDb,
        false => Flavor::MySql,
    }
}

/// Ready for the first event after the format description.
pub fn assembler(format: FormatDescription, filter: Filter) -> Assembler {
    let options = AssemblerOptions {
        source: 0,
        source_server_id: 86,
        source_first_timestamp: 0,
        has_gtids: true,
        first_run: 0,
        filter,
        spill_dir: env!("CARGO_TARGET_TMPDIR").into(),
        spill_size: 1 << 20,
    };
    let mut assembler = Assembler::new(options, Arc::new(format));
    assembler.start_file(Arc::from("basic.000001"), 4);
    assembler
}
