//! Parameters of path and query: each is parsed once, here, with an error that says what is wanted.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::percent;
use super::refusal::Refusal;
use crate::model::limits::MAX_DEADLINE_MS;
use crate::model::{Key, Ttl};
use crate::service::{Consistencies, Consistency};

/// Where the paths of single keys begin.
pub(super) const KEYS: &str = "/v1/kv/";

/// Something that a request may say outside of its body.
pub(super) trait Parameter: Send + Sized {
    /// Where it stands.
    const IN: MetaParamIn;
    /// Whether it must be there.
    const REQUIRED: bool = false;
    /// What the document says of it.
    fn schema() -> MetaSchema;
    /// Reads it.
    fn parse(request: &Request, name: &str) -> Result<Self, Refusal>;
}

/// A parameter of an operation.
pub(super) struct Param<P>(pub(super) P);

impl<'a, P: Parameter> ApiExtractor<'a> for Param<P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = P::REQUIRED;

    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(P::IN)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(P::schema())))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Param<P>> {
        Ok(Param(P::parse(request, options.name)?))
    }
}

/// The key in the path.
impl Parameter for Key {
    const IN: MetaParamIn = MetaParamIn::Path;
    const REQUIRED: bool = true;

    fn schema() -> MetaSchema {
        MetaSchema { min_length: Some(1), example: Some("greeting".into()), ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, _name: &str) -> Result<Key, Refusal> {
        let path = request.uri().path();
        let rest = path.strip_prefix(KEYS).unwrap_or_default();
        key(rest.split('/').next().unwrap_or_default())
    }
}

/// The key that a segment of a path stands for.
pub(super) fn key(segment: &str) -> Result<Key, Refusal> {
    let bytes = percent::decode(segment).ok_or_else(|| {
        Refusal::invalid("the key is not well percent-encoded: % is followed by two hexadecimal digits")
    })?;
    Ok(Key::new(bytes).map_err(crate::service::Error::from)?)
}

/// `ttl_ms` of a write.
impl Parameter for Option<Ttl> {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(MAX_DEADLINE_MS as f64),
            example: Some(60_000.into()),
            ..MetaSchema::new_with_format("integer", "int64")
        }
    }

    fn parse(request: &Request, name: &str) -> Result<Option<Ttl>, Refusal> {
        let Some(text) = query(request, name)? else { return Ok(None) };
        let wanted = || {
            Refusal::invalid(format!("{name} is a whole number of milliseconds from 1 to {MAX_DEADLINE_MS}"))
        };
        let millis = number(&text).ok_or_else(wanted)?;
        Ttl::from_millis(millis).map(Some).map_err(|_| wanted())
    }
}

/// `keep_ttl` of a write.
impl Parameter for bool {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        MetaSchema { default: Some(false.into()), ..MetaSchema::new("boolean") }
    }

    fn parse(request: &Request, name: &str) -> Result<bool, Refusal> {
        match query(request, name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::invalid(format!("{name} is true or false"))),
        }
    }
}

/// `consistency` of a read.
impl Parameter for Option<Consistency> {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        MetaSchema {
            enum_items: Consistencies::ALL.iter().map(|(name, _)| (*name).into()).collect(),
            ..MetaSchema::new("string")
        }
    }

    fn parse(request: &Request, name: &str) -> Result<Option<Consistency>, Refusal> {
        let Some(text) = query(request, name)? else { return Ok(None) };
        Consistencies::named(&text)
            .map(Some)
            .ok_or_else(|| Refusal::invalid(format!("{name} is linearizable, lease or stale")))
    }
}

/// The pairs of a query string, still encoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The value of a query parameter. That no name comes twice was checked before.
pub(super) fn query(request: &Request, name: &str) -> Result<Option<String>, Refusal> {
    let text = query_bytes(request, name)?.map(String::from_utf8).transpose();
    text.map_err(|_| Refusal::invalid(format!("{name} is not UTF-8")))
}

/// [`query`], for bytes that need not be text.
pub(super) fn query_bytes(request: &Request, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let is_meant =
        |given: &str| given == name || percent::decode_text(given).is_some_and(|given| given == name);
    let found = pairs(request.uri().query().unwrap_or_default()).find(|(given, _)| is_meant(given));
    let Some((_, value)) = found else { return Ok(None) };
    let bytes = percent::decode(value);
    bytes.map(Some).ok_or_else(|| Refusal::invalid(format!("{name} is not well percent-encoded")))
}

/// A whole number in decimal digits and nothing else.
pub(super) fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
