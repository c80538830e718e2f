//! Numbers as JSON writes them.

/// The powers of ten that a float represents exactly.
const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A float represents integers up to this one exactly.
const EXACT_INTEGERS: u64 = 1 << 53;

/// This many digits always fit into a `u64`.
const FITTING: usize = 19;

/// Reads a whole JSON number.
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let mut digits = Digits::default();
    let rest = digits.integer(unsigned)?;
    let rest = digits.fraction(rest)?;
    let exponent = exponent(rest)?.saturating_sub(digits.scale);
    let value = match digits.exactly(exponent) {
        Some(value) => value,
        // Rare: more digits or a larger exponent than one exact operation can combine.
        None => std::str::from_utf8(unsigned).ok()?.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

#[derive(Default)]
struct Digits {
    /// All digits as one integer; `None` if they may not fit.
    mantissa: Option<u64>,
    /// How many digits there are.
    count: usize,
    /// How many of the digits are after the decimal point.
    scale: i32,
}

impl Digits {
    /// Reads digits without a superfluous leading zero.
    fn integer<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let (digits, rest) = leading_digits(text);
        if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
            return None;
        }
        self.mantissa = Some(0);
        self.append(digits);
        Some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let Some((b'.', rest)) = text.split_first() else { return Some(text) };
        let (digits, rest) = leading_digits(rest);
        self.append(digits);
        self.scale = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        (!digits.is_empty()).then_some(rest)
    }

    /// Counts digits first: a checked multiplication of 64 bits is slow in WebAssembly.
    fn append(&mut self, digits: &[u8]) {
        self.count = self.count.saturating_add(digits.len());
        let fitting = self.mantissa.filter(|_| self.count <= FITTING);
        self.mantissa = fitting.map(|mantissa| append(mantissa, digits));
    }

    /// The value, if one multiplication or division of exact floats gives it correctly rounded.
    fn exactly(&self, exponent: i32) -> Option<f64> {
        let mantissa = self.mantissa.filter(|mantissa| *mantissa <= EXACT_INTEGERS)?;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which was checked")]
        let mantissa = mantissa as f64;
        let power = EXACT.get(exponent.unsigned_abs() as usize)?;
        Some(if exponent < 0 { mantissa / power } else { mantissa * power })
    }
}

/// The exponent that is all of `text`; 0 if there is none.
fn exponent(text: &[u8]) -> Option<i32> {
    let Some((b'e' | b'E', rest)) = text.split_first() else { return text.is_empty().then_some(0) };
    let (negative, rest) = match rest.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, rest),
    };
    let (digits, rest) = leading_digits(rest);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let size = (digits.len() <= FITTING).then(|| append(0, digits));
    let size = size.and_then(|size| i32::try_from(size).ok()).unwrap_or(i32::MAX / 2);
    Some(if negative { size.saturating_neg() } else { size })
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(length).unwrap_or((text, &[]))
}

fn append(mantissa: u64, digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(mantissa, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_equal_what_serde_json_reads() {
        let texts = [
            "0",
            "-0",
            "7",
            "-12",
            "0.3",
            "0.1",
            "1e3",
            "1E-7",
            "0.9816568320652066",
            "1.4395043299306138e-8",
            "123456789012345678901234567890",
            "0.30000000000000004",
            "1e308",
            "5e-324",
            "9007199254740993",
            "2.5e+3",
            "100000000000000000000000e-22",
        ];
        for text in texts {
            let expected: f64 = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_number_is_refused() {
        for text in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "1x", "--1", "1.2.3", "NaN", "1e5.0"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
