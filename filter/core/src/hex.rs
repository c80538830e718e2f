//! Hexadecimal digits, as percent-encoding and the names of counters use them.

/// The byte that two hexadecimal digits stand for, in upper or lower case.
pub(crate) fn decode(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)?.wrapping_shl(4) | digit(low)?)
}
