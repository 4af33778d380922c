//! Tests of MariaDB's ids, positions and states.

use std::collections::HashMap;

use proptest::prelude::*;

use super::mariadb::*;

fn gtid(text: &str) -> MariaDbGtid {
    text.parse().unwrap()
}

#[test]
fn gtid_is_parsed_and_printed() {
    let known = MariaDbGtid {
        domain_id: 0,
        server_id: 10124,
        seq_no: 3584,
    };
    assert_eq!(gtid("0-10124-3584"), known);
    assert_eq!(known.to_string(), "0-10124-3584");
    assert_eq!(
        gtid("4294967295-4294967295-18446744073709551615").seq_no,
        u64::MAX
    );
    for bad in [
        "",
        "1",
        "1-2",
        "1-2-",
        "-1-2-3",
        "1-2-3-4",
        "4294967296-1-1",
        "1--3",
        "1-2-x",
    ] {
        assert!(bad.parse::<MariaDbGtid>().is_err(), "{bad}");
    }
    let error = "0-1-18446744073709551616"
        .parse::<MariaDbGtid>()
        .unwrap_err();
    let text = "expected a sequence number of 64 bits at byte 4, found \"18446744073709551616\"";
    assert_eq!(error.to_string(), text);
}

#[test]
fn position_is_parsed_and_printed() {
    let position = " 1-2-9 ,\n0-1-5".parse::<GtidPosition>().unwrap();
    assert_eq!(position.to_string(), "0-1-5,1-2-9");
    assert_eq!(position.get(1), Some(gtid("1-2-9")));
    assert_eq!(position.get(2), None);
    assert!(" ".parse::<GtidPosition>().unwrap().is_empty());
    for bad in ["0-1-5,", ",", "0-1-5 1-1-1", "0-1-5,,1-1-1"] {
        assert!(bad.parse::<GtidPosition>().is_err(), "{bad}");
    }
    let error = "0-1-5,0-2-6".parse::<GtidPosition>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected each domain once at byte 6, found \"0-2-6\""
    );
}

#[test]
fn position_is_set_and_removed_by_domain() {
    let mut position = GtidPosition::new();
    position.set(gtid("0-1-5"));
    position.set(gtid("0-2-3"));
    assert_eq!(position.iter().collect::<Vec<_>>(), [gtid("0-2-3")]);
    assert_eq!(position.remove(0), Some(gtid("0-2-3")));
    assert!(position.is_empty());
}

#[test]
fn state_keeps_the_last_transaction_of_a_domain() {
    let mut state = BinlogState::new();
    assert!(!state.contains(&gtid("0-1-0")));
    for new in ["0-1-5", "0-2-6", "1-2-9", "0-1-7"] {
        assert!(state.record(gtid(new)), "{new}");
    }
    assert!(!state.record(gtid("0-2-6")));
    assert!(state.contains(&gtid("0-1-6")) && !state.contains(&gtid("0-2-7")));
    assert_eq!(state.to_string(), "0-2-6,0-1-7,1-2-9");
    assert_eq!(state.position().to_string(), "0-1-7,1-2-9");
    assert_eq!(state.last_in_domain(0), Some(gtid("0-1-7")));
    assert_eq!(state.highest(0, 2), Some(6));
    assert_eq!(state.to_string().parse::<BinlogState>().unwrap(), state);
    assert!("0-1-5,0-1-6".parse::<BinlogState>().is_err());
}

#[test]
fn transaction_that_was_executed_again_is_the_last_of_its_domain() {
    let mut state: BinlogState = "0-2-9,0-1-7".parse().unwrap();
    assert!(!state.record_again(gtid("0-1-3")));
    assert_eq!(state.last_in_domain(0), Some(gtid("0-1-3")));
    assert_eq!(state.highest(0, 1), Some(7));
    assert!(state.contains(&gtid("0-1-7")));
    assert_eq!(state.to_string(), "0-2-9,0-1-7,0-1-3");
    let mut body = Vec::new();
    state.encode_gtid_list(&mut body);
    assert_eq!(
        BinlogState::decode_gtid_list(&body).unwrap(),
        (state.clone(), 0)
    );
    assert!(state.record(gtid("0-1-8")));
    assert_eq!(state.to_string(), "0-2-9,0-1-8");
    for wrong in ["0-1-7,0-2-9,0-1-3", "0-1-3,0-1-7", "0-1-7,0-1-3,0-1-2"] {
        assert!(wrong.parse::<BinlogState>().is_err(), "{wrong}");
    }
}

