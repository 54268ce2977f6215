//! JSON schemas as regular expressions: the part of JSON Schema that contracts can use.
//!
//! JSON is written without spaces, and the properties of an object in alphabetical order, each of them. What is not known
//! is refused: an answer that only looks checked is worse than none.

use foreblock_precompile::Failure;
use serde_json::{Map, Value};

use super::constraint::{alternatives, escaped, integers, refused};

/// Deepest nesting of a schema.
const DEPTH_MAX: usize = 8;
/// Most repetitions that a schema may ask for: each is a copy of its automaton.
const REPEAT_MAX: u64 = 256;
const CHARACTER: &str = r#"(?:[^"\\\x00-\x1F\x7F]|\\["\\/bfnrt])"#;
const NUMBER: &str = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?";
/// Keywords that do not change what is valid here.
const NOTES: [&str; 7] = ["$schema", "title", "description", "default", "examples", "required", "additionalProperties"];

/// The expression that JSON of this schema matches.
pub(super) fn pattern(schema: &str) -> Result<String, Failure> {
    let schema: Value = serde_json::from_str(schema).map_err(|_| refused("the schema is not JSON"))?;
    value(&schema, 0)
}

fn value(schema: &Value, depth: usize) -> Result<String, Failure> {
    let Value::Object(schema) = schema else {
        return Err(refused("a schema must be an object; true and false are not supported"));
    };
    if depth > DEPTH_MAX {
        return Err(refused(format!("the schema is nested deeper than {DEPTH_MAX}")));
    }
    if let Some(constant) = schema.get("const") {
        known(schema, &["const", "type"])?;
        return Ok(escaped(&constant.to_string()));
    }
    if let Some(options) = schema.get("enum") {
        known(schema, &["enum", "type"])?;
        let options = options.as_array().filter(|options| !options.is_empty());
        let options = options.ok_or_else(|| refused("enum must be a list of at least one value"))?;
        return Ok(alternatives(options.iter().map(|option| escaped(&option.to_string()))));
    }
    if let Some(schemas) = schema.get("anyOf") {
        known(schema, &["anyOf"])?;
        let schemas = schemas.as_array().filter(|schemas| !schemas.is_empty());
        let schemas = schemas.ok_or_else(|| refused("anyOf must be a list of at least one schema"))?;
        let parts: Vec<String> = schemas.iter().map(|schema| value(schema, depth + 1)).collect::<Result<_, _>>()?;
        return Ok(alternatives(parts.into_iter()));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => string(schema),
        Some("integer") => integer(schema),
        Some("number") => known(schema, &["type"]).map(|()| NUMBER.into()),
        Some("boolean") => known(schema, &["type"]).map(|()| "(?:true|false)".into()),
        Some("null") => known(schema, &["type"]).map(|()| "null".into()),
        Some("array") => array(schema, depth),
        Some("object") => object(schema, depth),
        _ => Err(refused(
            "a schema needs const, enum, anyOf, or a type: string, integer, number, boolean, null, array, object",
        )),
    }
}

/// Refuses keywords that would be ignored.
fn known(schema: &Map<String, Value>, keywords: &[&str]) -> Result<(), Failure> {
    let strange = |word: &&String| !keywords.contains(&word.as_str()) && !NOTES.contains(&word.as_str());
    match schema.keys().find(strange) {
        Some(word) => Err(refused(format!("the schema's keyword {word} is not supported here"))),
        None => Ok(()),
    }
}

fn count(schema: &Map<String, Value>, keyword: &str) -> Result<Option<u64>, Failure> {
    let Some(value) = schema.get(keyword) else { return Ok(None) };
    let fits = value.as_u64().filter(|count| *count <= REPEAT_MAX);
    fits.map(Some).ok_or_else(|| refused(format!("{keyword} must be an integer from 0 to {REPEAT_MAX}")))
}

/// A range of repetitions, where it is not empty.
fn repeat(schema: &Map<String, Value>, least: &str, most: &str) -> Result<(u64, Option<u64>), Failure> {
    let (low, high) = (count(schema, least)?.unwrap_or(0), count(schema, most)?);
    if high.is_some_and(|high| high < low) {
        return Err(refused(format!("no value satisfies the schema: {least} is above {most}")));
    }
    Ok((low, high))
}

fn string(schema: &Map<String, Value>) -> Result<String, Failure> {
    known(schema, &["type", "minLength", "maxLength"])?;
    let (low, high) = repeat(schema, "minLength", "maxLength")?;
    let high = high.map_or(String::new(), |high| high.to_string());
    Ok(format!("\"{CHARACTER}{{{low},{high}}}\""))
}

