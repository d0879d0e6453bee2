//! `If-Match` and `If-None-Match` (RFC 9110, 13.1).
//!
//! ```text
//! If-Match       "7", "9-json"    a version among these; what follows it names a representation and does not count
//!                W/"7"            never the same: the comparison is strong
//!                *                the key is present
//! If-None-Match  "7-json", W/"7"  of a read: exactly the tag that the answer would bear, weak or not
//!                *                of a write: the key is absent
//! ```
//!
//! All lines of a header are one list. An operation heeds these headers, or a request that bears one is refused
//! ([`Routes::check`](super::routes::Routes::check)). `If-Modified-Since`, `If-Unmodified-Since` and `If-Range` are passed
//! over, as they must be where there are no dates and no ranges.

use poem::Request;
use poem::http::{HeaderMap, HeaderName, header};
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use super::params::Parameter;
use super::refusal::Refusal;
use super::versions::EntityTag;
use crate::model::{Condition, Version};
use crate::service::Precondition;

/// `If-Match`, of reads and of writes: the versions that it names, `*`, or nothing.
#[derive(Default)]
pub(super) struct IfMatch(Option<Named>);

enum Named {
    Any,
    /// Weak tags, and those that are no versions of ours, match nothing and are not kept.
    These(Vec<Version>),
}

/// `If-None-Match` of a read.
pub(super) struct Known(Option<Tags>);

/// `If-None-Match` of a write: `*` or nothing.
pub(super) struct IfAbsent(bool);

impl IfAbsent {
    /// As in a request without it.
    pub(super) const UNSAID: IfAbsent = IfAbsent(false);
}

impl IfMatch {
    /// Whether the header is there and does not name this version of a present key.
    pub(super) fn excludes(&self, version: Version) -> bool {
        match &self.0 {
            None | Some(Named::Any) => false,
            Some(Named::These(versions)) => !versions.contains(&version),
        }
    }
}

impl Known {
    /// Whether the client has the representation that this tag names.
    pub(super) fn names(&self, current: &EntityTag) -> bool {
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|tag| tag.opaque == current.opaque()),
        }
    }

    /// Whether the header is not there, so that there is no tag to be compared with.
    pub(super) fn is_unsaid(&self) -> bool {
        self.0.is_none()
    }
}

impl Parameter for IfMatch {
    const IN: MetaParamIn = MetaParamIn::Header;

    fn schema() -> MetaSchema {
        tags_schema()
    }

    fn parse(request: &Request, _name: &str) -> Result<IfMatch, Refusal> {
        let named = tags(request.headers(), &header::IF_MATCH)?.map(|tags| match tags {
            Tags::Any => Named::Any,
            Tags::These(tags) => {
                let strong = tags.iter().filter(|tag| !tag.weak);
                Named::These(strong.filter_map(|tag| version(&tag.opaque)).collect())
            }
        });
        Ok(IfMatch(named))
    }
}

impl Parameter for Known {
    const IN: MetaParamIn = MetaParamIn::Header;

    fn schema() -> MetaSchema {
        tags_schema()
    }

    fn parse(request: &Request, _name: &str) -> Result<Known, Refusal> {
        Ok(Known(tags(request.headers(), &header::IF_NONE_MATCH)?))
    }
}

impl Parameter for IfAbsent {
    const IN: MetaParamIn = MetaParamIn::Header;

    fn schema() -> MetaSchema {
        MetaSchema { enum_items: vec!["*".into()], ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, _name: &str) -> Result<IfAbsent, Refusal> {
        match tags(request.headers(), &header::IF_NONE_MATCH)? {
            None => Ok(IfAbsent(false)),
            Some(Tags::Any) => Ok(IfAbsent(true)),
            Some(Tags::These(_)) => {
                Err(Refusal::invalid("If-None-Match of a write is *: only if the key is absent"))
            }
        }
    }
}

/// What must hold for a write.
pub(super) fn precondition(if_match: IfMatch, if_absent: IfAbsent) -> Result<Precondition, Refusal> {
    match (if_match.0, if_absent.0) {
        (Some(_), true) => Err(Refusal::invalid("If-Match and If-None-Match exclude each other")),
        (Some(Named::Any), false) => Ok(Precondition::Is(Condition::Present)),
        (Some(Named::These(versions)), false) => Ok(Precondition::AnyOf(versions)),
        (None, true) => Ok(Precondition::Is(Condition::Absent)),
        (None, false) => Ok(Precondition::NONE),
    }
}

/// What the document says of a list of tags. Without an example: who tries an operation out on the page would send it, and
/// get a 412 for it.
fn tags_schema() -> MetaSchema {
    let tag = r#"(W/)?"[!#-~]*""#;
    MetaSchema { pattern: Some(format!(r"^(\*|{tag}(, {tag})*)$")), ..MetaSchema::new("string") }
}

/// The value of a condition.
enum Tags {
    Any,
    These(Vec<Tag>),
}

/// An entity tag as a client sends it.
struct Tag {
    weak: bool,
    /// What stands between the quotes.
    opaque: Vec<u8>,
}

/// The header's name as people write it.
pub(super) fn title(name: &HeaderName) -> &'static str {
    if *name == header::IF_MATCH { "If-Match" } else { "If-None-Match" }
}

