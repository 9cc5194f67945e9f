//! docs/events.md, made from the schema and from events of the fixtures.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value};

const INTRODUCTION: &str = "\
# Events

All events and their fields. This page is generated from the types of the code by `cargo xtask bless`, and a test keeps it up to
date. The same as a JSON Schema: [schema/event.json](schema/event.json).

An event is one JSON object on one line. Fields that are unknown or do not apply are absent, never `null`. Readers must ignore
event types and fields that they do not know. Names from processes and modules are bytes: valid UTF-8 is written as it is. If the
bytes are not valid UTF-8, the field has the closest text, and a second field with the suffix `_hex` has the exact bytes in
hexadecimal. These second fields are not listed below.
";

/// The page.
pub(crate) fn page(schema: &Value, examples: &BTreeMap<String, String>) -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Fields of every event\n");
    fields(&mut page, schema);
    for event in schema["oneOf"].as_array().into_iter().flatten() {
        let name = event["properties"]["type"]["const"].as_str().unwrap_or_default();
        write!(page, "\n## `{name}`\n{}\n", text(event)).unwrap();
        fields(&mut page, definition(schema, event).unwrap_or(event));
        let example = examples.get(name);
        assert!(example.is_some(), "there is no example of {name}");
        let example = example.map_or("", String::as_str);
        write!(page, "\n```json\n{example}\n```\n").unwrap();
    }
    page.push_str("\n# Types\n");
    let used: Vec<&str> = schema["oneOf"].as_array().into_iter().flatten().filter_map(reference).collect();
    let definitions = schema["$defs"].as_object().into_iter().flatten();
    for (name, definition) in definitions.filter(|(name, _)| !used.contains(&name.as_str())) {
        write!(page, "\n## {name}\n{}\n", text(definition)).unwrap();
        if let Some(values) = definition["oneOf"].as_array() {
            page.push_str("\n| value | meaning |\n|---|---|\n");
            for value in values {
                let constant = value["const"].as_str().unwrap_or_default();
                writeln!(page, "| `{constant}` | {} |", text(value)).unwrap();
            }
        } else if definition["properties"].is_object() {
            fields(&mut page, definition);
        }
    }
    page
}

/// A table of the properties of an object.
fn fields(page: &mut String, object: &Value) {
    let none = Map::new();
    let properties = object["properties"].as_object().unwrap_or(&none);
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    page.push_str("\n| field | type | present | meaning |\n|---|---|---|---|\n");
    for (name, property) in properties {
        if name.strip_suffix("_hex").is_some_and(|name| properties.contains_key(name)) {
            continue;
        }
        let presence = if required.contains(&name.as_str()) { "always" } else { "if known" };
        let unit = if name.ends_with("_ns") {
            ", nanoseconds"
        } else if name.ends_with("_bytes") {
            ", bytes"
        } else {
            ""
        };
        writeln!(page, "| `{name}` | {}{unit} | {presence} | {} |", kind(property), text(property)).unwrap();
    }
}

/// The type of a property, in words.
fn kind(property: &Value) -> String {
    if let Some(name) = reference(property) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choices) = property["anyOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match property["type"].as_str() {
        Some("array") => format!("array of {}", kind(&property["items"])),
        Some(name) => match property["format"].as_str() {
            Some("date-time") => "string, RFC 3339".to_owned(),
            _ => name.to_owned(),
        },
        None => "any".to_owned(),
    }
}

fn reference(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.rsplit('/').next()
}

fn definition<'a>(schema: &'a Value, value: &Value) -> Option<&'a Value> {
    schema["$defs"].get(reference(value)?)
}

/// The description of a value, in one line of a table. Links of rustdoc become code.
fn text(value: &Value) -> String {
    let text = value["description"].as_str().unwrap_or_default();
    text.replace("[`", "`").replace("`]", "`").replace("\n", " ").replace('|', "\\|")
}
