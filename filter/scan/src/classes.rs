//! How often each class was predicted, for a bounded number of short names.

use crate::text::Text;

/// How many classes of one body are counted by name.
pub(crate) const MOST: usize = 20;

/// The longest name of a class, in bytes.
pub(crate) const LONGEST: usize = 32;

/// How much of a text shows that it is too long.
pub(crate) const TOO_LONG: usize = LONGEST + 1;

/// A name that looks like a sentence has more words than this.
const MOST_WORDS: usize = 3;

/// Numbers below this one have a remembered position.
const SMALL: usize = 100;
const NOWHERE: u8 = u8::MAX;

/// The largest whole number that is also counted as a class.
const LARGEST_INTEGER: f64 = 99.0;

/// A class and how often it was predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) name: Text<LONGEST>,
    pub(crate) count: u32,
}

/// The classes of one body. Allocates memory with the first class.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    named: Vec<Class>,
    /// The position of each small number in `named`, so that a number need not be written and looked for each time.
    numbers: Vec<u8>,
    pub(crate) other: u32,
}

impl Classes {
    /// Counts a text. Texts that are too long or look like free text are counted together.
    pub(crate) fn add(&mut self, name: &[u8]) {
        self.count(name);
    }

    /// Counts a text. Returns the position of its class in `named`, if the class was known.
    fn count(&mut self, name: &[u8]) -> Option<usize> {
        let known = self.named.iter_mut().enumerate().find(|(_, class)| class.name.head() == name);
        if let Some((position, class)) = known {
            class.count = class.count.saturating_add(1);
            return Some(position);
        }
        if self.named.len() < MOST && !is_free_text(name) {
            if self.named.capacity() == 0 {
                self.named.reserve_exact(MOST);
            }
            self.named.push(Class { name: Text::from(name), count: 1 });
        } else {
            self.add_other();
        }
        None
    }

    /// Counts a number, if it is a small whole one.
    pub(crate) fn add_number(&mut self, number: f64) {
        if (0.0..=LARGEST_INTEGER).contains(&number) && number.trunc() == number {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked just above"
            )]
            self.add_index(number as u32);
        }
    }

    /// Counts the position of a vector's largest element.
    pub(crate) fn add_index(&mut self, index: u32) {
        let position = self.numbers.get(index as usize).map_or(NOWHERE, |position| *position);
        if let Some(class) = self.named.get_mut(usize::from(position)) {
            class.count = class.count.saturating_add(1);
            return;
        }
        let mut digits = [0; 10];
        let position = self.count(decimal(index, &mut digits));
        if self.numbers.is_empty() {
            self.numbers = vec![NOWHERE; SMALL];
        }
        if let Some((slot, position)) = self.numbers.get_mut(index as usize).zip(position) {
            *slot = u8::try_from(position).unwrap_or(NOWHERE);
        }
    }

    pub(crate) fn add_other(&mut self) {
        self.other = self.other.saturating_add(1);
    }

    /// The named classes, in the order of their first appearance.
    pub(crate) fn named(&self) -> &[Class] {
        &self.named
    }

    pub(crate) fn clear(&mut self) {
        self.named.clear();
        self.numbers.clear();
        self.other = 0;
    }
}

/// Whether a text does not look like the name of a class.
fn is_free_text(text: &[u8]) -> bool {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    text.len() > LONGEST || words == 0 || words > MOST_WORDS || text.iter().any(u8::is_ascii_control)
}

fn decimal(number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let (mut left, mut used) = (number, 0_usize);
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(left % 10).unwrap_or(0));
        left /= 10;
        used = used.saturating_add(1);
        if left == 0 {
            break;
        }
    }
    digits.get(digits.len().saturating_sub(used)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Classes, MOST, decimal};

    #[test]
    fn integers_are_written_in_decimal() {
        for number in [0, 7, 10, 99, 4_294_967_295] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn free_text_and_late_names_count_as_other() {
        let mut classes = Classes::default();
        for name in ["a name of words", "", " ", "two\nlines", "a name that has thirty-three bytes"] {
            classes.add(name.as_bytes());
        }
        assert_eq!((classes.named().len(), classes.other), (0, 5));
        (0..=MOST).for_each(|index| classes.add(format!("class {index}").as_bytes()));
        assert_eq!((classes.named().len(), classes.other), (MOST, 6));
    }

    #[test]
    fn only_small_whole_numbers_are_classes() {
        let mut classes = Classes::default();
        [0.0, 7.0, 99.0, 0.5, -1.0, 100.0, f64::NAN]
            .into_iter()
            .for_each(|number| classes.add_number(number));
        let names: Vec<_> = classes.named().iter().map(|class| class.name.head()).collect();
        assert_eq!(names, [b"0".as_slice(), b"7", b"99"]);
    }
}
