//! Which form of a value the client wants: the bytes themselves, or an envelope.

use poem::http::{HeaderMap, header};
use poem::{FromRequest, Request, RequestBody};

use super::refusal::Refusal;

/// Media type of a bare value.
pub(super) const OCTETS: &str = "application/octet-stream";

/// Media type of the envelope, with the charset that poem gives to all JSON.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// The form of an answer that carries a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes of the value.
    Raw,
    /// A JSON envelope.
    Json,
}

impl<'a> FromRequest<'a> for Form {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Form> {
        Ok(negotiate(request.headers())?)
    }
}

/// What `Accept` asks for: the form of the highest quality; of equals the one that is named more exactly; else the
/// bare bytes.
fn negotiate(headers: &HeaderMap) -> Result<Form, Refusal> {
    let mut asked = false;
    let (mut raw, mut json) = (Preference::default(), Preference::default());
    for value in headers.get_all(header::ACCEPT) {
        let value = value.to_str().map_err(|_| Refusal::invalid("Accept is not ASCII"))?;
        for range in value.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            asked = true;
            let (range, quality) = parse(range)?;
            raw.consider(range, OCTETS, quality);
            json.consider(range, "application/json", quality);
        }
    }
    match (raw.rank(), json.rank()) {
        _ if !asked => Ok(Form::Raw),
        ((0, _), (0, _)) => Err(Refusal::NotAcceptable),
        (raw, json) if json > raw => Ok(Form::Json),
        _ => Ok(Form::Raw),
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
fn parse(range: &str) -> Result<(&str, u16), Refusal> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    match quality.map_or(Ok(1.0), str::parse::<f32>) {
        Ok(quality) if (0.0..=1.0).contains(&quality) => Ok((name, (quality * 1_000.0).round() as u16)),
        _ => Err(Refusal::invalid("a quality in Accept is a number from 0 to 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &'static str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, poem::http::HeaderValue::from_static(accept));
        negotiate(&headers).ok()
    }

    #[test]
    fn the_best_form_wins() {
        let cases = [
            ("", Some(Form::Raw)),
            ("*/*", Some(Form::Raw)),
            ("application/*", Some(Form::Raw)),
            ("application/json", Some(Form::Json)),
            ("Application/JSON", Some(Form::Json)),
            ("application/json, */*", Some(Form::Json)),
            ("application/json;q=0.5, */*", Some(Form::Raw)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Form::Raw)),
            ("application/octet-stream;q=0, */*", Some(Form::Json)),
            ("text/html", None),
            ("*/*;q=0", None),
            ("application/json;q=2", None),
        ];
        for (accept, wanted) in cases {
            assert_eq!(form(accept), wanted, "{accept:?}");
        }
        assert_eq!(negotiate(&HeaderMap::new()).ok(), Some(Form::Raw));
    }
}
