//! Transactions that are not what their origin executed, because of the filter.

use super::*;
use crate::filter::RuleLists;
use crate::flavor::Flavor;

fn altered(filter: Filter, databases: &[&str]) -> (bool, bool) {
    let mut source = Source::with(make::mysql_format(Checksum::Crc32), filter, SPILL_NEVER);
    source.events(&row_transaction(1, databases)).unwrap();
    let batch = source.assembler.take_batch().unwrap();
    let transaction = &batch.transactions[0];
    (transaction.altered, transaction.emptied)
}

#[test]
fn a_dropped_part_alters_a_transaction() {
    let filter = || {
        let lists = RuleLists {
            do_db: vec!["test".to_owned()],
            ..RuleLists::default()
        };
        Filter::new(lists, Flavor::MySql, false)
    };
    assert_eq!(altered(filter(), &["test", "test"]), (false, false));
    assert_eq!(altered(filter(), &["test", "x"]), (true, false));
    assert_eq!(altered(filter(), &["x", "test"]), (true, false));
    assert_eq!(altered(filter(), &["x"]), (true, true));
}

#[test]
fn another_database_alters_a_transaction() {
    let filter = || {
        let lists = RuleLists {
            rewrite_db: vec![("test".to_owned(), "live".to_owned())],
            ..RuleLists::default()
        };
        Filter::new(lists, Flavor::MySql, false)
    };
    assert_eq!(altered(filter(), &["test"]), (true, false));
    assert_eq!(altered(filter(), &["x"]), (false, false));
}
