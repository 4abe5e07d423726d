//! The JSON Schema of bench and model files, for editors. It is written from the shapes by which the reader reads
//! (`keys.rs`); what only a look at the whole file can tell (a link that is not there) is not in it.

use super::keys::{self, Extra, Key, Kind, Shape};
use fieldrig_proto::protocol::{BenchKey, InnerKeys, Protocol, Role, TableForm};
use serde_json::{Map, Value, json};

/// The draft that editors know best.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of bench files, as JSON text; the names and keys of these protocols are in it.
#[must_use]
pub fn bench_schema(protocols: &[&Protocol]) -> String {
    document(&keys::BENCH_FILE, protocols)
}

/// The schema of model files, as JSON text.
#[must_use]
pub fn model_schema(protocols: &[&Protocol]) -> String {
    document(&keys::MODEL_FILE, protocols)
}

fn document(shape: &Shape, protocols: &[&Protocol]) -> String {
    let Value::Object(table) = Writer { protocols }.table(shape) else { return String::new() };
    let mut root = Map::from_iter([("$schema".to_owned(), json!(DRAFT)), ("title".to_owned(), json!(shape.what))]);
    root.extend(table);
    root.remove("description");
    format!("{:#}\n", Value::Object(root))
}

struct Writer<'a> {
    protocols: &'a [&'a Protocol],
}

impl Writer<'_> {
    fn table(&self, shape: &Shape) -> Value {
        let mut properties = Map::new();
        for key in shape.keys {
            properties.insert(key.name.to_owned(), self.key(key));
        }
        for (key, inner) in self.extra(shape.extra) {
            properties.entry(key.name).or_insert_with(|| setting(key, key.name, inner));
        }
        let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        let mut table = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("description".to_owned(), json!(shape.what)),
            ("properties".to_owned(), Value::Object(properties)),
            ("additionalProperties".to_owned(), json!(false)),
        ]);
        if !required.is_empty() {
            table.insert("required".to_owned(), json!(required));
        }
        Value::Object(table)
    }

    fn key(&self, key: &Key) -> Value {
        let mut schema = self.kind(&key.kind);
        if key.name == "protocol" {
            let names: Value = self.protocols.iter().map(|protocol| protocol.name).collect();
            // Or a file that defines one.
            schema["anyOf"] = json!([{ "enum": names }, { "pattern": "\\.toml$" }]);
        }
        schema["description"] = json!(key.what);
        schema
    }

    fn kind(&self, kind: &Kind) -> Value {
        match kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Truth => json!({ "type": "boolean" }),
            Kind::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
            Kind::Duration => json!({ "type": "string", "examples": ["500ms", "3s", "5min"] }),
            Kind::Line => json!({ "type": "string", "examples": ["9600 8E1", "115200 8N1"] }),
            Kind::Word(words) => json!({ "type": "string", "enum": words }),
            Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Kind::Words(words) => json!({ "type": "array", "items": { "type": "string", "enum": words } }),
            Kind::Range => json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 }),
            Kind::Any => json!({}),
            Kind::List(item) => json!({ "type": "array", "items": self.kind(item) }),
            Kind::Table(shape) => self.table(shape),
            Kind::Named(item) => json!({ "type": "object", "additionalProperties": self.kind(item) }),
            Kind::Either(kinds) => {
                json!({ "anyOf": kinds.iter().map(|kind| self.kind(kind)).collect::<Vec<_>>() })
            }
        }
    }

    /// The keys that protocols add to a table, with what is inside of them.
    fn extra(&self, extra: Extra) -> impl Iterator<Item = (&BenchKey, &'static [InnerKeys])> {
        let wanted = move |role: Role| match extra {
            Extra::None => false,
            Extra::Broker => role == Role::Broker,
            Extra::Tester => role == Role::Tester,
            Extra::Face => role == Role::Device || role == Role::Client,
        };
        let constructors = self.protocols.iter().flat_map(|protocol| protocol.constructors);
        let constructors = constructors.filter(move |constructor| wanted(constructor.role));
        constructors.flat_map(|constructor| constructor.keys.iter().map(|key| (key, constructor.inner)))
    }
}

/// A key of a protocol: what it means and, where tables are in it, their keys. `path` has dots between levels.
fn setting(key: &BenchKey, path: &str, inner: &[InnerKeys]) -> Value {
    let Some(keys) = inner.iter().find(|keys| keys.under == path) else { return json!({ "description": key.what }) };
    let properties: Map<String, Value> = keys
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), setting(key, &format!("{path}.{}", key.name), inner)))
        .collect();
    let table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let mut schema = match keys.form {
        TableForm::List => json!({ "type": "array", "items": table }),
        TableForm::One => table,
        TableForm::OrValue => {
            json!({ "anyOf": [table, { "type": ["number", "string", "boolean", "array"] }] })
        }
    };
    schema["description"] = json!(key.what);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldrig_proto::line::CONSOLE;
    use fieldrig_proto::{modbus, mqtt};

    #[test]
    fn a_schema_has_the_keys_of_the_reader_and_those_of_protocols() {
        let protocols = [&modbus::RTU, &mqtt::V5, &CONSOLE];
        let schema: Value = serde_json::from_str(&bench_schema(&protocols)).unwrap();
        let link = &schema["properties"]["link"]["additionalProperties"];
        assert_eq!(link["required"], json!(["protocol"]));
        assert_eq!(link["properties"]["protocol"]["anyOf"][0]["enum"], json!(["modbus-rtu", "mqtt5", "console"]));
        assert_eq!(link["properties"]["role"]["enum"], json!(["client", "devices", "listen", "proxy"]));
        let broker = &link["properties"]["real"]["anyOf"][1];
        assert!(broker["properties"]["server_keep_alive"].is_object(), "{broker}");
        assert_eq!((&broker["additionalProperties"], &schema["additionalProperties"]), (&json!(false), &json!(false)));
        let model: Value = serde_json::from_str(&model_schema(&protocols)).unwrap();
        let face = &model["properties"]["face"]["additionalProperties"]["properties"];
        assert!(face["map"].is_object() && face["framing"].is_object(), "{face}");
        let rule = &face["rule"]["items"]["properties"];
        assert!(
            rule["exception"]["description"].is_string() && rule["when"]["properties"]["unit"].is_object(),
            "{rule}"
        );
        assert_eq!(model["properties"]["rule"]["items"]["required"], json!(["when"]));
    }
}
