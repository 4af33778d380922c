//! Floating-point numbers as the servers and their tools write them.

/// As `printf("%.*g")` of C: with `digits` significant digits, without trailing zeros.
pub fn general(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let digits = digits.max(1);
    let exact = format!("{value:.*e}", digits - 1);
    let Some(parts) = Parts::of(&exact) else {
        return exact;
    };
    let precision = i32::try_from(digits).unwrap_or(i32::MAX);
    if parts.exponent < -4 || parts.exponent >= precision {
        let sign = if parts.exponent < 0 { '-' } else { '+' };
        return format!(
            "{}e{sign}{:02}",
            parts.mantissa(),
            parts.exponent.unsigned_abs()
        );
    }
    parts.fixed()
}

/// As C's `printf("%.*e")`, with `digits` digits after the point.
pub fn exponential(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let exact = format!("{value:.digits$e}");
    let Some((mantissa, exponent)) = exact.split_once('e') else {
        return exact;
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// As MySQL writes a DOUBLE in a JSON document: the shortest digits that yield the same value, and
/// always a point or an exponent.
pub fn json(value: f64) -> String {
    /// The most digits before the point, and zeros after it, of a number written without exponent.
    const PLAIN_DIGITS: i32 = 15;
    if !value.is_finite() {
        return not_finite(value);
    }
    let shortest = format!("{value:e}");
    let Some(parts) = Parts::of(&shortest) else {
        return shortest;
    };
    if parts.exponent >= PLAIN_DIGITS || parts.exponent < -PLAIN_DIGITS {
        return format!("{}e{}", parts.mantissa(), parts.exponent);
    }
    let mut text = parts.fixed();
    if !text.contains('.') {
        text.push_str(".0");
    }
    text
}

fn not_finite(value: f64) -> String {
    match (value.is_nan(), value.is_sign_negative()) {
        (true, false) => "nan",
        (true, true) => "-nan",
        (false, false) => "inf",
        (false, true) => "-inf",
    }
    .to_owned()
}

/// A number as sign, digits and the power of ten of the first digit.
struct Parts {
    negative: bool,
    /// At least one, without trailing zeros, except for a single zero.
    digits: String,
    exponent: i32,
}

impl Parts {
    /// From the form that Rust's `{:e}` gives.
    fn of(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once('e')?;
        let digits = mantissa.replace('.', "");
        let digits = digits.trim_end_matches('0');
        Some(Self {
            negative,
            digits: if digits.is_empty() { "0" } else { digits }.to_owned(),
            exponent: exponent.parse().ok()?,
        })
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }

    fn mantissa(&self) -> String {
        let (first, rest) = self.digits.split_at_checked(1).unwrap_or(("0", ""));
        let point = if rest.is_empty() { "" } else { "." };
        format!("{}{first}{point}{rest}", self.sign())
    }

    fn fixed(&self) -> String {
        let sign = self.sign();
        let Ok(integral) = usize::try_from(self.exponent + 1) else {
            let zeros = "0".repeat(self.exponent.unsigned_abs() as usize - 1);
            return format!("{sign}0.{zeros}{}", self.digits);
        };
        match self.digits.split_at_checked(integral) {
            Some(("", fraction)) => format!("{sign}0.{fraction}"),
            Some((whole, "")) => format!("{sign}{whole}"),
            Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
            None => format!("{sign}{:0<integral$}", self.digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_by_printf() {
        let numbers = [
            (0.0, 6, "0"),
            (-0.0, 6, "-0"),
            (1.5, 6, "1.5"),
            (100_000.5, 6, "100000"),
            (100_001.5, 6, "100002"),
            (999_999.5, 6, "1e+06"),
            (0.0001, 6, "0.0001"),
            (0.00001, 6, "1e-05"),
            (123_456_789.125, 20, "123456789.125"),
            (-0.1, 20, "-0.10000000000000000555"),
            (1e22, 20, "1e+22"),
            (1e16, 20, "10000000000000000"),
            (f64::MAX, 20, "1.7976931348623157081e+308"),
            (5e-324, 20, "4.9406564584124654418e-324"),
            (f64::INFINITY, 6, "inf"),
        ];
        for (number, digits, expected) in numbers {
            assert_eq!(general(number, digits), expected);
        }
        assert_eq!(exponential(-3e10, 5), "-3.00000e+10");
        assert_eq!(exponential(0.0, 5), "0.00000e+00");
        assert_eq!(exponential(1e-100, 5), "1.00000e-100");
    }

    #[test]
    fn numbers_in_json_are_written_as_by_mysql() {
        let numbers = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e14, "100000000000000.0"),
            (1e15, "1e15"),
            (9_007_199_254_740_993.0, "9.007199254740992e15"),
            (
                1.234_567_890_123_456_7e-15,
                "0.0000000000000012345678901234568",
            ),
            (1e-16, "1e-16"),
            (-1.5e-300, "-1.5e-300"),
        ];
        for (number, expected) in numbers {
            assert_eq!(json(number), expected);
        }
    }
}
