//! `If-Match` and `If-None-Match` of writes.

use poem::http::{HeaderName, header};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use super::params::Parameter;
use super::refusal::Refusal;
use crate::model::{Condition, Version};

/// `If-Match: "<version>"` or `*`.
pub(super) struct IfMatch(Option<Condition>);

/// `If-None-Match: *`.
pub(super) struct IfNoneMatch(Option<Condition>);

/// A request without `If-None-Match`. An operation that cannot honour the header must not pass over it.
pub(super) struct NoIfNoneMatch;

impl IfNoneMatch {
    /// As in a request that does not have it.
    pub(super) const ABSENT: IfNoneMatch = IfNoneMatch(None);
}

impl<'a> FromRequest<'a> for NoIfNoneMatch {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<NoIfNoneMatch> {
        match request.headers().contains_key(header::IF_NONE_MATCH) {
            true => Err(Refusal::invalid("a removal knows If-Match, but not If-None-Match").into()),
            false => Ok(NoIfNoneMatch),
        }
    }
}

impl Parameter for IfMatch {
    const IN: MetaParamIn = MetaParamIn::Header;

    fn schema() -> MetaSchema {
        MetaSchema {
            min_length: Some(1),
            pattern: Some(r#"^(\*|"[0-9]{1,20}")$"#.to_owned()),
            example: Some("\"7\"".into()),
            ..MetaSchema::new("string")
        }
    }

    fn parse(request: &Request, _name: &str) -> Result<IfMatch, Refusal> {
        let Some(value) = single(request, &header::IF_MATCH)? else { return Ok(IfMatch(None)) };
        if value == "*" {
            return Ok(IfMatch(Some(Condition::Present)));
        }
        let version = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(version);
        let condition = version.map(Condition::Version);
        condition.map(|condition| IfMatch(Some(condition))).ok_or_else(|| {
            Refusal::invalid("If-Match is one version in double quotes, as the ETag has it, or *")
        })
    }
}

impl Parameter for IfNoneMatch {
    const IN: MetaParamIn = MetaParamIn::Header;

    fn schema() -> MetaSchema {
        MetaSchema { enum_items: vec!["*".into()], ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, _name: &str) -> Result<IfNoneMatch, Refusal> {
        match single(request, &header::IF_NONE_MATCH)? {
            None => Ok(IfNoneMatch(None)),
            Some("*") => Ok(IfNoneMatch(Some(Condition::Absent))),
            Some(_) => Err(Refusal::invalid("If-None-Match of a write is *: only if the key is absent")),
        }
    }
}

/// What must hold for a write.
pub(super) fn condition(if_match: IfMatch, if_none_match: IfNoneMatch) -> Result<Condition, Refusal> {
    match (if_match.0, if_none_match.0) {
        (Some(_), Some(_)) => Err(Refusal::invalid("If-Match and If-None-Match exclude each other")),
        (Some(condition), None) | (None, Some(condition)) => Ok(condition),
        (None, None) => Ok(Condition::Always),
    }
}

fn version(digits: &str) -> Option<Version> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok().map(Version) } else { None }
}

fn single<'a>(request: &'a Request, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = request.headers().get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    match (values.next(), first.to_str()) {
        (None, Ok(text)) => Ok(Some(text.trim())),
        _ => Err(Refusal::invalid("a precondition is given once and in ASCII")),
    }
}
