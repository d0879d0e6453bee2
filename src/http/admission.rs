//! Admission of requests: the checks that every request passes before anything else looks at it.
//!
//! A browser sends requests on behalf of whatever page it shows, also to loopback and into private networks. So:
//!
//! * What a page of another site asks for is refused, reads included: browsers mark such requests by `Sec-Fetch-Site`, and
//!   where they do not send that (over plain HTTP to anything but loopback) by `Origin`. Pages can set neither. Another
//!   port of the same host is another site. A person may follow a link: a page that is opened cannot be read by the other.
//! * A page that has its own name point here counts as of this site, so `Host` must bear a name of this server.
//! * Without a media type there are no documents, and forms are not taken ([`Routes::check`](super::routes::Routes::check)):
//!   what is left needs the browser to ask first (CORS), and the answer to that question grants nothing.
//!
//! And the framing: exactly one `Host`, and no coding of the transfer but `chunked` (RFC 9112, 3.2 and 6.1). Who takes such
//! a request otherwise than a proxy before it does may serve one client what another has sent.

use poem::Request;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use super::hosts::{Authority, Hosts};
use super::refusal::Refusal;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The checks of one listener.
pub(super) struct Admission {
    refuses_pages: bool,
    /// The names that it may be called by, if they matter.
    hosts: Option<Hosts>,
}

impl Admission {
    /// For the API. There are no accounts: the name is all that keeps a page out that has its own name point here.
    pub(super) fn of_api(hosts: Hosts) -> Admission {
        Admission { refuses_pages: true, hosts: Some(hosts) }
    }

    /// For probes, which orchestrators call by any name. Nothing there is worth a page's while.
    pub(super) fn of_probes() -> Admission {
        Admission { refuses_pages: true, hosts: None }
    }

    /// For a socket in the file system, which no browser opens.
    pub(super) fn of_socket() -> Admission {
        Admission { refuses_pages: false, hosts: None }
    }

    /// Refuses a request that must not be looked at any further.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        let said = Said::of(request.headers());
        said.check_coding()?;
        let called = said.called(request)?;
        if self.refuses_pages && said.is_of_another_site(called) && !said.is_visit(request.method()) {
            return Err(Refusal::ForeignSite);
        }
        // No browser leaves the name out.
        match (&self.hosts, called) {
            (Some(hosts), Some(called)) if !hosts.know(called.host) => Err(Refusal::ForeignName),
            _ => Ok(()),
        }
    }
}

/// The headers that count here, found in one pass.
#[derive(Default)]
struct Said<'a> {
    hosts: usize,
    host: Option<&'a HeaderValue>,
    coding: Vec<&'a HeaderValue>,
    origin: Option<&'a HeaderValue>,
    fetch_site: Option<&'a HeaderValue>,
    fetch_mode: Option<&'a HeaderValue>,
    fetch_dest: Option<&'a HeaderValue>,
}

impl<'a> Said<'a> {
    fn of(headers: &'a HeaderMap) -> Said<'a> {
        let mut said = Said::default();
        for (name, value) in headers {
            match name {
                name if name == header::HOST => {
                    said.hosts += 1;
                    said.host = Some(value);
                }
                name if name == header::TRANSFER_ENCODING => said.coding.push(value),
                name if name == header::ORIGIN => said.origin = Some(value),
                name if name == FETCH_SITE => said.fetch_site = Some(value),
                name if name == FETCH_MODE => said.fetch_mode = Some(value),
                name if name == FETCH_DEST => said.fetch_dest = Some(value),
                _ => {}
            }
        }
        said
    }

    fn check_coding(&self) -> Result<(), Refusal> {
        let mut chunked = 0;
        for value in &self.coding {
            for coding in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match coding {
                    b"" => {}
                    coding if coding.eq_ignore_ascii_case(b"chunked") => chunked += 1,
                    _ => return Err(Refusal::UnknownTransferCoding),
                }
            }
        }
        if chunked > 1 { Err(Refusal::invalid("a body is chunked once")) } else { Ok(()) }
    }

