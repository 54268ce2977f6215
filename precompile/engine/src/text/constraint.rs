//! What an answer must be: one of some options, a number of a range, a match of a regular expression, or JSON of a schema.
//!
//! | constraint | tensor |
//! | --- | --- |
//! | anything | `[]` |
//! | one of these | `["choice", option, option, ...]` |
//! | an integer from min to max | `["range", "min", "max"]` |
//! | a match of the whole answer | `["regex", pattern]` |
//! | JSON | `["json", schema]` |

use foreblock_precompile::{Failure, FailureCode};

use super::schema;

/// Most options to choose from.
const OPTIONS_MAX: usize = 256;

/// What an answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Constraint {
    /// One of these texts.
    Choice(Vec<String>),
    /// A number, written in decimals.
    Range(i64, i64),
    /// A text that this expression matches as a whole.
    Pattern(String),
}

/// A constraint that cannot be followed.
pub(super) fn refused(reason: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Constraint, reason)
}

impl Constraint {
    /// Reads the tensor; `None` for a free answer.
    pub(super) fn read(words: &[String]) -> Result<Option<Self>, Failure> {
        let Some((kind, arguments)) = words.split_first() else { return Ok(None) };
        let constraint = match (kind.as_str(), arguments) {
            ("choice", options) => choice(options)?,
            ("range", [min, max]) => range(min, max)?,
            ("regex", [pattern]) => Self::Pattern(pattern.clone()),
            ("json", [schema]) => Self::Pattern(schema::pattern(schema)?),
            _ => {
                let expected = "expected choice with options, range with min and max, regex with one pattern, or json with one schema";
                return Err(refused(format!(
                    "a constraint with {} arguments is not known; {expected}",
                    arguments.len()
                )));
            }
        };
        Ok(Some(constraint))
    }

    /// The same as a regular expression.
    pub(super) fn pattern(&self) -> String {
        match self {
            Self::Choice(options) => alternatives(options.iter().map(|option| escaped(option))),
            Self::Range(min, max) => integers(*min, *max),
            Self::Pattern(pattern) => pattern.clone(),
        }
    }

    /// The index of an option, or the number; 0 for other constraints.
    pub(super) fn value(&self, text: &str) -> i64 {
        match self {
            Self::Choice(options) => options.iter().position(|option| option == text).map_or(0, |index| index as i64),
            Self::Range(..) => text.parse().unwrap_or(0),
            Self::Pattern(_) => 0,
        }
    }
}

fn choice(options: &[String]) -> Result<Constraint, Failure> {
    if options.is_empty() || options.len() > OPTIONS_MAX {
        return Err(refused(format!("{} options: expected 1 to {OPTIONS_MAX}", options.len())));
    }
    for (index, option) in options.iter().enumerate() {
        if option.is_empty() {
            return Err(refused(format!("option {index} is empty")));
        }
        // Else the model could not say whether it has finished.
        let longer =
            options.iter().enumerate().find(|(other, text)| *other != index && text.starts_with(option.as_str()));
        if let Some((other, _)) = longer {
            return Err(refused(format!(
                "option {index} is how option {other} begins: end both with something different"
            )));
        }
    }
    Ok(Constraint::Choice(options.to_vec()))
}

fn range(min: &str, max: &str) -> Result<Constraint, Failure> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| refused("a range takes two decimal integers of 64 bits"));
    match (number(min)?, number(max)?) {
        (min, max) if min <= max => Ok(Constraint::Range(min, max)),
        _ => Err(refused("the range is empty: its minimum is above its maximum")),
    }
}

/// A regular expression that matches this text only.
pub(super) fn escaped(text: &str) -> String {
    let escape = |c: char| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() };
    text.chars().map(escape).collect()
}

pub(super) fn alternatives(patterns: impl Iterator<Item = String>) -> String {
    format!("(?:{})", patterns.collect::<Vec<_>>().join("|"))
}

/// Decimal integers from `min` to `max`, without signs and zeros that are not needed.
pub(super) fn integers(min: i64, max: i64) -> String {
    let mut parts = Vec::new();
    if min < 0 {
        let (least, most) = (max.min(-1).unsigned_abs(), min.unsigned_abs());
        parts.extend(naturals(least, most).into_iter().map(|part| format!("-{part}")));
    }
    if max >= 0 {
        parts.extend(naturals(min.max(0).unsigned_abs(), max.unsigned_abs()));
    }
    alternatives(parts.into_iter())
}

