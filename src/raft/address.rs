//! Addresses of nodes as people write them: a host and a port.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest name of a host, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// Checks that `text` is a host and a port where a node can be reached: `kvorum-0:7000`, `10.0.0.1:7000`, `[::1]:7000`.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that begins with the text.
pub fn check_address(text: &str) -> Result<(), &'static str> {
    if text.contains("://") {
        return Err("is a URL; a host and a port are wanted, such as kvorum-0:7000");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("has no port; a host and a port are wanted, such as kvorum-0:7000");
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("does not end with a port from 1 to 65535, as in kvorum-0:7000");
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(|_| ()).map_err(|_| "has no IPv6 address in its brackets");
    }
    if host.contains(':') {
        return Err("has more than one colon; an IPv6 address stands in brackets, as in [::1]:7000");
    }
    if is_host(host) { Ok(()) } else { Err("does not begin with the name or the IP address of a host") }
}

/// Whether this is an IPv4 address or a name. What ends in a number is an address or nothing.
fn is_host(host: &str) -> bool {
    let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    if labels().next_back().is_some_and(is_number) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    // Container networks give names with underscores.
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    host.len() <= MAX_HOST_BYTES
        && labels().all(|label| !label.is_empty() && label.len() <= 63 && label.bytes().all(is_letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what can be connected to is taken, and what only looks like it is refused with a reason.
    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in [
            "a:7000",
            "kvorum_0.kv-headless.ns.svc.:1",
            "10.0.0.1:65535",
            "[::1]:7000",
            "[fd00::1:2]:80",
            "LOCALHOST:9",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("http://a:7000", "URL"),
            ("a", "no port"),
            ("", "no port"),
            ("a:", "port from 1"),
            ("a:0", "port from 1"),
            ("a:99999", "port from 1"),
            ("a:+80", "port from 1"),
            ("a:7000/x", "port from 1"),
            (":7000", "host"),
            ("user@a:7000", "host"),
            ("a b:7000", "host"),
            ("a/x:7000", "host"),
            ("a..b:7000", "host"),
            ("300.0.0.1:7000", "host"),
            ("1.2.3:7000", "host"),
            ("::1:7000", "brackets"),
            ("[::1:7000", "brackets"),
            ("[a]:7000", "brackets"),
            ("[]:7000", "brackets"),
        ] {
            let reason = check_address(bad).expect_err(bad);
            assert!(reason.contains(word), "{bad}: {reason}");
        }
    }
}