/// The tags in all lines of a header; `None` without any line.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Refusal> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let malformed = || {
        Refusal::invalid(format!(
            "{} is * or a list of entity tags, each in double quotes as ETag has it",
            title(name)
        ))
    };
    let (mut tags, mut star) = (Vec::new(), false);
    for value in headers.get_all(name) {
        let mut rest = value.as_bytes().trim_ascii();
        while let [first, after @ ..] = rest {
            match first {
                b',' => rest = after.trim_ascii_start(),
                b'*' => {
                    star = true;
                    rest = separated(after).ok_or_else(malformed)?;
                }
                _ => {
                    let (tag, after) = tag(rest).ok_or_else(malformed)?;
                    tags.push(tag);
                    rest = separated(after).ok_or_else(malformed)?;
                }
            }
        }
    }
    match (star, tags.is_empty()) {
        (true, true) => Ok(Some(Tags::Any)),
        (false, false) => Ok(Some(Tags::These(tags))),
        // Nothing, or a star among tags.
        _ => Err(malformed()),
    }
}

/// The tag at the beginning of `text`, and what follows it. A comma between its quotes is a part of it.
fn tag(text: &[u8]) -> Option<(Tag, &[u8])> {
    let (weak, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let inside = quoted.strip_prefix(b"\"")?;
    let end = inside.iter().position(|byte| *byte == b'"')?;
    let (opaque, after) = inside.split_at_checked(end)?;
    let is_valid = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7F);
    let after = after.strip_prefix(b"\"")?;
    is_valid.then(|| (Tag { weak, opaque: opaque.to_vec() }, after))
}

/// What follows an element of a list: nothing, or a comma.
fn separated(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_start();
    (text.is_empty() || text.starts_with(b",")).then_some(text)
}

/// The version in a tag. A number of up to 20 digits is one, though one beyond 64 bits is that of no key.
fn version(opaque: &[u8]) -> Option<Version> {
    let digits = opaque.split(|byte| *byte == b'-').next()?;
    let is_number = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(Version(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> Request {
        let mut request = Request::builder().finish();
        for line in lines {
            let value = poem::http::HeaderValue::from_str(line).expect("a value");
            request.headers_mut().append(header::IF_MATCH, value.clone());
            request.headers_mut().append(header::IF_NONE_MATCH, value);
        }
        request
    }

    fn wanted(lines: &[&str]) -> Option<Precondition> {
        let if_match = IfMatch::parse(&request(lines), "").ok()?;
        precondition(if_match, IfAbsent::UNSAID).ok()
    }

    /// Goal: every way to write a list is read, and what is no list is refused.
    #[test]
    fn lists_are_read() {
        let any_of =
            |versions: &[u64]| Some(Precondition::AnyOf(versions.iter().copied().map(Version).collect()));
        assert_eq!(wanted(&[]), Some(Precondition::NONE));
        assert_eq!(wanted(&["*"]), Some(Precondition::Is(Condition::Present)));
        assert_eq!(wanted(&["\"7\""]), any_of(&[7]));
        assert_eq!(wanted(&["\"7\" ,\t\"8-json\",, \"9-ttl-msgpack-5\""]), any_of(&[7, 8, 9]));
        assert_eq!(wanted(&["\"7\"", "\"8\""]), any_of(&[7, 8]));
        assert_eq!(wanted(&["W/\"7\", \"8\""]), any_of(&[8]), "a weak tag is never the same");
        assert_eq!(wanted(&["\"a,\"", "\"\"", "\"-3\"", "\"7x\""]), any_of(&[]));
        assert_eq!(wanted(&["\"99999999999999999999\""]), any_of(&[u64::MAX]));
        for lines in [
            &[""][..],
            &[","],
            &["7"],
            &["\"7"],
            &["\"7\" \"8\""],
            &["*, \"7\""],
            &["*", "\"7\""],
            &["**"],
            &["w/\"7\""],
            &["W/ \"7\""],
            &["\"a b\""],
        ] {
            assert_eq!(wanted(lines), None, "{lines:?}");
            assert!(Known::parse(&request(lines), "").is_err(), "{lines:?}");
        }
    }

    /// Goal: a read knows a representation by its own tag only, weak or not.
    #[test]
    fn representations_are_known_by_their_own_tags() {
        let knows = |line: &str, tag: &EntityTag| Known::parse(&request(&[line]), "").expect(line).names(tag);
        let value = EntityTag::of_value(Version(7));
        let document = EntityTag::of_document(Version(7), "json", None);
        for (line, knows_value, knows_document) in [
            ("\"7\"", true, false),
            ("W/\"7\"", true, false),
            ("\"7-json\"", false, true),
            ("\"1\", W/\"7-json\"", false, true),
            ("*", true, true),
            ("\"8\"", false, false),
        ] {
            assert_eq!(knows(line, &value), knows_value, "{line}");
            assert_eq!(knows(line, &document), knows_document, "{line}");
        }
    }
}
