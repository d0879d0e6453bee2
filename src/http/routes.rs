//! What the document knows of paths, for what poem's router does not do: 405 with `Allow`, and refusing what an operation
//! has no use for, where passing over it would do something else than what was asked.

use poem::http::{HeaderMap, HeaderName, Method, header};
use poem::{Request, Result};
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaOperation, MetaParamIn};

use super::coding::Coding;
use super::params::pairs;
use super::percent;
use super::preconditions::title;
use super::refusal::Refusal;

/// The paths of an API.
pub(super) struct Routes(Vec<Route>);

struct Route {
    segments: Vec<String>,
    operations: Vec<Operation>,
}

/// An operation.
struct Operation {
    method: Method,
    /// The names of its query parameters.
    query: Vec<String>,
    /// The names of its headers, in lower case.
    headers: Vec<String>,
}

impl Routes {
    /// The paths of `A`.
    pub(super) fn of<A: OpenApi>() -> Routes {
        let paths = A::meta().into_iter().flat_map(|api| api.paths);
        Routes(
            paths
                .map(|path| Route {
                    segments: path.path.split('/').map(str::to_owned).collect(),
                    operations: path.operations.iter().map(Operation::of).collect(),
                })
                .collect(),
        )
    }

    /// The methods that a path knows, as `Allow` has them; `None` if there is no such path.
    pub(super) fn allow(&self, path: &str) -> Option<String> {
        let mut allow = Vec::new();
        for Operation { method, .. } in self.operations(path) {
            allow.push(method.as_str());
            if method == Method::GET {
                allow.push("HEAD");
            }
        }
        allow.sort_unstable();
        allow.dedup();
        if allow.is_empty() { None } else { Some(allow.join(", ")) }
    }

    /// Refuses what the operation that is asked for does not know, and forms of web pages.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        match self.operation(request.method(), request.uri().path()) {
            Some(operation) => operation.check(request),
            None => Ok(()),
        }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let find = |wanted: &Method| self.operations(path).find(|known| known.method == wanted);
        find(method).or_else(|| if method == Method::HEAD { find(&Method::GET) } else { None })
    }

    fn operations(&self, path: &str) -> impl Iterator<Item = &Operation> {
        self.0.iter().filter(move |route| route.matches(path)).flat_map(|route| &route.operations)
    }
}

impl Operation {
    fn of(known: &MetaOperation) -> Operation {
        let names = |place: MetaParamIn| {
            let params = known.params.iter().filter(move |param| param.in_type == place);
            params.map(|param| param.name.clone())
        };
        Operation {
            method: known.method.clone(),
            query: names(MetaParamIn::Query).collect(),
            headers: names(MetaParamIn::Header).map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        self.check_query(request)?;
        self.check_conditions(request.headers())?;
        self.check_media_type(request.headers())
    }

    /// Refuses the preconditions that a write does not heed: it would be done where they do not hold.
    fn check_conditions(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if matches!(self.method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        let is_heeded = |name: &HeaderName| self.headers.iter().any(|known| known == name.as_str());
        let names = [header::IF_MATCH, header::IF_NONE_MATCH];
        match names.iter().find(|name| headers.contains_key(*name) && !is_heeded(name)) {
            Some(name) => {
                Err(Refusal::invalid(format!("this operation has no use for {}: leave it out", title(name))))
            }
            None => Ok(()),
        }
    }

    /// Refuses forms of web pages, which a browser sends for any page without asking, and whatever else is no document. Here
    /// also where there is no body to be read; that there is a type is asked where a body is.
    fn check_media_type(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.method == Method::POST && headers.contains_key(header::CONTENT_TYPE) {
            Coding::of_body(headers)?;
        }
        Ok(())
    }

    /// Refuses query parameters that the operation does not know, and names that come twice.
    fn check_query(&self, request: &Request) -> Result<(), Refusal> {
        let Some(query) = request.uri().query() else { return Ok(()) };
        let known = &self.query;
        let mut seen = Vec::new();
        for (name, _) in pairs(query) {
            let Some(name) = percent::decode_text(name) else {
                return Err(Refusal::invalid("a query parameter is not well percent-encoded UTF-8"));
            };
            if !known.contains(&name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Refusal::invalid(format!(
                    "unknown query parameter; this operation knows {known}"
                )));
            }
            if seen.contains(&name) {
                return Err(Refusal::invalid(format!("{name} is given twice")));
            }
            seen.push(name);
        }
        Ok(())
    }
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let all = self.segments.iter().all(|wanted| {
            segments.next().is_some_and(|segment| {
                if wanted.starts_with('{') { !segment.is_empty() } else { segment == wanted }
            })
        });
        all && segments.next().is_none()
    }
}
