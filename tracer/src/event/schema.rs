//! The JSON Schema of the contract, generated from the types.

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    json_schema,
    transform::{RecursiveTransform, Transform as _},
};
use std::borrow::Cow;

use super::{Event, RequestId};

/// The JSON Schema of [`Event`]: of one line as it is written, by this version of the tool and by older ones.
///
/// Optional members are not required; `null` is never written.
#[must_use]
pub fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Event>();
    RecursiveTransform(without_null).transform(&mut schema);
    schema
}

/// Removes `null` from the schema: the types accept it, but absent values are omitted and never written as `null`.
fn without_null(schema: &mut Schema) {
    use serde_json::Value;

    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            for (key, value) in only {
                schema.ensure_object().entry(key).or_insert(value);
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

impl JsonSchema for RequestId {
    fn schema_name() -> Cow<'static, str> {
        "RequestId".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The id of a request, unique per boot: `<nanoseconds since boot>-<thread id>` of the request.",
            "type": "string",
            "pattern": "^[0-9]+-[0-9]+$",
        })
    }
}
