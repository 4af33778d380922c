use super::*;

#[test]
fn decimals_are_decoded_and_truncated_ones_refused() {
    // 1234567890.1234, the example in MySQL's manual of the format: groups 1, 234567890 and 1234.
    let value = [14, 4, 0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
    assert_eq!(decimal(&value).unwrap(), "1234567890.1234");
    let mut negative = value;
    negative[2..].iter_mut().for_each(|byte| *byte = !*byte);
    assert_eq!(decimal(&negative).unwrap(), "-1234567890.1234");
    for cut in 0..value.len() {
        assert!(decimal(&value[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(decimal(&[2, 2, 0x80 | 5]).unwrap(), "0.05");
    assert_eq!(decimal(&[3, 0, 0x80, 7]).unwrap(), "7");
}
