//! The outermost endpoint: the short way for plain reads, and one form for all errors.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use poem::endpoint::BoxEndpoint;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{HeaderValue, Method, Uri, header};
use poem::{Endpoint, IntoEndpoint, IntoResponse, Request, Response, Result};

use super::accept::Form;
use super::admission::Admission;
use super::api::{self, Api, api};
use super::coding::JSON;
use super::docs::Page;
use super::document::{document, page, service};
use super::gate::Gate;
use super::hosts::Hosts;
use super::params::{KEYS, key};
use super::refusal::Refusal;
use super::routes::Routes;
use crate::service::{Consistency, Error};

/// Where the document is.
const DOCUMENT: &str = "/openapi.json";

/// Where the page that shows it is.
const PAGE: &str = "/docs";

/// Everything that one HTTP listener answers.
pub(super) struct Face {
    gate: Arc<Gate>,
    admission: Admission,
    default_consistency: Consistency,
    api: BoxEndpoint<'static>,
    routes: Routes,
    document: OnceLock<Bytes>,
    page: OnceLock<Page>,
}

impl Face {
    /// The face of what stands behind `gate`, for clients that call it by one of `hosts`.
    pub(super) fn new(
        gate: Arc<Gate>,
        hosts: Hosts,
        default_consistency: Consistency,
        body_timeout: Duration,
    ) -> Face {
        let api = service(api(gate.clone(), default_consistency, body_timeout)).into_endpoint();
        Face {
            gate,
            admission: Admission::of_api(hosts),
            default_consistency,
            api,
            routes: Routes::of::<Api>(),
            document: OnceLock::new(),
            page: OnceLock::new(),
        }
    }

    /// A read that says nothing but the key needs no routing and no parameters: most requests are of this kind.
    async fn plain_read(&self, segment: &str) -> Result<Response, Refusal> {
        let key = key(segment)?;
        Ok(api::read(&self.gate, key, self.default_consistency, Form::Raw).await?.into_response())
    }

    async fn routed(&self, request: Request) -> Result<Response, Refusal> {
        if let Some(answer) = self.documents(&request) {
            return answer;
        }
        self.routes.check(&request)?;
        let uri = request.uri().clone();
        self.api.call(request).await.map_err(|error| self.refusal(error, &uri))
    }

    /// The document and its page, which are made when they are first asked for.
    fn documents(&self, request: &Request) -> Option<Result<Response, Refusal>> {
        let path = request.uri().path();
        if path != DOCUMENT && path != PAGE {
            return None;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some(Err(Refusal::MethodNotAllowed { allow: "GET, HEAD".to_owned() }));
        }
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Some(Err(Refusal::invalid("unknown query parameter; this path knows none")));
        }
        if path == PAGE {
            return Some(Ok(self.page.get_or_init(|| Page::new(page())).response()));
        }
        let response = Response::builder().header(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        Some(Ok(response.body(self.document.get_or_init(|| document().into()).clone())))
    }

    /// What an error of poem, or of a handler in poem's clothes, says in our words.
    fn refusal(&self, error: poem::Error, uri: &Uri) -> Refusal {
        let error = match error.downcast::<Refusal>() {
            Ok(refusal) => return refusal,
            Err(error) => error,
        };
        if error.is::<NotFoundError>() {
            return no_such_path(uri.path());
        }
        if error.is::<MethodNotAllowedError>() {
            return Refusal::MethodNotAllowed { allow: self.routes.allow(uri.path()).unwrap_or_default() };
        }
        if error.status().is_client_error() {
            return Refusal::invalid(error.to_string());
        }
        tracing::error!(%error, "a request failed inside the HTTP library");
        Refusal::Service(Error::Internal)
    }
}

impl Endpoint for Face {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let write = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let answer = match (self.admission.check(&request), plain_key(&request)) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), Some(segment)) => self.plain_read(segment).await,
            (Ok(()), None) => self.routed(request).await,
        };
        let mut response = answer.unwrap_or_else(|refusal| refusal.response(write));
        let headers = response.headers_mut();
        // Values are whatever clients stored: no browser may take one for a page or a script.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // What a key holds is for who asked, and may be another thing a moment later.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// The key's segment, if this is a read of a key that says nothing else.
fn plain_key(request: &Request) -> Option<&str> {
    if *request.method() != Method::GET || request.uri().query().is_some() {
        return None;
    }
    let headers = request.headers();
    let any = headers.get(header::ACCEPT).is_none_or(|accept| accept == "*/*")
        && !headers.contains_key(header::IF_NONE_MATCH)
        && !headers.contains_key(header::IF_MATCH);
    let segment = request.uri().path().strip_prefix(KEYS)?;
    if any && !segment.is_empty() && !segment.contains('/') { Some(segment) } else { None }
}

fn no_such_path(path: &str) -> Refusal {
    match path.strip_prefix(KEYS) {
        Some("") => Refusal::invalid("a key has at least 1 byte"),
        Some(_) => Refusal::NoSuchPath("there is no such path; a slash inside a key is written %2F"),
        None => Refusal::NoSuchPath("there is no such path; GET /openapi.json lists them"),
    }
}
