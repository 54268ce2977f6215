//! `console.log`: calls to an address without code, whose data is what a contract wants to be printed.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::{Address, address, hex, keccak256, map::HashMap};
use std::sync::OnceLock;

/// Where contracts send what they log: the letters `console.log`.
pub const CONSOLE: Address = address!("000000000000000000636F6e736F6c652e6c6f67");

/// The text of a call to the console; `None` where its selector is not known or its data does not fit.
pub(super) fn line(input: &[u8]) -> Option<String> {
    let (selector, data) = input.split_first_chunk::<4>()?;
    let types = signatures().get(selector)?;
    let values = DynSolType::Tuple(types.clone()).abi_decode_params(data).ok()?;
    Some(text(values.as_fixed_seq()?))
}

/// Selector and parameters of every `console.log*`.
fn signatures() -> &'static HashMap<[u8; 4], Vec<DynSolType>> {
    static SIGNATURES: OnceLock<HashMap<[u8; 4], Vec<DynSolType>>> = OnceLock::new();
    SIGNATURES.get_or_init(|| {
        let mut signatures = HashMap::default();
        let mut add = |name: &str, types: &[&str]| {
            let hash = keccak256(format!("{name}({})", types.join(",")));
            let parsed = types.iter().map(|kind| DynSolType::parse(kind).expect("these are types")).collect();
            signatures.insert([hash[0], hash[1], hash[2], hash[3]], parsed);
        };
        // `uint` and `int` stand in the selectors of old libraries, which took the alias for the type.
        for words in [["uint256", "string", "bool", "address"], ["uint", "string", "bool", "address"]] {
            combinations(&words, &mut |types| add("log", types));
        }
        for (name, kind) in [
            ("log", "int256"),
            ("log", "int"),
            ("log", "bytes"),
            ("logInt", "int256"),
            ("logInt", "int"),
            ("logUint", "uint256"),
            ("logUint", "uint"),
            ("logString", "string"),
            ("logBool", "bool"),
            ("logAddress", "address"),
            ("logBytes", "bytes"),
        ] {
            add(name, &[kind]);
        }
        for length in 1..=32 {
            add(&format!("logBytes{length}"), &[&format!("bytes{length}")]);
            add("log", &[&format!("bytes{length}")]);
        }
        signatures
    })
}

/// All sequences of 0 to 4 of these words.
fn combinations<'a>(words: &[&'a str], take: &mut impl FnMut(&[&'a str])) {
    let mut sequences: Vec<Vec<&str>> = vec![Vec::new()];
    for _ in 0..=4 {
        sequences.iter().for_each(|sequence| take(sequence));
        let longer = sequences.iter().flat_map(|sequence| {
            words.iter().map(move |word| sequence.iter().copied().chain([*word]).collect::<Vec<_>>())
        });
        sequences = longer.collect();
    }
}

/// Values with blanks between, after those that the first one, if it is a text, has places for.
fn text(values: &[DynSolValue]) -> String {
    let Some((DynSolValue::String(format), rest)) = values.split_first() else {
        return values.iter().map(word).collect::<Vec<_>>().join(" ");
    };
    let (mut rest, mut text) = (rest.iter(), String::new());
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        let kind = letters.peek().copied().filter(|_| letter == '%').unwrap_or_default();
        match kind {
            '%' => text.push('%'),
            's' | 'd' | 'i' | 'o' | 'x' | 'e' if rest.len() > 0 => {
                text.extend(rest.next().map(|value| placed(value, kind)))
            }
            _ => {
                text.push(letter);
                continue;
            }
        }
        letters.next();
    }
    rest.for_each(|value| {
        text.push(' ');
        text.push_str(&word(value));
    });
    text
}

/// A value in a place of this kind, in the words of Foundry's own console.
fn placed(value: &DynSolValue, kind: char) -> String {
    match (kind, value) {
        ('s' | 'o', _) => word(value),
        ('x', DynSolValue::Uint(number, _)) => format!("{number:#x}"),
        ('x', DynSolValue::Int(number, _)) => format!("{number:#x}"),
        ('e', DynSolValue::Uint(number, _)) => exponent(&number.to_string()),
        ('e', DynSolValue::Int(number, _)) => exponent(&number.to_string()),
        (_, DynSolValue::Uint(..) | DynSolValue::Int(..)) => word(value),
        ('d' | 'i', DynSolValue::Bool(truth)) => u8::from(*truth).to_string(),
        ('x', _) => word(value),
        _ => "NaN".to_owned(),
    }
}

/// A whole number with a power of ten: `1500` is `1.5e3`.
fn exponent(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let power = digits.len() - 1;
    let fraction = digits[1..].trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{dot}{fraction}e{power}", &digits[..1])
}

fn word(value: &DynSolValue) -> String {
    match value {
        DynSolValue::String(text) => text.clone(),
        DynSolValue::Uint(number, _) => number.to_string(),
        DynSolValue::Int(number, _) => number.to_string(),
        DynSolValue::Bool(truth) => truth.to_string(),
        DynSolValue::Address(address) => address.to_string(),
        DynSolValue::FixedBytes(bytes, length) => hex::encode_prefixed(&bytes[..*length]),
        DynSolValue::Bytes(bytes) => hex::encode_prefixed(bytes),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{I256, U256, hex};

    #[test]
    fn selectors_are_those_that_libraries_send() {
        for (selector, expected) in [
            ("41304fac", 1), // log(string)
            ("b60e72cc", 2), // log(string,uint256)
            ("f82c50f1", 1), // log(uint256)
            ("2c2ecbc2", 1), // log(address)
            ("32458eed", 1), // log(bool)
            ("51973ec9", 0), // log()
        ] {
            let selector: [u8; 4] = hex::decode(selector).unwrap().try_into().unwrap();
            assert_eq!(signatures().get(&selector).map(Vec::len), Some(expected), "{selector:?}");
        }
        assert_eq!(line(&[1, 2, 3]), None);
        assert_eq!(line(&[0; 36]), None);
    }

    #[test]
    fn the_first_text_has_places_for_the_others() {
        let string = |text: &str| DynSolValue::String(text.to_owned());
        let number = |number: u64| DynSolValue::Uint(U256::from(number), 256);
        for (values, expected) in [
            (vec![string("plain")], "plain"),
            (vec![string("x = %d, %s"), number(7), string("y")], "x = 7, y"),
            (vec![string("100%"), number(7)], "100% 7"),
            (vec![string("%s%%"), number(7)], "7%"),
            (vec![string("%s")], "%s"),
            (vec![string("%x"), number(255)], "0xff"),
            (vec![string("%e %e"), number(1_000), number(1_500)], "1e3 1.5e3"),
            (vec![string("%o"), number(8)], "8"),
            (vec![string("%d"), string("abc")], "NaN"),
            (vec![string("%i"), DynSolValue::Address(CONSOLE)], "NaN"),
            (vec![number(1), DynSolValue::Bool(true)], "1 true"),
            (vec![DynSolValue::Int(I256::MINUS_ONE, 256)], "-1"),
            (vec![], ""),
        ] {
            assert_eq!(text(&values), expected, "{values:?}");
        }
    }
}