#[test]
fn gtid_list_has_the_bytes_that_mariadb_writes() {
    // The example of MariaDB's documentation of GTID_LIST_EVENT: 0-10124-3584.
    let body = [
        1, 0, 0, 0, 0, 0, 0, 0, 0x8c, 0x27, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0, 0,
    ];
    let (state, flags) = BinlogState::decode_gtid_list(&body).unwrap();
    assert_eq!((state.to_string().as_str(), flags), ("0-10124-3584", 0));
    let mut flagged = body;
    flagged[3] = 0x10;
    assert_eq!(
        BinlogState::decode_gtid_list(&flagged).unwrap(),
        (state, 1 << 28)
    );
    for empty in [&[0; 4][..], &[0; 6]] {
        assert!(BinlogState::decode_gtid_list(empty).unwrap().0.is_empty());
    }
    assert!(BinlogState::decode_gtid_list(&[0; 5]).is_err());
    assert!(BinlogState::decode_gtid_list(&[0xff; 64]).is_err());
    let twice = [&[2, 0, 0, 0], &body[4..], &body[4..]].concat();
    let error = BinlogState::decode_gtid_list(&twice)
        .unwrap_err()
        .to_string();
    assert!(error.contains("at byte 20, found 0-10124-3584"), "{error}");
}

fn some_gtid() -> impl Strategy<Value = MariaDbGtid> {
    (0..3_u32, 0..3_u32, 0..20_u64).prop_map(|(domain_id, server_id, seq_no)| MariaDbGtid {
        domain_id,
        server_id,
        seq_no,
    })
}

proptest! {
    #[test]
    fn state_agrees_with_the_model(gtids in prop::collection::vec(some_gtid(), 0..60)) {
        let (mut highest, mut last) = (HashMap::new(), HashMap::new());
        let mut state = BinlogState::new();
        for gtid in gtids {
            let pair = (gtid.domain_id, gtid.server_id);
            let new = highest.get(&pair).is_none_or(|h| gtid.seq_no > *h);
            prop_assert_eq!(state.contains(&gtid), !new);
            prop_assert_eq!(state.record(gtid), new);
            if new {
                highest.insert(pair, gtid.seq_no);
                last.insert(gtid.domain_id, gtid);
            }
            prop_assert_eq!(state.last_in_domain(gtid.domain_id), last.get(&gtid.domain_id).copied());
        }
        prop_assert_eq!(state.iter().count(), highest.len());
        prop_assert_eq!(state.position().iter().count(), last.len());
        prop_assert_eq!(&state.to_string().parse::<BinlogState>().unwrap(), &state);
        let mut body = Vec::new();
        state.encode_gtid_list(&mut body);
        for cut in 0..body.len() {
            let decoded = BinlogState::decode_gtid_list(&body[..cut]);
            prop_assert!(decoded.is_err() || (highest.is_empty() && cut == 4));
        }
        prop_assert_eq!(BinlogState::decode_gtid_list(&body).unwrap(), (state, 0));
        body.push(0);
        prop_assert!(BinlogState::decode_gtid_list(&body).is_err());
    }

    #[test]
    fn any_bytes_and_text_do_not_panic(bytes: Vec<u8>, text in "[0-9,\\- ]{0,40}") {
        let _ = BinlogState::decode_gtid_list(&bytes);
        if let Ok(position) = text.parse::<GtidPosition>() {
            prop_assert_eq!(position.to_string().parse::<GtidPosition>().unwrap(), position);
        }
    }
}

#[test]
fn what_another_log_has_of_a_retired_server_is_not_the_last_of_its_domain() {
    let state = |text: &str| text.parse::<BinlogState>().unwrap();
    let mut counted = state("1-2-60");
    counted.count_all(&state("1-3-50,1-2-60,2-7-4"));
    assert_eq!(counted, state("1-3-50,1-2-60,2-7-4"));
    assert_eq!(counted.position().to_string(), "1-2-60,2-7-4");
    // The other one is ahead; the first one knows a server that the other does not.
    let mut counted = state("1-3-50,1-2-60");
    counted.count_all(&state("1-2-65"));
    assert_eq!(counted.to_string(), "1-3-50,1-2-65");
    // Of an unknown domain, the last one remains, also with a lower number.
    let mut counted = BinlogState::new();
    counted.count_all(&state("1-3-50,1-2-6"));
    assert_eq!(counted.position().to_string(), "1-2-6");
    let gtid = |text: &str| text.parse::<MariaDbGtid>().unwrap();
    let mut counted = state("1-2-60");
    assert!(counted.count(gtid("1-3-50")) && !counted.count(gtid("1-3-49")));
    assert_eq!(counted.to_string(), "1-3-50,1-2-60");
    assert!(counted.count(gtid("1-2-61")) && counted.count(gtid("4-2-1")));
    assert_eq!(counted.to_string(), "1-3-50,1-2-61,4-2-1");
}