    /// The name by which the client calls this server; `None` where HTTP/1.0 lets it say none.
    fn called(&self, request: &'a Request) -> Result<Option<Authority<'a>>, Refusal> {
        let parse = |text: &'a str| {
            let malformed = || Refusal::invalid("the host that the request names is malformed");
            Authority::parse(text).ok_or_else(malformed)
        };
        if self.hosts > 1 {
            return Err(Refusal::invalid("a request has one Host"));
        }
        let host = match self.host {
            Some(value) => Some(parse(value.to_str().unwrap_or_default())?),
            None => None,
        };
        let target = match request.uri().authority() {
            Some(authority) => Some(parse(authority.as_str())?),
            None => None,
        };
        match (request.version(), target, host) {
            (Version::HTTP_2, Some(target), Some(host)) if !target.equals(host, 80) => {
                Err(Refusal::invalid("Host and :authority name different hosts"))
            }
            (Version::HTTP_2, None, None) => Err(Refusal::invalid("a request has an :authority")),
            (Version::HTTP_11, _, None) => Err(Refusal::invalid("a request has a Host")),
            // A target that names a host goes before the header (RFC 9112, 3.2.2).
            (_, target, host) => Ok(target.or(host)),
        }
    }

    /// Whether a browser says that a page of another site asks.
    fn is_of_another_site(&self, called: Option<Authority<'_>>) -> bool {
        match (self.fetch_site, self.origin) {
            (Some(site), _) => site != "same-origin" && site != "none",
            (None, Some(origin)) => !is_same(origin, called),
            (None, None) => false,
        }
    }

    /// Whether a person opens this in a window of its own.
    fn is_visit(&self, method: &Method) -> bool {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        is_read
            && self.fetch_mode.is_some_and(|mode| mode == "navigate")
            && self.fetch_dest.is_some_and(|dest| dest == "document")
    }
}