/// Patterns for the numbers from `min` to `max`, one for each number of digits.
fn naturals(min: u64, max: u64) -> Vec<String> {
    let digits = |number: u64| number.to_string().len();
    let shortest = |length: usize| if length == 1 { 0 } else { 10u64.pow(length as u32 - 1) };
    let longest = |length: usize| 10u64.checked_pow(length as u32).map_or(u64::MAX, |next| next - 1);
    let of_length = |length| {
        let (low, high) = (min.max(shortest(length)), max.min(longest(length)));
        between(low.to_string().as_bytes(), high.to_string().as_bytes())
    };
    (digits(min)..=digits(max)).map(of_length).collect()
}

/// Digits from `low` to `high`, which have the same length.
fn between(low: &[u8], high: &[u8]) -> String {
    let (Some((a, low_rest)), Some((b, high_rest))) = (low.split_first(), high.split_first()) else {
        return String::new();
    };
    if low.iter().all(|digit| *digit == b'0') && high.iter().all(|digit| *digit == b'9') {
        return format!("[0-9]{{{}}}", low.len());
    }
    let digit = |digit: u8| char::from(digit);
    if a == b {
        return format!("{}{}", digit(*a), between(low_rest, high_rest));
    }
    let (zeros, nines) = (vec![b'0'; low_rest.len()], vec![b'9'; low_rest.len()]);
    let mut parts = vec![format!("{}{}", digit(*a), between(low_rest, &nines))];
    if a + 1 < *b {
        parts.push(format!("[{}-{}]{}", digit(a + 1), digit(b - 1), between(&zeros, &nines)));
    }
    parts.push(format!("{}{}", digit(*b), between(&zeros, high_rest)));
    alternatives(parts.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::paths::Paths;

    fn read(words: &[&str]) -> Result<Option<Constraint>, Failure> {
        Constraint::read(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn ranges_match_their_numbers_only() {
        for (min, max) in [(0, 0), (3, 17), (1, 100), (95, 1203), (-12, 7), (-105, -99), (0, 9), (-1, 0)] {
            let paths = Paths::compile(&integers(min, max)).unwrap();
            for number in -1300..1300i64 {
                let expected = (min..=max).contains(&number);
                assert_eq!(paths.matches(number.to_string().as_bytes()), expected, "{number} of {min} to {max}");
            }
            for text in ["", "-", "-0", "00", "01", "+1", "1 ", "1.0"] {
                assert!(!paths.matches(text.as_bytes()), "{text:?} of {min} to {max}");
            }
        }
        let all = Paths::compile(&integers(i64::MIN, i64::MAX)).unwrap();
        for (text, expected) in [
            ("-9223372036854775808", true),
            ("9223372036854775807", true),
            ("9223372036854775808", false),
            ("-9223372036854775809", false),
        ] {
            assert_eq!(all.matches(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn options_are_taken_as_they_are() {
        let constraint = read(&["choice", "a.b*", "(c)|d", "größe"]).unwrap().unwrap();
        let paths = Paths::compile(&constraint.pattern()).unwrap();
        for (text, expected) in [("a.b*", true), ("axb", false), ("(c)|d", true), ("(c)", false), ("größe", true)] {
            assert_eq!(paths.matches(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(constraint.value("größe"), 2);
    }

    #[test]
    fn constraints_that_cannot_be_followed_say_so() {
        for (words, expected) in [
            (&["choice"] as &[&str], "0 options"),
            (&["choice", "yes", ""], "option 1 is empty"),
            (&["choice", "yes, but", "no", "yes"], "option 2 is how option 0 begins"),
            (&["choice", "yes", "yes"], "option 0 is how option 1 begins"),
            (&["range", "5", "4"], "the range is empty"),
            (&["range", "0", "9223372036854775808"], "64 bits"),
            (&["range", "1"], "not known"),
            (&["grammar", "x"], "not known"),
            (&["json", "{"], "schema"),
        ] {
            let failure = read(words).unwrap_err();
            assert_eq!(failure.code, FailureCode::Constraint, "{words:?}");
            assert!(failure.reason.contains(expected), "{words:?}: {failure}");
        }
        assert_eq!(read(&[]).unwrap(), None);
    }
}
