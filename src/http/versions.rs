//! The headers that bear a key's version, and the tags of its representations.

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use poem_openapi::registry::{MetaHeader, MetaSchema, MetaSchemaRef};

use crate::model::Version;

const VERSION: HeaderName = HeaderName::from_static("kvorum-version");

/// What the document says of status 304.
pub(super) const NOT_MODIFIED: &str = "The client has this representation already (`If-None-Match`).";

/// The strong tag of a representation (RFC 9110, 8.8.3): two with the same tag are the same bytes.
///
/// ```text
/// "7"                        the value itself
/// "7-json", "7-msgpack"      the value in an envelope
/// "7-json-5000"              the same of a key that has so many milliseconds left
/// "7-ttl-json-5000"          what a key has left
/// ```
pub(super) struct EntityTag(HeaderValue);

impl EntityTag {
    /// That of the value.
    pub(super) fn of_value(version: Version) -> EntityTag {
        // Twenty digits and the quotes, without a detour over a string of its own.
        let mut quoted = [b'"'; 22];
        let mut start = quoted.len() - 1;
        let mut rest = version.0;
        loop {
            start -= 1;
            quoted[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        EntityTag(HeaderValue::from_bytes(&quoted[start - 1..]).expect("digits and quotes"))
    }

    /// That of a document about the key, which counts down if the key has a deadline.
    pub(super) fn of_document(version: Version, form: &str, ttl_ms: Option<u64>) -> EntityTag {
        let left = ttl_ms.map(|ttl_ms| format!("-{ttl_ms}")).unwrap_or_default();
        let quoted = format!("\"{version}-{form}{left}\"");
        EntityTag(HeaderValue::try_from(quoted).expect("digits, letters, dashes and quotes"))
    }

    /// What stands between its quotes.
    pub(super) fn opaque(&self) -> &[u8] {
        let quoted = self.0.as_bytes();
        quoted.get(1..quoted.len() - 1).unwrap_or_default()
    }
}

/// Sets ETag and Kvorum-Version.
pub(super) fn tag(headers: &mut HeaderMap, version: Version, tag: EntityTag) {
    headers.insert(header::ETAG, tag.0);
    headers.insert(VERSION, HeaderValue::from(version.0));
}

pub(super) fn version_headers() -> Vec<MetaHeader> {
    vec![
        described(
            "ETag",
            "Names this representation: the version in double quotes, which of a document a dash and more follow. `If-Match` of a write takes the tag of any representation.",
            true,
        ),
        described("Kvorum-Version", "The version: the store's revision at the key's last change.", true),
    ]
}

/// What the document says of a header.
pub(super) fn described(name: &str, description: &str, required: bool) -> MetaHeader {
    let ty = if name == "ETag" { "string" } else { "integer" };
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new(ty))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_whole() {
        for version in [0, 7, 10, 1 << 32, u64::MAX] {
            let mut headers = HeaderMap::new();
            tag(&mut headers, Version(version), EntityTag::of_value(Version(version)));
            assert_eq!(headers[header::ETAG], format!("\"{version}\""));
            assert_eq!(headers[VERSION], version.to_string());
        }
    }

    #[test]
    fn tags_name_their_representation() {
        let tag = EntityTag::of_document(Version(7), "ttl-json", Some(5_000));
        assert_eq!(tag.opaque(), b"7-ttl-json-5000");
        assert_eq!(EntityTag::of_document(Version(7), "msgpack", None).opaque(), b"7-msgpack");
        assert_eq!(EntityTag::of_value(Version(7)).opaque(), b"7");
    }
}
