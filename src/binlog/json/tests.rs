use super::*;

fn text(bytes: &[u8]) -> Result<String, EventError> {
    let document = Document::decode(bytes)?;
    Ok(String::from_utf8(document.into_json()).unwrap())
}

/// `{"a": 1, "b": [true, "x\n"]}`, small or large.
fn sample(width: usize) -> Vec<u8> {
    let number = |value: usize| value.to_le_bytes()[..width].to_vec();
    let array_len = 2 * width + 2 * (1 + width) + 3;
    let keys_at = 2 * width + 2 * (width + 2) + 2 * (1 + width);
    let mut bytes = vec![if width == 2 {
        SMALL_OBJECT
    } else {
        LARGE_OBJECT
    }];
    bytes.extend(number(2));
    bytes.extend(number(keys_at + 2 + array_len));
    for key in 0..2 {
        bytes.extend(number(keys_at + key));
        bytes.extend([1, 0]);
    }
    bytes.push(INT16);
    bytes.extend(number(1));
    bytes.push(if width == 2 { SMALL_ARRAY } else { LARGE_ARRAY });
    bytes.extend(number(keys_at + 2));
    bytes.extend(b"ab");
    bytes.extend(number(2));
    bytes.extend(number(array_len));
    bytes.push(LITERAL);
    bytes.extend(number(1));
    bytes.push(STRING);
    bytes.extend(number(array_len - 3));
    bytes.extend(b"\x02x\n");
    bytes
}

#[test]
fn containers_are_read_and_damage_is_safe() {
    for width in [2, 4] {
        let bytes = sample(width);
        assert_eq!(text(&bytes).unwrap(), r#"{"a": 1, "b": [true, "x\n"]}"#);
        for cut in 1..bytes.len() {
            assert!(text(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for byte in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[byte] ^= 1 << bit;
                // It may be another document, but reading it must not fail.
                if let Ok(document) = Document::decode(&damaged) {
                    assert!(document.text.len() < 1000);
                }
            }
        }
    }
}

#[test]
fn scalars_are_read() {
    assert_eq!(text(&[]).unwrap(), "null");
    assert_eq!(text(&[LITERAL, 2]).unwrap(), "false");
    assert!(text(&[LITERAL, 3]).is_err());
    assert!(text(&[13, 0, 0]).is_err());
    assert_eq!(text(&[INT16, 0xff, 0xff]).unwrap(), "-1");
    assert_eq!(
        text(&[UINT64, 255, 255, 255, 255, 255, 255, 255, 255]).unwrap(),
        u64::MAX.to_string()
    );
    assert_eq!(text(b"\x0c\x02\x01\"").unwrap(), "\"\\u0001\\\"\"");
    let document = Document::decode(b"\x0c\x02\x01\"").unwrap();
    assert_eq!(
        (document.shape, &document.text[..]),
        (Shape::String, &b"\x01\""[..])
    );
    assert!(text(b"\x0c\xff\xff\xff\xff\xff\x01").is_err());
}

#[test]
fn opaque_values_are_read() {
    assert_eq!(text(&[OPAQUE, 246, 4, 3, 2, 0x81, 50]).unwrap(), "1.50");
    assert_eq!(
        text(&[OPAQUE, 15, 2, 0, 255]).unwrap(),
        "\"base64:type15:AP8=\""
    );
    assert_eq!(text(&[OPAQUE, 15, 0]).unwrap(), "\"base64:type15:\"");
    let mut time = vec![OPAQUE, column_type::TIME, 8];
    time.extend((-(1_i64 << 24) - 5).to_le_bytes());
    assert_eq!(text(&time).unwrap(), "\"-00:00:01.000005\"");
    for cut in 1..time.len() {
        assert!(text(&time[..cut]).is_err());
    }
    assert_eq!(base64(&[0; 58]).find('\n'), Some(76));
    assert_eq!(base64(&[0; 57]).find('\n'), None);
}

/// A small document that would give terabytes: arrays that hold the same array over and over.
#[test]
fn shared_offsets_do_not_multiply_the_text() {
    const COUNT: u16 = 100;
    let size = 4 + 3 * COUNT;
    let mut bytes = vec![SMALL_ARRAY];
    for level in 0..10_u16 {
        bytes.extend(COUNT.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        for _ in 0..COUNT {
            bytes.push(if level < 9 { SMALL_ARRAY } else { LITERAL });
            bytes.extend(if level < 9 { size } else { 0 }.to_le_bytes());
        }
    }
    let error = text(&bytes).unwrap_err().to_string();
    assert!(error.contains("length of the text"), "{error}");
    // An array that holds itself.
    let itself = [SMALL_ARRAY, 1, 0, 7, 0, SMALL_ARRAY, 0, 0];
    let error = text(&itself).unwrap_err().to_string();
    assert!(error.contains("depth"), "{error}");
}
