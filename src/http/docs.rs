//! The page that shows the document, and what a browser may do with it.
//!
//! The page brings its script and its styles along, so its policy names exactly these by their hashes, and lets it talk to
//! this server and to nobody else: a value that was stored here cannot become a script there.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use poem::Response;
use poem::http::{HeaderValue, header};
use sha2::{Digest, Sha256};

/// The page and its Content-Security-Policy.
pub(super) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new(html: String) -> Page {
        let mut policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                          connect-src 'self'; img-src 'self' data:"
            .to_owned();
        for (element, directive) in [("script", "script-src"), ("style", "style-src")] {
            write!(policy, "; {directive}").expect("a String takes all that is written to it");
            for content in contents(&html, element) {
                let hash = STANDARD.encode(Sha256::digest(content));
                write!(policy, " 'sha256-{hash}'").expect("a String takes all that is written to it");
            }
        }
        let policy = HeaderValue::try_from(policy).expect("a policy is ASCII");
        Page { html: html.into(), policy }
    }

    pub(super) fn response(&self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
            .header(header::CONTENT_SECURITY_POLICY, &self.policy)
            .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
            .body(self.html.clone())
    }
}

/// What stands inside each `element`, as a browser sees it: up to the first closing tag.
fn contents<'a>(html: &'a str, element: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{element}"), format!("</{element}"));
    let mut rest = html;
    std::iter::from_fn(move || {
        let tag = &rest[rest.find(&open)?..];
        let content = &tag[tag.find('>')? + 1..];
        let end = content.find(&close)?;
        rest = &content[end..];
        Some(&content[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_every_script_and_style_and_nothing_else() {
        let page =
            Page::new("<style>a{}</style><script charset=\"x\">1</script><b><script>2</script>".to_owned());
        let policy = page.policy.to_str().expect("ASCII");
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        assert!(policy.ends_with(&format!(
            "script-src {} {}; style-src {}",
            hash("1"),
            hash("2"),
            hash("a{}")
        )));
        assert!(!policy.contains("unsafe"));
    }
}