fn integer(schema: &Map<String, Value>) -> Result<String, Failure> {
    known(schema, &["type", "minimum", "maximum"])?;
    let bound = |keyword: &str, otherwise: i64| match schema.get(keyword) {
        None => Ok(otherwise),
        Some(value) => value.as_i64().ok_or_else(|| refused(format!("{keyword} must be an integer of 64 bits"))),
    };
    match (bound("minimum", i64::MIN)?, bound("maximum", i64::MAX)?) {
        (min, max) if min <= max => Ok(integers(min, max)),
        _ => Err(refused("no value satisfies the schema: minimum is above maximum")),
    }
}

fn array(schema: &Map<String, Value>, depth: usize) -> Result<String, Failure> {
    known(schema, &["type", "items", "minItems", "maxItems"])?;
    let (low, high) = repeat(schema, "minItems", "maxItems")?;
    let items = schema.get("items").ok_or_else(|| refused("an array needs items"))?;
    if high == Some(0) {
        return Ok(r"\[\]".into());
    }
    let item = value(items, depth + 1)?;
    let (more, most) = (low.saturating_sub(1), high.map_or(String::new(), |high| (high - 1).to_string()));
    let full = format!(r"\[{item}(?:,{item}){{{more},{most}}}\]");
    Ok(if low == 0 { format!(r"(?:\[\]|{full})") } else { full })
}

fn object(schema: &Map<String, Value>, depth: usize) -> Result<String, Failure> {
    known(schema, &["type", "properties"])?;
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.ok_or_else(|| refused("an object needs properties"))?;
    let required = schema.get("required").and_then(Value::as_array);
    let listed = |name: &Value| name.as_str().is_some_and(|name| properties.contains_key(name));
    if required.is_some_and(|required| !required.iter().all(listed)) {
        return Err(refused("no value satisfies the schema: required names a property that is not in properties"));
    }
    let member = |(name, schema): (&String, &Value)| {
        Ok(format!("{}:{}", escaped(&Value::from(name.as_str()).to_string()), value(schema, depth + 1)?))
    };
    let members: Vec<String> = properties.iter().map(member).collect::<Result<_, Failure>>()?;
    Ok(format!(r"\{{{}\}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::paths::Paths;

    #[test]
    fn json_of_the_schema_matches_and_other_does_not() {
        let object = r#"{"type":"object","required":["ok"],"properties":{"ok":{"type":"boolean"},"n":{"type":"integer","minimum":1,"maximum":12}}}"#;
        let list = r#"{"type":"array","items":{"enum":["a","b",3]},"minItems":1,"maxItems":2}"#;
        for (schema, good, bad) in [
            (
                object,
                &[r#"{"n":12,"ok":true}"#] as &[&str],
                &[r#"{"n":13,"ok":true}"#, r#"{"ok":true}"#, r#"{"n": 1,"ok":true}"#] as &[&str],
            ),
            (list, &[r#"["a"]"#, r#"[3,"b"]"#], &["[]", r#"["a","a","a"]"#, r#"["c"]"#]),
            (
                r#"{"type":"string","maxLength":3}"#,
                &[r#""""#, r#""aé\n""#, r#""\"""#],
                &[r#""abcd""#, "abc", "\"\n\"", r#"""""#],
            ),
            (r#"{"anyOf":[{"type":"null"},{"type":"number"}]}"#, &["null", "-0.5", "10"], &["01", "1.", "nul"]),
            (r#"{"const":{"a":[1]}}"#, &[r#"{"a":[1]}"#], &[r#"{"a":[2]}"#]),
        ] {
            let paths = Paths::compile(&pattern(schema).unwrap()).unwrap();
            for (texts, expected) in [(good, true), (bad, false)] {
                for text in texts {
                    assert_eq!(paths.matches(text.as_bytes()), expected, "{text} for {schema}");
                }
            }
        }
    }

    #[test]
    fn schemas_that_nothing_satisfies_or_that_are_not_known_say_so() {
        for (schema, words) in [
            ("not json", "not JSON"),
            ("true", "must be an object"),
            ("{}", "needs const"),
            (r#"{"type":"integer","minimum":3,"maximum":2}"#, "no value satisfies"),
            (r#"{"type":"string","minLength":3,"maxLength":2}"#, "no value satisfies"),
            (r#"{"type":"object","properties":{},"required":["x"]}"#, "no value satisfies"),
            (r#"{"type":"string","format":"date"}"#, "format is not supported"),
            (r#"{"type":"string","maxLength":1000}"#, "from 0 to 256"),
            (r##"{"$ref":"#/x"}"##, "needs const"),
            (r#"{"enum":[]}"#, "at least one"),
        ] {
            let failure = pattern(schema).unwrap_err();
            assert!(failure.reason.contains(words), "{schema}: {failure}");
        }
        let deep =
            (0..20).fold(r#"{"type":"null"}"#.to_string(), |inner, _| format!(r#"{{"type":"array","items":{inner}}}"#));
        assert!(pattern(&deep).unwrap_err().reason.contains("deeper"));
    }
}
