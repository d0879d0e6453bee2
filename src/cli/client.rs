//! A small HTTP client of the own API.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response, Uri};
use ureq::{Body, BodyReader};

use super::arguments::{Consistency, Server};
use super::exit::{Exit, Failure};

/// Longest time for a connection to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest time for an answer on a single key. The server gives up before.
const ANSWER: Duration = Duration::from_secs(30);

/// Largest answer that is taken.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// What a request says besides its path.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: &'a [u8],
    /// Whether the answer may take as long as it likes.
    pub(super) patient: bool,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Failure::new(Exit::Refused, "the answer is no JSON: is this a Kvorum server?"))
    }

    /// The answer if it is a success; else what the problem document says.
    pub(super) fn success(self) -> Result<Answer, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if !problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:kvorum:error:")) {
            let text = "answered as no Kvorum server does: is the URL right?";
            return Err(Failure::new(Exit::Refused, format!("status {}, {text}", self.status)));
        }
        let text = |field: &str| problem[field].as_str().map(str::to_owned);
        let code = text("code").unwrap_or_else(|| format!("status {}", self.status));
        let exit = match (code.as_str(), problem["applied"].as_str()) {
            ("not-found", _) => Exit::Negative,
            ("precondition-failed", _) => Exit::Precondition,
            (_, Some("unknown")) => Exit::UnknownOutcome,
            _ => Exit::Refused,
        };
        let detail = text("detail").unwrap_or_else(|| "the server refused".to_owned());
        let version = problem["version"].as_u64().map(|version| format!(" (its version is {version})"));
        let gone = problem["gone"]["reason"].as_str().map(|reason| {
            format!(
                " (it was {reason} by log entry {} at {} ms)",
                problem["gone"]["index"], problem["gone"]["at"]
            )
        });
        let more = version.or(gone).unwrap_or_default();
        Err(Failure::new(exit, format!("{detail}{more} [{code}]")))
    }
}

/// Asks the server.
pub(super) fn call(server: &Server, call: &Call<'_>) -> Result<Answer, Failure> {
    let response = send(server, call)?;
    answer(server, call, response)
}

/// Reads an answer to its end.
fn answer(server: &Server, call: &Call<'_>, mut response: Response<Body>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
    let body = body.map_err(|error| unreachable(server, call, error))?;
    Ok(Answer { status, body })
}

/// Asks the server for something that may be long.
pub(super) fn stream<'a>(server: &'a Server, call: &'a Call<'a>) -> Result<Stream<'a>, Failure> {
    let response = send(server, call)?;
    if !response.status().is_success() {
        answer(server, call, response)?.success()?;
        return Err(Failure::new(Exit::Refused, "the answer has no content"));
    }
    let length =
        response.headers().get("Content-Length").and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.ok_or_else(|| {
        Failure::new(Exit::Refused, "the answer does not say how long it is: is this a Kvorum server?")
    })?;
    Ok(Stream { server, call, length, left: length, body: response.into_body().into_reader() })
}

/// A long answer, read piece by piece.
pub(super) struct Stream<'a> {
    server: &'a Server,
    call: &'a Call<'a>,
    length: u64,
    left: u64,
    body: BodyReader<'static>,
}

