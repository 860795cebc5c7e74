//! A document that is checked in, and messages held against it.

use std::{fs, path::Path};

use mtls::client::Answer;
use protocol::encoding::base64url_decode;
use serde_json::{Value, json};

/// A document of `docs/openapi/`.
pub(crate) struct Document(Value);

/// An operation by its method and path.
pub(crate) struct Operation<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The listeners that have it.
    pub(crate) listeners: Vec<&'a str>,
}

impl Document {
    /// That of a service.
    pub(crate) fn of(service: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join(format!("docs/openapi/{service}.json"));
        Self(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    }

    /// The whole of it.
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// Every operation.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, item)| {
            let operations = item.as_object().unwrap();
            operations.iter().map(|(method, operation)| Operation {
                method,
                path,
                listeners: operation["tags"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tag| tag.as_str().unwrap())
                    .collect(),
            })
        })
    }

    /// An answer is one that the document says, in its status, its type, its header fields and its body, signed
    /// messages in it included.
    #[track_caller]
    pub(crate) fn says(&self, operation: &str, answer: &Answer) {
        let content_type = answer.headers["content-type"].to_str().unwrap();
        self.says_of(
            operation,
            answer.status.as_u16(),
            content_type,
            &answer.body,
        );
        let response = &self.operation(operation)["responses"][answer.status.as_str()];
        assert_eq!(
            response["headers"]["Retry-After"].is_object(),
            answer.headers.contains_key("retry-after"),
            "{operation} {}: Retry-After",
            answer.status
        );
    }

    /// The same of an answer's parts.
    #[track_caller]
    pub(crate) fn says_of(&self, operation: &str, status: u16, content_type: &str, body: &[u8]) {
        let response = &self.operation(operation)["responses"][status.to_string()];
        let schema = &response["content"][content_type]["schema"];
        assert!(
            schema.is_object(),
            "{operation} {status} {content_type} is not in the document: {}",
            String::from_utf8_lossy(body)
        );
        let instance = if content_type.ends_with("json") {
            serde_json::from_slice(body).unwrap()
        } else {
            Value::String(String::from_utf8(body.to_vec()).unwrap())
        };
        self.holds(operation, schema, &instance);
    }

    /// A request's body is one that the document says.
    #[track_caller]
    pub(crate) fn takes(&self, operation: &str, body: &[u8]) {
        let content = &self.operation(operation)["requestBody"]["content"];
        let schema = &content["application/json"]["schema"];
        assert!(schema.is_object(), "{operation} has no body");
        self.holds(operation, schema, &serde_json::from_slice(body).unwrap());
    }

    /// A header of a request is one that the document says.
    #[track_caller]
    pub(crate) fn takes_header(&self, operation: &str, name: &str, value: &str) {
        let parameters = self.operation(operation)["parameters"].as_array().unwrap();
        let parameter = parameters
            .iter()
            .find(|parameter| {
                let named = parameter["name"].as_str().unwrap();
                parameter["in"] == "header" && named.eq_ignore_ascii_case(name)
            })
            .unwrap();
        self.holds(operation, &parameter["schema"], &value.into());
    }

    /// An operation by `METHOD /path`.
    #[track_caller]
    fn operation(&self, operation: &str) -> &Value {
        let (method, path) = operation.split_once(' ').unwrap();
        let found = &self.0["paths"][path][method.to_lowercase()];
        assert!(found.is_object(), "{operation} is not in the document");
        found
    }

    #[track_caller]
    fn holds(&self, what: &str, schema: &Value, instance: &Value) {
        let faults = self.faults(schema, instance);
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{instance:#}");
        let mut inner = Vec::new();
        self.decode(schema, instance, &mut inner);
        for (schema, instance) in inner {
            self.holds(what, &schema, &instance);
        }
    }

    /// What is wrong with an instance.
    pub(crate) fn faults(&self, schema: &Value, instance: &Value) -> Vec<String> {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.0["components"],
            "allOf": [schema],
        });
        let validator = jsonschema::draft202012::new(&whole).unwrap();
        validator
            .iter_errors(instance)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// The encoded messages in an instance, decoded, with the schemas of their content.
    fn decode(&self, schema: &Value, instance: &Value, found: &mut Vec<(Value, Value)>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let component = self
                .0
                .pointer(reference.strip_prefix('#').unwrap())
                .unwrap();
            return self.decode(component, instance, found);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.decode(part, instance, found);
        }
        if let Some(members) = instance.as_object() {
            for (name, member) in members {
                self.decode(&schema["properties"][name], member, found);
            }
        }
        for item in instance.as_array().into_iter().flatten() {
            self.decode(&schema["items"], item, found);
        }
        if let (Some(content), Some(text)) = (schema.get("contentSchema"), instance.as_str()) {
            let media_type = schema["contentMediaType"].as_str().unwrap();
            found.push((content.clone(), decoded(media_type, text)));
        }
    }
}

fn decoded(media_type: &str, text: &str) -> Value {
    let part =
        |text: &str| -> Value { serde_json::from_slice(&base64url_decode(text).unwrap()).unwrap() };
    let mut halves = text.split('~');
    let mut parts = halves.next().unwrap().split('.');
    // The payload of a JWE is sealed.
    let clear = if media_type.ends_with("jwe") { 1 } else { 2 };
    let mut all: Vec<Value> = parts.by_ref().take(clear).map(part).collect();
    all.extend(halves.filter(|half| !half.is_empty()).map(part));
    all.into()
}
