//! The headers that bear a key's version.

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use poem_openapi::registry::{MetaHeader, MetaSchema, MetaSchemaRef};

use crate::model::Version;

const VERSION: HeaderName = HeaderName::from_static("kvorum-version");

/// Sets ETag and Kvorum-Version.
pub(super) fn tag(headers: &mut HeaderMap, version: Version) {
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
    if let Ok(etag) = HeaderValue::from_bytes(&quoted[start - 1..]) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(VERSION, HeaderValue::from(version.0));
}

pub(super) fn version_headers() -> Vec<MetaHeader> {
    vec![
        described("ETag", "The version in double quotes, for `If-Match`.", true),
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
            tag(&mut headers, Version(version));
            assert_eq!(headers[header::ETAG], format!("\"{version}\""));
            assert_eq!(headers[VERSION], version.to_string());
        }
    }
}
