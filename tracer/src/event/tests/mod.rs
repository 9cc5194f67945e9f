//! Round trips of events.

mod arbitrary;
mod errors;
mod mutations;

use proptest::prelude::*;
use serde_json::Value;

use self::arbitrary::{Dice, event};
use super::{Event, ParseError, Parsed, parse};

/// Stored captures: `generated` is from a separate generator, `v1` from an older version.
fn fixtures() -> Vec<Vec<u8>> {
    let older = include_bytes!("../../../../tests/fixtures/captures/versions/v1.jsonl.zst");
    let older = zstd::decode_all(&older[..]).unwrap();
    [
        &include_bytes!("../../../../tests/fixtures/captures/generated.jsonl")[..],
        &include_bytes!("../../../../tests/fixtures/captures/outage-6.1.jsonl")[..],
        &include_bytes!("../../../../tests/fixtures/captures/bytes.jsonl")[..],
        &older,
    ]
    .concat()
    .split(|byte| *byte == b'\n')
    .filter(|line| !line.is_empty())
    .map(<[u8]>::to_vec)
    .collect()
}

fn parsed(text: &[u8]) -> Result<Event, ParseError> {
    parse(text).map(|parsed| match parsed {
        Parsed::Event(event) => event,
        Parsed::Unknown { seq } => panic!("event {seq} is of no known type"),
    })
}

/// Each event of the captures is written exactly as it was read.
#[test]
fn events_of_captures_survive_round_trip() {
    let lines = fixtures();
    assert!(lines.len() > 400, "{}", lines.len());
    for line in lines {
        let text = String::from_utf8_lossy(&line);
        let event = parsed(&line).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }
}

/// Writes a value like another writer: members in any order, white space, escapes, members of later versions.
fn scramble(value: &Value, dice: &mut Dice<'_>, out: &mut String) {
    let space = |dice: &mut Dice<'_>, out: &mut String| {
        out.push_str(dice.pick(&["", "", "", " ", "\t", "\r\n", "  "]));
    };
    space(dice, out);
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&str, Value)> =
                members.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            if dice.flag() {
                members.push(("later", serde_json::json!({"seq": [1.5e-3, null, true, "\u{1f600}\n"], "type": {}})));
            }
            out.push('{');
            for left in (1..=members.len()).rev() {
                let (name, value) = members.swap_remove(dice.below(left));
                scramble(&Value::from(name), dice, out);
                out.push(':');
                scramble(&value, dice, out);
                out.push_str(if left > 1 { "," } else { "}" });
            }
            if out.ends_with('{') {
                out.push('}');
            }
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                scramble(element, dice, out);
            }
            out.push(']');
        }
        Value::String(text) => {
            out.push('"');
            for character in text.chars() {
                if dice.below(4) == 0 || character < ' ' || matches!(character, '"' | '\\') {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                } else {
                    out.push(character);
                }
            }
            out.push('"');
        }
        value => out.push_str(&value.to_string()),
    }
    space(dice, out);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Any event survives a round trip, with [`parse`] and with serde.
    #[test]
    fn any_event_survives_round_trip(seed in proptest::collection::vec(any::<u8>(), 0..1024)) {
        let event = event(&mut Dice(&seed));
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(&parsed(text.as_bytes()).unwrap(), &event);
        prop_assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), &event);
        prop_assert_eq!(&serde_json::from_value::<Event>(serde_json::to_value(&event).unwrap()).unwrap(), &event);
    }

    /// Member order, white space, escapes and members of later versions do not change the parsed event.
    #[test]
    fn any_member_order_is_accepted(
        seed in proptest::collection::vec(any::<u8>(), 0..1024),
        order in proptest::collection::vec(any::<u8>(), 0..1024),
    ) {
        let event = event(&mut Dice(&seed));
        let mut text = String::new();
        scramble(&serde_json::to_value(&event).unwrap(), &mut Dice(&order), &mut text);
        prop_assert_eq!(parsed(text.as_bytes()), Ok(event), "{}", text);
    }
}
