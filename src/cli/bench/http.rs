//! Requests as HTTP/1.1 has them. With [`super::answer`], all that knows the protocol.

use std::ffi::OsStr;
use std::io::Write;

use super::mix::Operation;
use super::workload::Request;
use crate::cli::arguments::Consistency;
use crate::cli::client;

/// The body of every `incr`.
const BY_ONE: &[u8] = br#"{"by":1}"#;

/// What stands between prefix and number in the keys that `incr` counts in, whose values are numbers.
const COUNTER: &str = "counter-";

/// Writes requests for one server.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    /// `/v1/kv/` and the prefix of keys, percent-encoded.
    path: String,
    /// The rest of the request line and the fields that every request has.
    head: String,
    /// `?consistency=..` or nothing.
    read_query: String,
    /// `?ttl_ms=..` or nothing.
    set_query: String,
}

impl Writer {
    /// For the server whose `Host` is `authority` and whose API starts at `base`.
    pub(super) fn new(
        authority: &str,
        base: &str,
        key_prefix: &OsStr,
        consistency: Option<Consistency>,
        ttl_ms: Option<u64>,
    ) -> Writer {
        let query = client::consistency(consistency);
        Writer {
            path: format!("{base}{}", client::path(key_prefix, "")),
            head: format!(" HTTP/1.1\r\nHost: {authority}\r\n"),
            read_query: query.iter().map(|(name, value)| format!("?{name}={value}")).collect(),
            set_query: ttl_ms.map(|ttl_ms| format!("?ttl_ms={ttl_ms}")).unwrap_or_default(),
        }
    }

    /// Puts `request` in place of what is in `output`. `pool` holds its value.
    pub(super) fn write(&self, request: &Request, pool: &[u8], output: &mut Vec<u8>) {
        let Writer { path, head, read_query, set_query } = self;
        let key = request.key;
        let (body, written) = match request.operation {
            Operation::Get => (None, write!(start(output), "GET {path}{key:016x}{read_query}{head}\r\n")),
            Operation::Ttl => (None, write!(start(output), "GET {path}{key:016x}/ttl{read_query}{head}\r\n")),
            Operation::Del => (None, write!(start(output), "DELETE {path}{key:016x}{head}\r\n")),
            Operation::Set => {
                let value = pool.get(request.value.clone()).unwrap_or_default();
                let length = value.len();
                let head = write!(
                    start(output),
                    "PUT {path}{key:016x}{set_query}{head}Content-Length: {length}\r\n\r\n"
                );
                (Some(value), head)
            }
            Operation::Incr => {
                let length = BY_ONE.len();
                let head = write!(
                    start(output),
                    "POST {path}{COUNTER}{key:016x}/incr{head}Content-Type: application/json\r\n\
                     Content-Length: {length}\r\n\r\n"
                );
                (Some(BY_ONE), head)
            }
        };
        written.expect("writing to memory cannot fail");
        output.extend_from_slice(body.unwrap_or_default());
    }
}

fn start(output: &mut Vec<u8>) -> &mut Vec<u8> {
    output.clear();
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(operation: Operation, consistency: Option<Consistency>, ttl_ms: Option<u64>) -> String {
        let writer = Writer::new("h:1", "/base", OsStr::new("a/b:"), consistency, ttl_ms);
        let request = Request { operation, key: 0xAB, value: 1..4 };
        let mut output = b"of the request before".to_vec();
        writer.write(&request, b"-xyz-", &mut output);
        String::from_utf8(output).expect("text")
    }

    /// Goal: every operation is the call that the API documents for it.
    #[test]
    fn requests() {
        let key = "/base/v1/kv/a%2Fb%3A";
        let none = |operation| written(operation, None, None);
        assert_eq!(none(Operation::Get), format!("GET {key}00000000000000ab HTTP/1.1\r\nHost: h:1\r\n\r\n"));
        assert_eq!(
            none(Operation::Set),
            format!("PUT {key}00000000000000ab HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nxyz")
        );
        assert_eq!(
            none(Operation::Del),
            format!("DELETE {key}00000000000000ab HTTP/1.1\r\nHost: h:1\r\n\r\n")
        );
        assert_eq!(
            none(Operation::Incr),
            format!(
                "POST {key}counter-00000000000000ab/incr HTTP/1.1\r\nHost: h:1\r\n\
                 Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{{\"by\":1}}"
            )
        );
        assert_eq!(
            none(Operation::Ttl),
            format!("GET {key}00000000000000ab/ttl HTTP/1.1\r\nHost: h:1\r\n\r\n")
        );
    }

    /// Goal: consistency goes with reads, the time to live with writes of values.
    #[test]
    fn queries() {
        let all = |operation| written(operation, Some(Consistency::Stale), Some(5));
        assert!(all(Operation::Get).contains("ab?consistency=stale HTTP"));
        assert!(all(Operation::Ttl).contains("ab/ttl?consistency=stale HTTP"));
        assert!(all(Operation::Set).contains("ab?ttl_ms=5 HTTP"));
        assert!(!all(Operation::Del).contains('?') && !all(Operation::Incr).contains('?'));
    }
}
