//! The names by which clients may call this server.
//!
//! A page that has its own name point to this machine (DNS rebinding) counts as of the same site for the browser. Only the
//! name that it calls the server by gives it away: an address, `localhost` and the node's own names cannot be the page's.

use std::net::IpAddr;

/// Names that `Host` may bear, beside IP addresses and `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    any: bool,
    names: Vec<String>,
    /// Each with the dot that it begins with.
    domains: Vec<String>,
}

impl Hosts {
    /// Reads names with commas between them: `kv.example.com`, `*.example.com` for all names below it, `*` for all names.
    ///
    /// # Errors
    /// The entry that is none of these.
    pub fn parse(list: &str) -> Result<Hosts, String> {
        let mut hosts = Hosts::default();
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, is_domain) = match entry.strip_prefix("*.") {
                Some(domain) => (domain, true),
                None => (entry, false),
            };
            match (entry, is_name(name)) {
                ("*", _) => hosts.any = true,
                (_, true) if is_domain => hosts.domains.push(format!(".{}", canonical(name))),
                (_, true) => hosts.names.push(canonical(name)),
                (_, false) => return Err(entry.to_owned()),
            }
        }
        Ok(hosts)
    }

    /// Adds a name of this node.
    pub fn add(&mut self, name: &str) {
        if is_name(name) {
            self.names.push(canonical(name));
        }
    }

    /// Whether a client may call this server by `host`, which is an address or a name without a port.
    pub(super) fn know(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if self.any || address.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_below = |domain: &String| {
            let end = name.len().checked_sub(domain.len()).filter(|start| *start > 0);
            end.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(domain))
        };
        name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|known| name.eq_ignore_ascii_case(known))
            || self.domains.iter().any(is_below)
    }
}

/// Names are the same whatever their case, and with the dot of the root at their end.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_part)
}

/// Host and port, as `Host`, the target of a request and an origin have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// A name, an address, or an IPv6 address in brackets.
    pub(super) host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` if `text` is no host with or without a port.
    pub(super) fn parse(text: &'a str) -> Option<Authority<'a>> {
        let host_end = match text.strip_prefix('[') {
            Some(rest) => rest.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_end);
        let port = match port.strip_prefix(':') {
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        let is_valid = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
            None => is_name(host),
        };
        is_valid.then_some(Authority { host, port })
    }

    /// Whether both are the same, where `port` is what neither has to say.
    pub(super) fn equals(self, other: Authority<'_>, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.unwrap_or(port) == other.port.unwrap_or(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_listed_names_are_known() {
        let mut hosts = Hosts::parse(" kv.example.com, *.internal ,").expect("names");
        hosts.add("Kvorum-1");
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "192.0.2.7",
            "localhost",
            "LOCALHOST.",
            "kv.example.com",
            "KV.Example.Com.",
            "a.b.internal",
            "kvorum-1",
        ] {
            assert!(hosts.know(host), "{host}");
        }
        for host in
            ["evil.example", "example.com", "x.kv.example.com", "internal", "xinternal", "localhost.evil"]
        {
            assert!(!hosts.know(host), "{host}");
            assert!(Hosts::parse("a,*").expect("names").know(host), "{host}");
        }
        for list in ["http://a", "a:80", "a b", "*a", "a,*.", ".a", "[::1]:80"] {
            assert!(Hosts::parse(list).is_err(), "{list}");
        }
    }

    #[test]
    fn authorities_are_hosts_and_ports() {
        for (text, host) in
            [("a", "a"), ("a:80", "a"), ("a:", "a"), ("[::1]:80", "[::1]"), ("1.2.3.4", "1.2.3.4")]
        {
            assert_eq!(Authority::parse(text).expect(text).host, host);
        }
        for text in [
            "", ":80", "a:b", "a:80:80", "u@a", "a/b", "[::1", "::1", "a:99999", "[x]", "[::1]x", "a b",
            "a,b",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
        let equal = |a, b, port| Authority::parse(a).expect(a).equals(Authority::parse(b).expect(b), port);
        assert!(equal("a:80", "A", 80) && equal("a", "a", 80) && equal("a:443", "a", 443));
        assert!(!equal("a:80", "a", 443) && !equal("a", "b", 80) && !equal("a:1", "a:2", 80));
    }
}
