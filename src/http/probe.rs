//! What a request says, read as the operations read it but without serving it: the parsers' door for `tests/fuzz`.

use poem::Request;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::accept::Form;
use super::batch::steps;
use super::coding::Coding;
use super::pages::{Cursor, Limit, Prefix};
use super::params::Parameter;
use super::preconditions::{IfAbsent, IfMatch, Known, precondition};
use super::versions::EntityTag;
use crate::model::{Key, Ttl, Version};
use crate::service::{Consistency, Precondition, Step};

/// What was understood of a request before its body. `None` is what its operation refuses.
#[derive(Clone, Debug)]
pub struct Head {
    /// The key in the path.
    pub key: Option<Key>,
    /// `ttl_ms` of the query.
    pub ttl: Option<Option<Ttl>>,
    /// `consistency` of the query.
    pub consistency: Option<Option<Consistency>>,
    /// Whether the query of a page of keys is well-formed.
    pub pages: bool,
    /// `If-Match` and `If-None-Match` of a write.
    pub condition: Option<Precondition>,
    /// Whether `If-None-Match` of a read names the value of version 7.
    pub knows_version_7: Option<bool>,
    /// Whether `Accept` asks for an envelope.
    pub wants_envelope: Option<bool>,
}

impl Head {
    /// Reads the target and the headers of a request. `None` if they are not even HTTP.
    pub fn read(target: &[u8], headers: &[(&[u8], &[u8])]) -> Option<Head> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        let mut request = Request::builder().uri(Uri::try_from(target).ok()?).finish();
        *request.headers_mut() = map;
        let if_match = IfMatch::parse(&request, "If-Match");
        let if_absent = IfAbsent::parse(&request, "If-None-Match");
        let known = Known::parse(&request, "If-None-Match");
        Some(Head {
            key: Key::parse(&request, "key").ok(),
            ttl: Option::<Ttl>::parse(&request, "ttl_ms").ok(),
            consistency: Option::<Consistency>::parse(&request, "consistency").ok(),
            pages: Prefix::parse(&request, "prefix").is_ok()
                && Cursor::parse(&request, "cursor").is_ok()
                && Limit::<1_000>::parse(&request, "limit").is_ok()
                && bool::parse(&request, "keep_ttl").is_ok(),
            condition: if_match.and_then(|left| precondition(left, if_absent?)).ok(),
            knows_version_7: known.map(|known| known.names(&EntityTag::of_value(Version(7)))).ok(),
            wants_envelope: Form::asked_for(request.headers()).ok().map(|form| form != Form::Raw),
        })
    }
}

/// The body of a batch, in both codings.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// As JSON.
    pub json: Vec<u8>,
    /// As MessagePack.
    pub packed: Vec<u8>,
    /// The steps, if it is a batch.
    pub steps: Option<Vec<Step>>,
}

impl Document {
    /// Reads JSON or MessagePack. `None` if it is not well-formed.
    pub fn read(bytes: &[u8], is_packed: bool) -> Option<Document> {
        let coding = if is_packed { Coding::MessagePack } else { Coding::Json };
        let document = coding.decode(bytes).ok()?;
        let encoded = |coding: Coding| coding.encode(document.clone());
        let (json, packed) = (encoded(Coding::Json), encoded(Coding::MessagePack));
        Some(Document { json, packed, steps: steps(document).ok() })
    }
}
