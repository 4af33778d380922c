//! DECIMAL values.
//!
//! The digits before and after the point are stored as big-endian numbers of nine digits, four
//! bytes each. The remaining digits, left of the first and right of the last such number,
//! have 1 to 4 bytes. The highest bit of all is inverted, so that values sort as bytes;
//! in negative values every bit is inverted.

use super::fields::{EventError, FieldReader};

const DIGITS_PER_WORD: usize = 9;
/// Bytes of 0 to 8 remaining decimal digits.
const PARTIAL_DIGIT_BYTES: [usize; DIGITS_PER_WORD] = [0, 1, 1, 2, 2, 3, 3, 4, 4];

/// Bytes of a DECIMAL(`precision`, `scale`); `None` if the type does not exist.
pub fn length(precision: u8, scale: u8) -> Option<usize> {
    let integral = precision.checked_sub(scale)?;
    let length = digits_length(integral.into()) + digits_length(scale.into());
    (length > 0).then_some(length)
}

fn partial_length(digits: usize) -> usize {
    let partial = PARTIAL_DIGIT_BYTES.get(digits % DIGITS_PER_WORD);
    partial.copied().unwrap_or(0)
}

fn digits_length(digits: usize) -> usize {
    digits / DIGITS_PER_WORD * 4 + partial_length(digits)
}

/// The value of a DECIMAL(`precision`, `scale`) at the beginning of `bytes`, with all digits of
/// the scale.
///
/// # Errors
/// When the type does not exist, or `bytes` is too short.
pub fn decode(bytes: &[u8], precision: u8, scale: u8) -> Result<String, EventError> {
    const NAME: &str = "DECIMAL value";
    let mut fields = FieldReader::new(NAME, bytes, 0);
    let Some(length) = length(precision, scale) else {
        return Err(fields.invalid("scale", 0, scale.into(), "no more than the precision"));
    };
    let mut bytes = fields.take("digits", length)?.to_vec();
    let mut negative = false;
    if let Some(first) = bytes.first_mut() {
        negative = *first & 0x80 == 0;
        *first ^= 0x80;
    }
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let integral = usize::from(precision - scale);
    let scale = usize::from(scale);
    let mut words = FieldReader::new(NAME, &bytes, 0);
    let mut digits = String::new();
    push_digits(&mut digits, &mut words, integral % DIGITS_PER_WORD)?;
    for _ in 0..integral / DIGITS_PER_WORD {
        push_digits(&mut digits, &mut words, DIGITS_PER_WORD)?;
    }
    let digits = digits.trim_start_matches('0');
    let mut text = String::with_capacity(integral + scale + 3);
    if negative {
        text.push('-');
    }
    text.push_str(if digits.is_empty() { "0" } else { digits });
    if scale > 0 {
        text.push('.');
        for _ in 0..scale / DIGITS_PER_WORD {
            push_digits(&mut text, &mut words, DIGITS_PER_WORD)?;
        }
        push_digits(&mut text, &mut words, scale % DIGITS_PER_WORD)?;
    }
    Ok(text)
}

fn push_digits(
    text: &mut String,
    words: &mut FieldReader<'_>,
    digits: usize,
) -> Result<(), EventError> {
    if digits == 0 {
        return Ok(());
    }
    let bytes = words.take(
        "digits",
        if digits == DIGITS_PER_WORD {
            4
        } else {
            partial_length(digits)
        },
    )?;
    let value = bytes
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    text.push_str(&format!("{value:0digits$}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_values_are_read() {
        let one = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(decode(&one, 14, 4).unwrap(), "1234567890.1234");
        let negative: Vec<u8> = one.iter().map(|byte| !byte).collect();
        assert_eq!(decode(&negative[..], 14, 4).unwrap(), "-1234567890.1234");
        assert_eq!(decode(&[0x80, 0, 0], 4, 2).unwrap(), "0.00");
        assert_eq!(decode(&[0x80], 1, 0).unwrap(), "0");
        assert_eq!(decode(&[0x8c], 2, 2).unwrap(), "0.12");
    }

    #[test]
    fn malformed_decimal_is_refused() {
        assert!(decode(&[0x80; 100], 2, 3).is_err());
        assert!(decode(&[0x80; 100], 0, 0).is_err());
        for precision in 0..=255 {
            for scale in 0..=255 {
                let decoded = decode(&[0xff; 300], precision, scale);
                assert_eq!(decoded.is_ok(), length(precision, scale).is_some());
                let Some(length) = length(precision, scale) else {
                    continue;
                };
                assert!(decode(&vec![0; length - 1], precision, scale).is_err());
            }
        }
    }
}
