//! Tests of the three files for MySQL's ids.

use std::collections::HashSet;

use proptest::prelude::*;

use super::mysql::MAX_GNO;
use super::*;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4350f323-7565-4e59-8763-4b1b83a0ce0e";

fn set(text: &str) -> GtidSet {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn encoded(set: &GtidSet) -> Vec<u8> {
    let mut out = Vec::new();
    set.encode(&mut out);
    out
}

fn refusal(text: &str) -> String {
    text.parse::<GtidSet>().unwrap_err().to_string()
}

#[test]
fn uuid_is_parsed_and_printed() {
    let uuid = A.parse::<Uuid>().unwrap();
    assert_eq!(uuid.to_string(), A);
    assert_eq!(uuid.0[..4], [0x3e, 0x11, 0xfa, 0x47]);
    let plain = A.replace('-', "");
    for form in [
        A.to_uppercase(),
        plain.clone(),
        format!("{{{A}}}"),
        format!("{{{plain}}}"),
    ] {
        assert_eq!(form.parse::<Uuid>().unwrap(), uuid, "{form}");
    }
    for cut in 0..A.len() {
        assert!(A[..cut].parse::<Uuid>().is_err(), "{cut}");
    }
    let shifted = "3e11fa4771-ca-11e1-9e33-c80aa9429562";
    for bad in [
        &format!("{{{A}"),
        &format!("{A}}}"),
        &A.replace('f', "g"),
        shifted,
        "{}",
        "é",
    ] {
        assert!(bad.parse::<Uuid>().is_err(), "{bad}");
    }
    assert_ne!(Uuid::random(), Uuid::random());
    assert_eq!(Uuid::random().to_string().as_bytes()[14], b'4');
    assert_eq!(Uuid::random().0[8] & 0xc0, 0x80);
}

#[test]
fn tags_are_checked() {
    assert_eq!(Tag::parse("Blue_1").unwrap().as_str(), "blue_1");
    assert_eq!(Tag::parse("").unwrap(), Tag::NONE);
    assert!(Tag::NONE.is_empty() && Tag::NONE < Tag::parse("_").unwrap());
    assert!(Tag::parse("ab").unwrap() < Tag::parse("ab0").unwrap());
    assert!(Tag::parse(&"a".repeat(32)).is_ok() && Tag::parse(&"a".repeat(33)).is_err());
    for bad in ["1a", "a-b", "a b", "ä"] {
        assert!(Tag::parse(bad).is_err(), "{bad}");
    }
    assert!(Tag::from_bytes(b"a\xff").is_err() && Tag::from_bytes(b"Aa").is_err());
}

#[test]
fn gtid_is_parsed_and_printed() {
    for text in [
        format!("{A}:23"),
        format!("{A}:domain_1:23"),
        format!("{A}:{MAX_GNO}"),
    ] {
        assert_eq!(text.parse::<Gtid>().unwrap().to_string(), text);
    }
    let big = format!("{A}:{}", MAX_GNO + 1);
    for bad in [
        A,
        &format!("{A}:"),
        &format!("{A}:0"),
        &format!("{A}:t:"),
        &format!("{A}:1-2"),
        &big,
    ] {
        assert!(bad.parse::<Gtid>().is_err(), "{bad}");
    }
}

#[test]
fn set_is_parsed_and_printed() {
    let text = format!("{A}:1-5:7,{B}:3");
    assert_eq!(set(&text).to_string(), text);
    assert_eq!(set(&text).to_mysql_string(), format!("{A}:1-5:7,\n{B}:3"));
    let messy = format!(
        ",\n {B} : 3 ,, {}:7:3 - 5: 1-2\t,{A}:2-4,",
        A.to_uppercase()
    );
    assert_eq!(set(&messy), set(&text));
    assert!(set("").is_empty() && set(" ,\n").is_empty());
    let tagged = format!("{A}:1-3:tag:5-7:9:zulu:1,{B}:only:2");
    assert_eq!(set(&tagged).to_string(), tagged);
    assert_eq!(
        set(&format!("{B}:Only:2,{A}:zulu:1:tag:9:5-7,{A}:1-3")),
        set(&tagged)
    );
    assert!(set(&tagged).has_tags() && !set(&text).has_tags());
    assert_eq!(set(&tagged).without_tags(), set(&format!("{A}:1-3")));
    assert_eq!(set(&tagged).sids().count(), 4);
}

#[test]
fn error_in_a_set_has_the_offset() {
    assert_eq!(refusal("x:1"), "expected a UUID at byte 0, found \"x\"");
    assert!(refusal(A).ends_with("at byte 36, found the end"));
    assert!(refusal(&format!("{A}:0")).contains("at byte 37, found \"0\""));
    assert!(refusal(&format!("{A}:5-4")).contains("at byte 39, found \"4\""));
    assert!(refusal(&format!("{A}:1:tag")).ends_with("at byte 42, found the end"));
    assert!(refusal(&format!("{A}:a:b:1")).contains("at byte 39"));
    assert!(refusal(&format!("{A}:1 {B}:1")).contains("at byte 39"));
    assert!(refusal(&format!("{A}:{}", "t".repeat(33))).contains("at byte 37"));
    assert!(refusal(&format!("{A}:1-9223372036854775807")).contains("at byte 39"));
    assert!(refusal(&"é".repeat(500)).len() < 200);
}

#[test]
fn inserted_number_extends_or_joins_intervals() {
    let mut all = GtidSet::new();
    let gtid = |gno| Gtid {
        sid: format!("{A}:1").parse::<Gtid>().unwrap().sid,
        gno,
    };
    for gno in [1, 2, 4, 6, 5] {
        assert!(all.insert(gtid(gno)), "{gno}");
        assert!(!all.insert(gtid(gno)), "{gno}");
    }
    assert_eq!(all, set(&format!("{A}:1-2:4-6")));
    assert!(all.insert(gtid(3)));
    assert_eq!(all, set(&format!("{A}:1-6")));
    for outside in [0, MAX_GNO + 1, u64::MAX] {
        assert!(!all.insert(gtid(outside)) && !all.contains(&gtid(outside)));
    }
    assert!(all.insert(gtid(MAX_GNO)));
    all.insert_interval(gtid(1).sid, 0, u64::MAX);
    assert_eq!(all.count(), u128::from(MAX_GNO));
    let mut untouched = GtidSet::new();
    untouched.insert_interval(gtid(1).sid, 5, 4);
    assert!(untouched.is_empty() && !untouched.insert(gtid(0)) && untouched.is_empty());
}

#[test]
fn set_in_descending_order_is_parsed_in_time() {
    let numbers = (1..300_000)
        .rev()
        .map(|n| format!(":{}", 2 * n))
        .collect::<String>();
    assert_eq!(set(&format!("{A}{numbers}")).count(), 299_999);
}

#[test]
fn encoding_has_the_bytes_that_mysql_writes() {
    let uuid = A.parse::<Uuid>().unwrap().0;
    assert_eq!(encoded(&GtidSet::new()), [0; 8]);
    let mut plain = vec![1, 0, 0, 0, 0, 0, 0, 0];
    plain.extend(uuid);
    plain.extend([
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
    ]);
    assert_eq!(encoded(&set(&format!("{A}:2-5"))), plain);
    let mut tagged = vec![1, 2, 0, 0, 0, 0, 0, 1];
    tagged.extend(uuid);
    tagged.push(0);
    tagged.extend(&plain[24..]);
    tagged.extend(uuid);
    tagged.extend(b"\x06abc");
    tagged.extend(&plain[24..]);
    assert_eq!(encoded(&set(&format!("{A}:2-5:abc:2-5"))), tagged);
    assert_eq!(
        GtidSet::decode(&tagged).unwrap().to_string(),
        format!("{A}:2-5:abc:2-5")
    );
    for (at, byte) in [
        (24, 1),
        (24, 3),
        (49 + 16, 66),
        (49 + 17, b'A'),
        (49 + 16, 0),
        (7, 2),
    ] {
        let mut broken = tagged.clone();
        broken[at] = byte;
        assert!(GtidSet::decode(&broken).is_err(), "{at} {byte}");
    }
}

#[test]
fn encoding_with_bad_intervals_is_refused() {
    let body = |intervals: &[(u64, u64)]| {
        let mut out = 1_u64.to_le_bytes().to_vec();
        out.extend([7; 16]);
        out.extend((intervals.len() as u64).to_le_bytes());
        for (start, end) in intervals {
            out.extend(start.to_le_bytes());
            out.extend(end.to_le_bytes());
        }
        out
    };
    let limit = MAX_GNO + 1;
    for good in [&[][..], &[(1, 2)], &[(1, 2), (3, 4)], &[(limit - 1, limit)]] {
        let decoded = GtidSet::decode(&body(good)).unwrap();
        assert_eq!(decoded.iter_intervals().count(), good.len());
        assert_eq!(decoded.is_empty(), good.is_empty());
    }
    let negative = -5_i64 as u64;
    for bad in [
        &[(0, 2)][..],
        &[(2, 2)],
        &[(3, 2)],
        &[(1, 3), (2, 5)],
        &[(1, 3), (3, 5)],
        &[(5, 6), (1, 2)],
        &[(1, limit + 1)],
        &[(negative, negative + 1)],
    ] {
        assert!(GtidSet::decode(&body(bad)).is_err(), "{bad:?}");
    }
    let one = body(&[(1, 2)]);
    let twice = [&2_u64.to_le_bytes(), &one[8..], &one[8..]].concat();
    let error = GtidSet::decode(&twice).unwrap_err().to_string();
    assert!(error.contains("each source once at byte 48"), "{error}");
    let mut lying = one.clone();
    lying[24..32].fill(0xff);
    assert!(GtidSet::decode(&lying).is_err());
    lying[..7].fill(0xff);
    assert!(GtidSet::decode(&lying).is_err());
}

fn some_sid() -> impl Strategy<Value = Sid> {
    (
        0..3_u8,
        prop::sample::select(vec!["", "", "", "a", "a_long_tag_of_32_characters_long"]),
    )
        .prop_map(|(id, tag)| Sid {
            uuid: Uuid([id; 16]),
            tag: Tag::parse(tag).unwrap(),
        })
}

/// A set built from intervals and single GTIDs, with the same transactions in a HashSet.
fn some_set() -> impl Strategy<Value = (GtidSet, HashSet<Gtid>)> {
    prop::collection::vec((some_sid(), 1..40_u64, 0..6_u64), 0..24).prop_map(|parts| {
        let (mut set, mut model) = (GtidSet::new(), HashSet::new());
        for (sid, start, more) in parts {
            if more == 0 {
                let gtid = Gtid { sid, gno: start };
                assert_eq!(set.insert(gtid), model.insert(gtid));
            } else {
                set.insert_interval(sid, start, start + more);
                model.extend((start..=start + more).map(|gno| Gtid { sid, gno }));
            }
        }
        (set, model)
    })
}

fn members(set: &GtidSet) -> HashSet<Gtid> {
    set.iter_intervals()
        .flat_map(|(sid, start, end)| (start..=end).map(move |gno| Gtid { sid, gno }))
        .collect()
}

proptest! {
    #[test]
    fn set_operations_agree_with_the_model((a, in_a) in some_set(), (b, in_b) in some_set()) {
        prop_assert_eq!(&members(&a), &in_a);
        prop_assert_eq!(a.count(), in_a.len() as u128);
        for gno in 0..48 {
            for sid in a.sids().chain(b.sids()) {
                let gtid = Gtid { sid, gno };
                prop_assert_eq!(a.contains(&gtid), in_a.contains(&gtid));
            }
        }
        let (mut union, mut difference) = (a.clone(), a.clone());
        union.union_with(&b);
        difference.subtract(&b);
        prop_assert_eq!(members(&union), in_a.union(&in_b).copied().collect());
        prop_assert_eq!(members(&difference), in_a.difference(&in_b).copied().collect());
        prop_assert_eq!(a.is_subset_of(&b), in_a.is_subset(&in_b));
        prop_assert!(a.is_subset_of(&union) && difference.is_subset_of(&a));
        prop_assert_eq!(a.intersects(&b), !in_a.is_disjoint(&in_b));
        prop_assert!(!difference.intersects(&b));
        prop_assert_eq!(a == b, in_a == in_b);
        prop_assert_eq!(difference.is_empty(), in_a.is_subset(&in_b));
        // Equal sets compare equal, however they were built.
        difference.union_with(&b);
        prop_assert_eq!(difference, union);
    }

    #[test]
    fn text_and_encoding_round_trip((set, _) in some_set()) {
        prop_assert_eq!(&set.to_string().parse::<GtidSet>().unwrap(), &set);
        prop_assert_eq!(&set.to_mysql_string().parse::<GtidSet>().unwrap(), &set);
        for without in [set.without_tags(), set] {
            let mut bytes = encoded(&without);
            prop_assert_eq!(&GtidSet::decode(&bytes).unwrap(), &without);
            for cut in 0..bytes.len() {
                prop_assert!(GtidSet::decode(&bytes[..cut]).is_err());
            }
            bytes.push(0);
            prop_assert!(GtidSet::decode(&bytes).is_err());
        }
    }

    #[test]
    fn damaged_encoding_does_not_panic((set, _) in some_set(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encoded(&set);
        bytes[at.index(set.sids().count().max(1) * 8).min(7)] = byte;
        let _ = GtidSet::decode(&bytes);
        let mut bytes = encoded(&set);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(decoded) = GtidSet::decode(&bytes) {
            prop_assert_eq!(GtidSet::decode(&encoded(&decoded)).unwrap(), decoded);
        }
    }

    #[test]
    fn any_bytes_and_text_do_not_panic(bytes: Vec<u8>, text: String, tail in "[0-9a-c:, \\-]{0,40}") {
        let _ = GtidSet::decode(&bytes);
        let _ = text.parse::<GtidSet>();
        if let Ok(set) = format!("{A}:{tail}").parse::<GtidSet>() {
            prop_assert_eq!(set.to_string().parse::<GtidSet>().unwrap(), set);
        }
    }
}
