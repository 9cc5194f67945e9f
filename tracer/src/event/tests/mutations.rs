//! Damaged and forged lines: no panic, and no accepted line that another JSON parser rejects or reads differently.

use proptest::{prelude::*, sample::Index};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    arbitrary::{Dice, event},
    fixtures,
};
use crate::event::{ParseError, Parsed, parse};

/// Valid and invalid pieces of JSON to insert anywhere.
const PIECES: [&[u8]; 36] = [
    b"",
    b"-0",
    b"-",
    b"01",
    b"1.",
    b"1.0",
    b"1e3",
    b"1e",
    b".5",
    b"+1",
    b"NaN",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"[",
    b"]",
    b"{",
    b"}",
    b"{}",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\x",
    b"\\u12",
    b"\\u0041",
    b"\\ud83d\\ude00",
    b"null",
    b"nul",
    b"true",
    b"\t",
    b"\x01",
    b"\xff",
    b"\xc3\xa9",
    b"\"seq\":1,",
    b"_hex",
    b"//",
];

fn check(text: &[u8]) -> Result<(), TestCaseError> {
    // Some parsers accept a lone surrogate; this one does not.
    let has_surrogate = text.windows(3).any(|bytes| bytes.eq_ignore_ascii_case(b"\\ud"));
    let is_json = std::str::from_utf8(text).is_ok() && serde_json::from_slice::<IgnoredAny>(text).is_ok();
    match parse(text) {
        Ok(Parsed::Event(event)) => {
            prop_assert!(is_json);
            // A generic parser finds the same values.
            if let Ok(seen) = serde_json::from_slice::<Value>(text) {
                let written = serde_json::to_value(&event).unwrap();
                for (name, value) in written.as_object().unwrap() {
                    let is_default = name == "taints" && value == "" && seen.get(name).is_none();
                    if matches!(value, Value::String(_) | Value::Number(_)) && name != "time" && !is_default {
                        prop_assert_eq!(seen.get(name), Some(value), "{}", name);
                    }
                }
            }
        }
        Ok(Parsed::Unknown { .. }) => prop_assert!(is_json),
        Err(error) => {
            let is_syntax = matches!(
                error,
                ParseError::Utf8(_) | ParseError::Json(_) | ParseError::CutOff(_) | ParseError::Trailing(_)
            );
            prop_assert!(!is_syntax || !is_json || has_surrogate, "{}", error);
            let message = error.to_string();
            prop_assert!(message.len() < 1024 && !message.contains(char::is_control), "{}", message);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    /// Arbitrary bytes do not panic.
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        check(&bytes)?;
        check(&[&b"{\"type\":\"load\","[..], &bytes].concat())?;
    }

    /// An event with any insertion, replacement or truncation does not panic and is not misread.
    #[test]
    fn mutated_event_is_not_misread(
        seed in proptest::collection::vec(any::<u8>(), 0..512),
        changes in proptest::collection::vec((any::<Index>(), 0..12_usize, any::<Index>()), 1..3),
    ) {
        let mut text = serde_json::to_vec(&event(&mut Dice(&seed))).unwrap();
        for (at, length, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.get(&PIECES).iter().copied());
        }
        check(&text)?;
    }
}

/// A line that is truncated anywhere is an error.
#[test]
fn truncated_line_is_error() {
    let lines = fixtures();
    for line in lines.iter().step_by(10) {
        for end in 0..line.len() {
            let error = parse(&line[..end]).expect_err("a part of a line is an event");
            assert!(matches!(error, ParseError::CutOff(at) | ParseError::Utf8(at) if at <= end), "{error}");
        }
    }
}

/// The positions after the opening brackets of objects, outside of strings.
fn objects(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let (mut is_string, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' if !is_string => places.push(at + 1),
            _ => {}
        }
    }
    places
}

/// A duplicate member is an error in every object and for every name, including unknown ones.
#[test]
fn duplicate_member_is_error() {
    let mut names = std::collections::BTreeSet::new();
    for line in fixtures() {
        let text = String::from_utf8(line).unwrap();
        for at in objects(&text) {
            let object = serde_json::Deserializer::from_str(&text[at - 1..]).into_iter::<Value>().next();
            for (name, value) in object.unwrap().unwrap().as_object().unwrap() {
                let doubled = format!("{}{}:{value},{}", &text[..at], serde_json::json!(name), &text[at..]);
                let Err(ParseError::Duplicate(member)) = parse(doubled.as_bytes()) else { panic!("{doubled}") };
                assert_eq!(member.rsplit('.').next(), Some(name.as_str()), "{doubled}");
                names.insert(member);
            }
            for unknown in [r#""later":1,"later":2,"#, r#""later":1,"l\u0061ter":2,"#] {
                let doubled = format!("{}{unknown}{}", &text[..at], &text[at..]);
                let error = parse(doubled.as_bytes()).expect_err(&doubled).to_string();
                assert!(error.ends_with("later\""), "{error}: {doubled}");
            }
        }
    }
    for name in ["seq", "type", "module", "process.ns.pid", "ancestors.comm", "stack.address", "hooks.hook"] {
        assert!(names.contains(name), "{name} is in no capture: {names:?}");
    }
}
