//! Which form of a value the client wants: the bytes themselves, or an envelope.

use poem::http::{HeaderMap, header};
use poem::{FromRequest, Request, RequestBody};

use super::coding::{Coding, MESSAGE_PACK};
use super::refusal::Refusal;

/// Media type of a bare value.
pub(super) const OCTETS: &str = "application/octet-stream";

/// The form of an answer that carries a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes of the value.
    Raw,
    /// A document that has the value in it.
    Enveloped(Coding),
}

impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Form> {
        Ok(Form::asked_for(request.headers())?)
    }
}

impl Form {
    /// What `Accept` asks for.
    pub(super) fn asked_for(headers: &HeaderMap) -> Result<Form, Refusal> {
        negotiate(headers, &VALUES).map_err(|Unacceptable| Refusal::NotAcceptable(A_VALUE))
    }
}

/// Bytes that have no other form are acceptable.
#[derive(Clone, Copy)]
pub(super) struct Octets;

impl<'a> FromRequest<'a> for Octets {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Octets> {
        Ok(negotiate(request.headers(), &[(OCTETS, Octets)])
            .map_err(|Unacceptable| Refusal::NotAcceptable(SOME_BYTES))?)
    }
}

impl<'a> FromRequest<'a> for Coding {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Coding> {
        Ok(negotiate(request.headers(), &DOCUMENTS)
            .map_err(|Unacceptable| Refusal::NotAcceptable(A_DOCUMENT))?)
    }
}

const A_VALUE: &str = "this can be sent as application/octet-stream, application/json or application/msgpack";
const SOME_BYTES: &str = "this can be sent as application/octet-stream";
const A_DOCUMENT: &str = "this can be sent as application/json or application/msgpack";

/// What a value can be sent as; of what a client wants equally, the first.
const VALUES: [(&str, Form); 5] = [
    (OCTETS, Form::Raw),
    ("application/json", Form::Enveloped(Coding::Json)),
    (MESSAGE_PACK, Form::Enveloped(Coding::MessagePack)),
    ("application/vnd.msgpack", Form::Enveloped(Coding::MessagePack)),
    ("application/x-msgpack", Form::Enveloped(Coding::MessagePack)),
];

/// What a document can be sent as.
const DOCUMENTS: [(&str, Coding); 4] = [
    ("application/json", Coding::Json),
    (MESSAGE_PACK, Coding::MessagePack),
    ("application/vnd.msgpack", Coding::MessagePack),
    ("application/x-msgpack", Coding::MessagePack),
];

/// Nothing of what can be sent is acceptable.
struct Unacceptable;

/// What `Accept` asks for: the offer of the highest quality; of equals the one that is named more exactly; else the
/// first. What does not say in proper form what it wants is passed over (RFC 9110, 12.4.1, lets a server do so).
fn negotiate<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Result<T, Unacceptable> {
    let mut asked = false;
    let mut preferences = [Preference::default(); VALUES.len()];
    for value in headers.get_all(header::ACCEPT) {
        let ranges = value.to_str().unwrap_or_default().split(',').map(str::trim);
        for (range, quality) in ranges.filter(|range| !range.is_empty()).filter_map(parse) {
            asked = true;
            for (preference, (media_type, _)) in preferences.iter_mut().zip(offers) {
                preference.consider(range, media_type, quality);
            }
        }
    }
    let offered = offers.iter().zip(preferences).rev();
    let best = offered.max_by_key(|(_, preference)| preference.rank()).ok_or(Unacceptable)?;
    match best {
        _ if !asked => offers.first().map(|(_, first)| *first).ok_or(Unacceptable),
        (_, Preference { quality: 0, .. }) => Err(Unacceptable),
        ((_, offer), _) => Ok(*offer),
    }
}

/// How much a client wants one media type: what its most exact range says counts.
#[derive(Clone, Copy, Default)]
struct Preference {
    exactness: u8,
    quality: u16,
}

impl Preference {
    fn consider(&mut self, range: &str, media_type: &str, quality: u16) {
        let exactness = match range {
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            _ if range.eq_ignore_ascii_case("application/*") => 2,
            "*/*" => 1,
            _ => return,
        };
        if exactness > self.exactness || (exactness == self.exactness && quality > self.quality) {
            *self = Preference { exactness, quality };
        }
    }

    fn rank(self) -> (u16, u8) {
        (self.quality, self.exactness)
    }
}

/// A media range and its quality in thousandths.
fn parse(range: &str) -> Option<(&str, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    match quality.map_or(Ok(1.0), str::parse::<f32>) {
        Ok(quality) if (0.0..=1.0).contains(&quality) => Some((name, (quality * 1_000.0).round() as u16)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Form = Form::Enveloped(Coding::Json);
    const PACKED: Form = Form::Enveloped(Coding::MessagePack);

    fn asking(accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, poem::http::HeaderValue::from_static(accept));
        headers
    }

    #[test]
    fn the_best_form_wins() {
        let cases = [
            ("", Some(Form::Raw)),
            ("*/*", Some(Form::Raw)),
            ("application/*", Some(Form::Raw)),
            ("application/json", Some(JSON)),
            ("Application/JSON", Some(JSON)),
            ("application/msgpack", Some(PACKED)),
            ("application/x-msgpack, application/json;q=0.9", Some(PACKED)),
            ("application/msgpack;q=0.1, application/json;q=0.9", Some(JSON)),
            ("application/json, */*", Some(JSON)),
            ("application/json;q=0.5, */*", Some(Form::Raw)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Form::Raw)),
            ("application/octet-stream;q=0, */*", Some(JSON)),
            ("text/html", None),
            ("*/*;q=0", None),
            ("application/json;q=2", Some(Form::Raw)),
        ];
        for (accept, wanted) in cases {
            assert_eq!(negotiate(&asking(accept), &VALUES).ok(), wanted, "{accept:?}");
        }
        assert_eq!(negotiate(&HeaderMap::new(), &VALUES).ok(), Some(Form::Raw));
    }

    #[test]
    fn documents_are_json_unless_something_else_is_wanted() {
        let cases = [
            ("*/*", Some(Coding::Json)),
            ("application/vnd.msgpack", Some(Coding::MessagePack)),
            ("application/octet-stream", None),
        ];
        for (accept, wanted) in cases {
            assert_eq!(negotiate(&asking(accept), &DOCUMENTS).ok(), wanted, "{accept:?}");
        }
    }
}
