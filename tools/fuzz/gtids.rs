//! The targets of GTIDs, as text and on the wire.

use binrelay::gtid::{BinlogState, Gtid, GtidPosition, GtidSet, MariaDbGtid, Tag, Uuid};

/// Texts of GTIDs: a value that was read is printed, and read as the same value again.
pub fn fuzz_gtid_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    macro_rules! round_trip {
        ($($type:ty),*) => {$(
            if let Ok(value) = text.parse::<$type>() {
                let printed = value.to_string();
                let again = printed.parse::<$type>().expect("what is printed is read");
                assert_eq!(value, again, "{printed}");
            }
        )*};
    }
    round_trip!(
        Uuid,
        Tag,
        Gtid,
        GtidSet,
        MariaDbGtid,
        GtidPosition,
        BinlogState
    );
    if let Ok(set) = text.parse::<GtidSet>() {
        check_set(&set);
        let again: GtidSet = set
            .to_mysql_string()
            .parse()
            .expect("MySQL's own form is read");
        assert_eq!(set, again);
    }
}

/// Encoded GTID sets and lists.
pub fn fuzz_gtid_wire(data: &[u8]) {
    if let Ok(set) = GtidSet::decode(data) {
        check_set(&set);
    }
    if let Ok((state, _)) = BinlogState::decode_gtid_list(data) {
        let mut bytes = Vec::new();
        state.encode_gtid_list(&mut bytes);
        let (again, _) = BinlogState::decode_gtid_list(&bytes).expect("what is encoded is read");
        assert_eq!(state, again);
    }
}

fn check_set(set: &GtidSet) {
    let mut bytes = Vec::new();
    set.encode(&mut bytes);
    let again = GtidSet::decode(&bytes).expect("what is encoded is read");
    assert_eq!(*set, again);
    assert!(set.is_subset_of(&again));
    let mut empty = set.clone();
    empty.subtract(&again);
    assert!(empty.is_empty() && empty.count() == 0, "{empty}");
}
