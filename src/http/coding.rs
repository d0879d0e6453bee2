//! The two codings of documents: JSON, and MessagePack.
//!
//! Every document is defined once, as JSON. MessagePack is the same document in binary, with one difference: bytes need
//! no base64. So a field `x_base64` of the JSON document is the field `x` with the type `bin` in MessagePack, both
//! ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::{HeaderMap, header};
use rmpv::Value as Packed;
use serde_json::{Map, Number, Value};

use super::distinct::json;
use super::refusal::Refusal;

/// Media type of JSON, with the charset that poem gives to it.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// Media type of MessagePack (registered with IANA in 2024 as `application/vnd.msgpack`; this is what most send).
pub(super) const MESSAGE_PACK: &str = "application/msgpack";

/// Deepest nesting of a document; serde_json has the same limit.
const MAX_DEPTH: usize = 127;

/// What is said of a document that has a name twice, of which readers before and behind this one may take another.
const REPEATED: &str = "an object of the body has a name twice";

/// What a field with bytes ends with in JSON.
const BASE64: &str = "_base64";

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// JSON.
    Json,
    /// MessagePack.
    MessagePack,
}

impl Coding {
    /// The coding of a request's body. Without a type none is taken: that is what any web page can have a browser send.
    pub(super) fn of_body(headers: &HeaderMap) -> Result<Coding, Refusal> {
        let wanted = || {
            Refusal::UnsupportedMediaType(
                "the body is application/json or application/msgpack, and Content-Type says which",
            )
        };
        let value = headers.get(header::CONTENT_TYPE).ok_or_else(wanted)?;
        let text = value.to_str().map_err(|_| wanted())?;
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Ok(Coding::Json),
            MESSAGE_PACK | "application/x-msgpack" | "application/vnd.msgpack" => Ok(Coding::MessagePack),
            _ => Err(wanted()),
        }
    }

    /// Its name in tags of representations.
    pub(super) fn name(self) -> &'static str {
        match self {
            Coding::Json => "json",
            Coding::MessagePack => "msgpack",
        }
    }

    /// The `Content-Type` of an answer.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Coding::Json => JSON,
            Coding::MessagePack => MESSAGE_PACK,
        }
    }

    /// Reads a document.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Value, Refusal> {
        match self {
            Coding::Json => json(bytes).map_err(|error| {
                // Its own text may hold what was sent.
                let (line, column) = (error.line(), error.column());
                let what = if error.is_data() { REPEATED } else { "the body is not well-formed JSON" };
                Refusal::invalid(format!("{what} at line {line}, column {column}"))
            }),
            Coding::MessagePack => {
                let mut rest = bytes;
                let packed = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH);
                let packed = packed.ok().filter(|_| rest.is_empty()).ok_or(Malformed::NoDocument);
                packed.and_then(unpack).map_err(|malformed| {
                    Refusal::invalid(match malformed {
                        Malformed::Repeated => REPEATED,
                        Malformed::NoDocument => {
                            "the body is not one well-formed MessagePack document of maps with text keys"
                        }
                    })
                })
            }
        }
    }

    /// Writes a document.
    pub(super) fn encode(self, document: Value) -> Vec<u8> {
        match self {
            Coding::Json => serde_json::to_vec(&document).expect("a JSON value can be written"),
            Coding::MessagePack => {
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &pack(document))
                    .expect("a Vec takes all that is written");
                bytes
            }
        }
    }

    /// What stands before `count` documents that follow one another as the list `name` of an object of nothing else,
    /// what stands between two of them, and what stands behind them.
    pub(super) fn list(self, name: &str, count: usize) -> (Vec<u8>, &'static str, &'static str) {
        match self {
            Coding::Json => (format!("{{\"{name}\":[").into_bytes(), ",", "]}"),
            Coding::MessagePack => {
                let mut head = vec![0x81];
                rmpv::encode::write_value(&mut head, &Packed::from(name))
                    .expect("a Vec takes all that is written");
                // array 32
                head.push(0xDD);
                head.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
                (head, "", "")
            }
        }
    }
}

/// Why MessagePack is not taken.
enum Malformed {
    /// JSON has no place for it.
    NoDocument,
    /// A map has a name twice.
    Repeated,
}

/// MessagePack as JSON.
fn unpack(packed: Packed) -> Result<Value, Malformed> {
    const NONE: Malformed = Malformed::NoDocument;
    Ok(match packed {
        Packed::Nil => Value::Null,
        Packed::Boolean(flag) => flag.into(),
        Packed::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, number) => number.ok_or(NONE)?.into(),
        },
        Packed::F32(number) => Number::from_f64(f64::from(number)).ok_or(NONE)?.into(),
        Packed::F64(number) => Number::from_f64(number).ok_or(NONE)?.into(),
        Packed::String(text) => text.into_str().ok_or(NONE)?.into(),
        Packed::Binary(bytes) => STANDARD.encode(bytes).into(),
        Packed::Array(items) => Value::Array(items.into_iter().map(unpack).collect::<Result<_, _>>()?),
        Packed::Map(fields) => {
            let mut map = Map::new();
            for (name, value) in fields {
                let Packed::String(name) = name else { return Err(NONE) };
                let mut name = name.into_str().ok_or(NONE)?;
                if matches!(value, Packed::Binary(_)) {
                    name += BASE64;
                }
                if map.insert(name, unpack(value)?).is_some() {
                    return Err(Malformed::Repeated);
                }
            }
            Value::Object(map)
        }
        Packed::Ext(..) => return Err(NONE),
    })
}

