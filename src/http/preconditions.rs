//! `If-Match` and `If-None-Match` of writes.

use poem::http::{HeaderName, header};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use super::params::Parameter;
use super::refusal::Refusal;
use crate::model::{Condition, Version};

/// `If-Match` (`MATCH`) or `If-None-Match` of a read: entity tags, `*`, or nothing.
#[derive(Default)]
pub(super) struct Tags<const MATCH: bool>(Option<Named>);

enum Named {
    Any,
    /// Tags that are no versions of ours match nothing and are not kept.
    These(Vec<Version>),
}

impl<const MATCH: bool> Tags<MATCH> {
    /// Whether the header is there and names this version of a present key.
    pub(super) fn names(&self, version: Version) -> bool {
        match &self.0 {
            None => false,
            Some(Named::Any) => true,
            Some(Named::These(versions)) => versions.contains(&version),
        }
    }

    /// Whether the header is there and does not name this version.
    pub(super) fn excludes(&self, version: Version) -> bool {
        self.0.is_some() && !self.names(version)
    }
}

impl<const MATCH: bool> Parameter for Tags<MATCH> {
    const IN: MetaParamIn = MetaParamIn::Header;

    fn schema() -> MetaSchema {
        // Without an example: who tries an operation out on the page would send it, and get a 412 for it.
        MetaSchema::new("string")
    }

    fn parse(request: &Request, _name: &str) -> Result<Tags<MATCH>, Refusal> {
        let name = if MATCH { header::IF_MATCH } else { header::IF_NONE_MATCH };
        let mut versions = None;
        for value in request.headers().get_all(name) {
            let versions = versions.get_or_insert_with(Vec::new);
            for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Tags(Some(Named::Any)));
                }
                // A weak tag stands for the same version: ours are strong, and equal versions are equal bytes.
                let quoted = tag.strip_prefix("W/").unwrap_or(tag);
                versions.extend(quoted_version(quoted));
            }
        }
        Ok(Tags(versions.map(Named::These)))
    }
}

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
        MetaSchema { pattern: Some(r#"^(\*|"[0-9]{1,20}")$"#.to_owned()), ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, _name: &str) -> Result<IfMatch, Refusal> {
        let Some(value) = single(request, &header::IF_MATCH)? else { return Ok(IfMatch(None)) };
        if value == "*" {
            return Ok(IfMatch(Some(Condition::Present)));
        }
        let condition = quoted_version(value).map(Condition::Version);
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

/// A number of up to 20 digits is a version, though one beyond 64 bits is that of no key.
fn quoted_version(tag: &str) -> Option<Version> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Version(digits.parse().unwrap_or(u64::MAX)))
}

fn single<'a>(request: &'a Request, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = request.headers().get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    match (values.next(), first.to_str()) {
        (None, Ok(text)) => Ok(Some(text.trim())),
        _ => Err(Refusal::invalid("a precondition is given once and in ASCII")),
    }
}
