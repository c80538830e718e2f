//! Numbers as JSON writes them.

/// The powers of ten that a float represents exactly.
const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The powers of ten by which up to eight digits shift a number to the left.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// A float represents integers up to this one exactly.
const EXACT_INTEGERS: u64 = 1 << 53;

/// This many digits always fit into a `u64`.
const FITTING: u32 = 19;

/// Reads a whole JSON number.
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    let (value, rest) = prefix(text)?;
    rest.is_empty().then_some(value)
}

/// Reads the JSON number that `text` begins with. Returns what follows it, too.
pub(crate) fn prefix(text: &[u8]) -> Option<(f64, &[u8])> {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let mut digits = Digits::default();
    let rest = digits.integer(unsigned)?;
    let rest = digits.fraction(rest)?;
    let (exponent, rest) = exponent(rest)?;
    let value = match digits.value(exponent) {
        Some(value) => value,
        // Rare: more digits or a larger exponent than a few exact operations can combine.
        None => slowly(unsigned, rest.len())?,
    };
    Some((if unsigned.len() < text.len() { -value } else { value }, rest))
}

/// Reads all of `text` but the last bytes.
fn slowly(text: &[u8], without: usize) -> Option<f64> {
    let number = text.get(..text.len().checked_sub(without)?)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[derive(Default)]
struct Digits {
    /// All digits as one integer, which wraps if they do not fit.
    mantissa: u64,
    /// How many digits there are.
    count: u32,
    /// How many of the digits are after the decimal point.
    scale: u32,
}

impl Digits {
    /// Reads digits without a superfluous leading zero.
    fn integer<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let rest = self.append(text);
        let is_number = self.count == 1 || (self.count > 1 && text.first() != Some(&b'0'));
        is_number.then_some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let Some((b'.', rest)) = text.split_first() else { return Some(text) };
        let before = self.count;
        let rest = self.append(rest);
        self.scale = self.count.saturating_sub(before);
        (self.scale > 0).then_some(rest)
    }

    /// Appends the digits that `text` begins with, eight at a time. Returns what follows them.
    fn append<'a>(&mut self, mut text: &'a [u8]) -> &'a [u8] {
        loop {
            let digits = Eight::new(text);
            let shift = SHIFTS.get(digits.count as usize).copied().unwrap_or(1);
            self.mantissa = self.mantissa.wrapping_mul(shift).wrapping_add(digits.value());
            self.count = self.count.saturating_add(digits.count);
            text = text.get(digits.count as usize..).unwrap_or_default();
            if digits.count < 8 {
                return text;
            }
        }
    }

    /// The correctly rounded value, if it can be computed from exact floats.
    fn value(&self, exponent: i32) -> Option<f64> {
        if self.count > FITTING {
            return None;
        }
        let exponent = exponent.saturating_sub_unsigned(self.scale);
        let power = *EXACT.get(exponent.unsigned_abs() as usize)?;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        let mantissa = self.mantissa as f64;
        match (exponent < 0, self.mantissa <= EXACT_INTEGERS) {
            (true, true) => Some(mantissa / power),
            (true, false) => divide(self.mantissa, power),
            (false, true) => Some(mantissa * power),
            (false, false) => None,
        }
    }
}

/// The digits at the beginning of a text, up to eight.
struct Eight {
    /// The bytes, the first one lowest. Digits have the values 0 to 9.
    bytes: u64,
    count: u32,
}

impl Eight {
    fn new(text: &[u8]) -> Self {
        let bytes = match text.first_chunk() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => text.iter().rfold(0, |bytes, byte| (bytes << 8) | u64::from(*byte)),
        };
        let bytes = bytes ^ 0x3030_3030_3030_3030;
        // Sets the highest bit of the first byte above 9. A carry reaches only the bytes behind it.
        let others = (bytes | bytes.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080;
        Self { bytes, count: others.trailing_zeros() / 8 }
    }

    /// The digits as a number. Pairs, fours and eights are joined in all lanes at once.
    fn value(&self) -> u64 {
        let unused = 64_u32.saturating_sub(self.count.saturating_mul(8));
        let ones = self.bytes.checked_shl(unused).unwrap_or(0);
        let pairs = ones.wrapping_mul(10).wrapping_add(ones >> 8);
        let even = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
        let odd = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
        even.wrapping_add(odd) >> 32
    }
}

/// Divides exactly, then rounds once. Returns `None` if the result is too close to the middle of two floats.
fn divide(mantissa: u64, power: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "`low` is what is lost")]
    let high = mantissa as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        reason = "less than 10^19, and the difference is small"
    )]
    let low = mantissa.wrapping_sub(high as u64) as i64 as f64;
    let quotient = high / power;
    let (product, error) = multiply(quotient, power);
    let correction = ((high - product) - error + low) / power;
    // All errors of the correction together are far smaller, and a float has 53 bits.
    let slack = quotient * 2_f64.powi(-90);
    let (least, most) = (quotient + (correction - slack), quotient + (correction + slack));
    (least == most).then_some(least)
}

/// Dekker's product of two floats: the rounded one, and its exact error.
fn multiply(one: f64, other: f64) -> (f64, f64) {
    let product = one * other;
    let ((one_high, one_low), (other_high, other_low)) = (split(one), split(other));
    let error = one_low * other_low
        - (((product - one_high * other_high) - one_low * other_high) - one_high * other_low);
    (product, error)
}

/// Veltkamp's split of a float into two of half its bits.
fn split(value: f64) -> (f64, f64) {
    let scaled = value * 134_217_729.0;
    let high = scaled - (scaled - value);
    (high, value - high)
}

/// The exponent that `text` begins with, or 0, and what follows.
fn exponent(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some((b'e' | b'E', rest)) = text.split_first() else { return Some((0, text)) };
    let (negative, unsigned) = match rest.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, rest),
    };
    let mut digits = Digits::default();
    let rest = digits.append(unsigned);
    if digits.count == 0 {
        return None;
    }
    let size = (digits.count <= FITTING).then_some(digits.mantissa);
    let size = size.and_then(|size| i32::try_from(size).ok()).unwrap_or(i32::MAX / 2);
    Some((if negative { size.saturating_neg() } else { size }, rest))
}

#[cfg(test)]
mod tests {
    use super::{parse, prefix};

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
    fn random_numbers_equal_what_the_standard_library_reads() {
        let mut state = 1_u64;
        for round in 0..400_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let text = match round % 4 {
                0 => format!("0.{:016}", state >> 11),
                1 => format!("{}.{:011}", state % 1_000, state >> 28),
                2 => (f64::from_bits(state >> 2)).abs().to_string(),
                _ => format!("{}e-{}", state >> 1, state % 29),
            };
            let expected: f64 = text.parse().unwrap();
            assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
    }

    #[test]
    fn number_ends_at_the_first_other_byte() {
        for (text, rest) in
            [("1, 2", ", 2"), ("-0.5]", "]"), ("12345678 ", " "), ("1e-3}", "}"), ("7\u{fa}", "\u{fa}")]
        {
            assert_eq!(prefix(text.as_bytes()).map(|(_, rest)| rest), Some(rest.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_number_is_refused() {
        for text in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "1x", "--1", "1.2.3", "NaN", "1e5.0"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