fn pack(value: Value) -> Packed {
    match value {
        Value::Null => Packed::Nil,
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (None, Some(number), _) => number.into(),
            (None, None, number) => number.unwrap_or_default().into(),
        },
        Value::String(text) => text.into(),
        Value::Array(items) => Packed::Array(items.into_iter().map(pack).collect()),
        Value::Object(fields) => {
            Packed::Map(fields.into_iter().map(|(name, value)| pack_field(name, value)).collect())
        }
    }
}

fn pack_field(name: String, value: Value) -> (Packed, Packed) {
    let bytes = match (name.strip_suffix(BASE64), &value) {
        (Some(bare), Value::String(text)) => STANDARD.decode(text).ok().map(|bytes| (bare, bytes)),
        _ => None,
    };
    match bytes {
        Some((bare, bytes)) => (bare.into(), Packed::Binary(bytes)),
        None => (name.into(), pack(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Goal: a document survives both codings, and bytes are bytes in MessagePack.
    #[test]
    fn documents_survive_both_codings() {
        let document = json!({
            "key": "a", "value_base64": "/wA=", "version": u64::MAX, "by": i64::MIN, "ratio": 0.5,
            "items": [null, true, {"key_base64": "gA=="}],
        });
        for coding in [Coding::Json, Coding::MessagePack] {
            let bytes = coding.encode(document.clone());
            assert_eq!(coding.decode(&bytes).expect("own encoding"), document, "{coding:?}");
        }
        let bytes = Coding::MessagePack.encode(json!({ "value_base64": "/wA=" }));
        assert_eq!(bytes, b"\x81\xa5value\xc4\x02\xff\x00");
    }

    /// Goal: whatever is not one whole document of maps with text keys is refused, at any depth, without a crash.
    #[test]
    fn malformed_documents_are_refused() {
        let deep_json = "[".repeat(100_000);
        let deep_pack = vec![0x91; 100_000];
        let huge_array = [0xDD, 0xFF, 0xFF, 0xFF, 0xFF];
        let huge_bytes = [0xC6, 0xFF, 0xFF, 0xFF, 0xFF, 0];
        let packed: [&[u8]; 8] = [
            b"",
            b"\x81",
            b"\x81\x01\x01",
            b"\x01\x01",
            b"\xa2\xff\xff",
            &deep_pack,
            &huge_array,
            &huge_bytes,
        ];
        for bytes in packed {
            assert!(Coding::MessagePack.decode(bytes).is_err(), "{:?}", &bytes[..bytes.len().min(8)]);
        }
        for text in ["", "{", "{}}", "nul", "{\"a\":}", "\"\\ud800\"", "1e999", deep_json.as_str()] {
            assert!(Coding::Json.decode(text.as_bytes()).is_err(), "{}", &text[..text.len().min(8)]);
        }
    }

    /// Goal: a name that stands twice in an object is refused at any depth, in both codings; the same name in two objects
    /// is not.
    #[test]
    fn repeated_names_are_refused() {
        let refused = |coding: Coding, bytes: &[u8]| {
            let refusal = coding.decode(bytes).expect_err("a name stands twice");
            assert!(refusal.to_string().starts_with(REPEATED), "{refusal}");
        };
        for text in [
            r#"{"by":1,"by":5}"#,
            r#"{"by":1,"b\u0079":1}"#,
            r#"{"a":[1,{"b":{"c":1,"d":2,"c":1}}]}"#,
            r#"[{"a":null,"a":null}]"#,
        ] {
            refused(Coding::Json, text.as_bytes());
        }
        refused(Coding::MessagePack, b"\x82\xa1a\x01\xa1a\x02");
        refused(Coding::MessagePack, b"\x91\x81\xa1x\x82\xa1a\xc4\x01z\xa1a\xc4\x01z");
        refused(Coding::MessagePack, b"\x82\xa1a\xc4\x01z\xa8a_base64\xa4eg==");
        assert!(Coding::Json.decode(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    /// Goal: a list that is written item by item is the same document as one that is written at once.
    #[test]
    fn a_list_in_pieces_is_the_list() {
        let items = [json!({ "a": 1 }), json!("b")];
        for coding in [Coding::Json, Coding::MessagePack] {
            let (mut bytes, between, end) = coding.list("results", items.len());
            for (n, item) in items.iter().enumerate() {
                bytes.extend(if n == 0 { "" } else { between }.as_bytes());
                bytes.extend(coding.encode(item.clone()));
            }
            bytes.extend(end.as_bytes());
            assert_eq!(coding.decode(&bytes).expect("a document"), json!({ "results": items }));
        }
    }
}