impl Stream<'_> {
    /// How long it is.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads the next piece; 0 only at its announced end.
    pub(super) fn read(&mut self, piece: &mut [u8]) -> Result<usize, Failure> {
        let read = match self.body.read(piece) {
            Ok(0) if self.left > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        let length = read.map_err(|error| unreachable(self.server, self.call, error.into()))?;
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}

/// Sends a request and waits for the head of the answer.
fn send(server: &Server, call: &Call<'_>) -> Result<Response<Body>, Failure> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(if call.patient { None } else { Some(ANSWER) })
        .user_agent(concat!("kvorum/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let mut url = base(&server.url)? + &call.path;
    for (number, (name, value)) in call.query.iter().enumerate() {
        url += &format!("{}{name}={value}", if number == 0 { '?' } else { '&' });
    }
    let mut request = Request::builder().method(call.method).uri(url);
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    let bad_url =
        |reason: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {reason}", server.url));
    let ran = match call.method {
        "PUT" | "POST" => agent.run(request.body(call.body).map_err(|error| bad_url(&error))?),
        _ => agent.run(request.body(()).map_err(|error| bad_url(&error))?),
    };
    ran.map_err(|error| unreachable(server, call, error))
}

/// No answer came. A write that was sent may have happened.
fn unreachable(server: &Server, call: &Call<'_>, error: ureq::Error) -> Failure {
    let url = &server.url;
    match error {
        ureq::Error::BadUri(reason) => Failure::new(Exit::Usage, format!("{url}: {reason}")),
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(ureq::Timeout::Connect) => not_there(url, &error),
        ureq::Error::Io(ref io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            not_there(url, &error)
        }
        error if matches!(call.method, "GET" | "HEAD") => {
            Failure::new(Exit::Unreachable, format!("no whole answer from {url}: {error}"))
        }
        error => Failure::new(
            Exit::UnknownOutcome,
            format!("no whole answer from {url}, so it is not known whether this was done: {error}"),
        ),
    }
}

fn not_there(url: &str, error: &ureq::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("cannot reach {url}: is the server running there? ({error})"))
}

/// Scheme and address of a server, as a URL begins.
fn base(url: &str) -> Result<String, Failure> {
    let wrong = |what: &str| Failure::new(Exit::Usage, format!("--url {url}: {what}"));
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let parsed: Uri =
        with_scheme.parse().map_err(|_| wrong("this is no URL, such as http://127.0.0.1:8080"))?;
    match parsed.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(wrong("the server speaks no TLS by itself yet: use http")),
        _ => return Err(wrong("the scheme is http")),
    }
    let authority = parsed.authority().ok_or_else(|| wrong("it names no host"))?;
    let has_port = authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    if has_port && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong("a port is 1 to 65535"));
    }
    if parsed.query().is_some() || !parsed.path().trim_matches('/').is_empty() {
        return Err(wrong("it ends with the port: paths are added here"));
    }
    Ok(format!("http://{authority}"))
}

/// The path of a key.
pub(super) fn path(key: &OsStr, below: &str) -> String {
    format!("/v1/kv/{}{below}", encoded(key))
}

/// Bytes, percent-encoded.
pub(super) fn encoded(bytes: &OsStr) -> String {
    let mut text = String::new();
    for &byte in bytes.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => text.push(char::from(byte)),
            byte => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// The query that asks for a consistency.
pub(super) fn consistency(consistency: Option<Consistency>) -> Vec<(&'static str, String)> {
    let name = consistency.map(|consistency| match consistency {
        Consistency::Linearizable => "linearizable",
        Consistency::Lease => "lease",
        Consistency::Stale => "stale",
    });
    name.map(|name| ("consistency", name.to_owned())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an address is taken as people write it, and slips are told before anything is sent.
    #[test]
    fn urls_are_taken_as_they_are_meant() {
        for url in ["http://127.0.0.1:8080", "127.0.0.1:8080", "localhost", "http://[::1]:80/", "[::1]:80"] {
            assert!(base(url).is_ok_and(|base| base.starts_with("http://")), "{url}");
        }
        for url in [
            "http://h:99999",
            "h:0",
            "h:x",
            "https://h",
            "ftp://h",
            "http://h/v1",
            "http://h?x",
            "",
            "http://",
        ] {
            assert_eq!(base(url).expect_err(url).exit, Exit::Usage, "{url}");
        }
    }

    #[test]
    fn every_byte_of_a_key_survives_the_path() {
        assert_eq!(path(OsStr::from_bytes(b"a/b \xff."), "/ttl"), "/v1/kv/a%2Fb%20%FF%2E/ttl");
    }
}