/// Whether an origin is what the client calls this server. Behind a proxy that does TLS its scheme may be the other one.
fn is_same(origin: &HeaderValue, called: Option<Authority<'_>>) -> bool {
    let text = origin.to_str().unwrap_or_default();
    let plain = text.strip_prefix("http://").map(|rest| (rest, 80));
    let Some((rest, port)) = plain.or_else(|| text.strip_prefix("https://").map(|rest| (rest, 443))) else {
        return false;
    };
    match (Authority::parse(rest), called) {
        (Some(origin), Some(called)) => origin.equals(called, port),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use poem::http::Uri;

    use super::*;
    use crate::service::Code;

    fn checked(admission: &Admission, method: Method, headers: &[(&str, &str)]) -> Option<Code> {
        let mut request = Request::builder().method(method).uri(Uri::from_static("/v1/kv/k")).finish();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
        }
        admission.check(&request).err().map(|refusal| refusal.code())
    }

    fn api() -> Admission {
        Admission::of_api(Hosts::parse("kv.example.com").expect("a name"))
    }

    /// Goal: whatever a page of another site can have its browser send is refused, whatever the method; what a person, the
    /// server's own page or a program sends is not.
    #[test]
    fn pages_of_other_sites_are_refused() {
        let refused: [&[(&str, &str)]; 9] = [
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://kv.example.com:81")],
            &[("origin", "https://kv.example.com.evil.example")],
            &[("origin", "ftp://kv.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://kv.example.com")],
        ];
        let taken: [&[(&str, &str)]; 6] = [
            &[],
            &[("origin", "http://kv.example.com")],
            &[("origin", "https://KV.example.com")],
            &[("origin", "http://kv.example.com:80"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            &[("origin", "https://proxy.example.com"), ("sec-fetch-site", "same-origin")],
        ];
        let host = ("host", "kv.example.com");
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS]
        {
            for headers in refused {
                let headers = [&[host], headers].concat();
                assert_eq!(checked(&api(), method.clone(), &headers), Some(Code::Forbidden), "{headers:?}");
                let probed = checked(&Admission::of_probes(), method.clone(), &headers);
                assert_eq!(probed, Some(Code::Forbidden), "{headers:?}");
                assert_eq!(checked(&Admission::of_socket(), method.clone(), &headers), None);
            }
            for headers in taken {
                let headers = [&[host], headers].concat();
                assert_eq!(checked(&api(), method.clone(), &headers), None, "{headers:?}");
            }
            let visit = [
                host,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ];
            let is_read = matches!(method, Method::GET | Method::HEAD);
            assert_eq!(checked(&api(), method, &visit).is_none(), is_read, "a link may be followed");
        }
    }

    /// Goal: one `Host`, by a name that no page of another site can have; one coding of the transfer.
    #[test]
    fn the_frame_of_a_request_is_checked() {
        type Case = (&'static [(&'static str, &'static str)], Option<Code>);
        let cases: [Case; 12] = [
            (&[], Some(Code::InvalidArgument)),
            (&[("host", "localhost"), ("host", "localhost")], Some(Code::InvalidArgument)),
            (&[("host", "")], Some(Code::InvalidArgument)),
            (&[("host", "a@b")], Some(Code::InvalidArgument)),
            (&[("host", "evil.example")], Some(Code::Misdirected)),
            (&[("host", "evil.example:8080")], Some(Code::Misdirected)),
            (&[("host", "[::1]:8080")], None),
            (&[("host", "localhost"), ("transfer-encoding", "Chunked")], None),
            (&[("host", "localhost"), ("transfer-encoding", "gzip, chunked")], Some(Code::NotImplemented)),
            (&[("host", "localhost"), ("transfer-encoding", "identity")], Some(Code::NotImplemented)),
            (
                &[("host", "localhost"), ("transfer-encoding", "chunked, chunked")],
                Some(Code::InvalidArgument),
            ),
            (
                &[("host", "localhost"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                Some(Code::InvalidArgument),
            ),
        ];
        for (headers, code) in cases {
            assert_eq!(checked(&api(), Method::GET, headers), code, "{headers:?}");
        }
        let foreign = [("host", "pod-7.monitoring")];
        assert_eq!(checked(&Admission::of_probes(), Method::GET, &foreign), None);
        let mut old = Request::builder().version(Version::HTTP_10).uri(Uri::from_static("/")).finish();
        assert!(api().check(&old).is_ok(), "HTTP/1.0 knows no Host");
        old.headers_mut().append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(api().check(&old).is_err());
    }

    /// Goal: the target of the request and, over HTTP/2, `:authority` are names of the server too.
    #[test]
    fn a_name_in_the_target_counts() {
        let of = |version: Version, uri: &'static str, host: Option<&'static str>| {
            let mut request = Request::builder().version(version).uri(Uri::from_static(uri)).finish();
            if let Some(host) = host {
                request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
            }
            api().check(&request).err().map(|refusal| refusal.code())
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(of(one, "http://evil.example/", Some("localhost")), Some(Code::Misdirected));
        assert_eq!(of(one, "http://localhost/", Some("evil.example")), None);
        assert_eq!(of(one, "http://localhost/", None), Some(Code::InvalidArgument));
        assert_eq!(of(two, "http://evil.example/", None), Some(Code::Misdirected));
        assert_eq!(of(two, "http://localhost/", None), None);
        assert_eq!(of(two, "http://localhost/", Some("localhost:80")), None);
        assert_eq!(of(two, "http://localhost/", Some("evil.example")), Some(Code::InvalidArgument));
        assert_eq!(of(two, "/", Some("localhost")), None);
        assert_eq!(of(two, "/", None), Some(Code::InvalidArgument));
    }
}
