//! What the document knows of paths, for what poem's router does not do: 405 with `Allow`, and query parameters that
//! no operation has.

use poem::http::Method;
use poem::{Request, Result};
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaOperation, MetaParamIn};

use super::params::pairs;
use super::percent;
use super::refusal::Refusal;

/// The paths of an API.
pub(super) struct Routes(Vec<Route>);

struct Route {
    segments: Vec<String>,
    operations: Vec<(Method, Vec<String>)>,
}

impl Routes {
    /// The paths of `A`.
    pub(super) fn of<A: OpenApi>() -> Routes {
        let paths = A::meta().into_iter().flat_map(|api| api.paths);
        Routes(
            paths
                .map(|path| Route {
                    segments: path.path.split('/').map(str::to_owned).collect(),
                    operations: path
                        .operations
                        .iter()
                        .map(|known| (known.method.clone(), query_of(known)))
                        .collect(),
                })
                .collect(),
        )
    }

    /// The methods that a path knows, as `Allow` has them; `None` if there is no such path.
    pub(super) fn allow(&self, path: &str) -> Option<String> {
        let mut allow = Vec::new();
        for (method, _) in self.operations(path) {
            allow.push(method.as_str());
            if method == Method::GET {
                allow.push("HEAD");
            }
        }
        allow.sort_unstable();
        allow.dedup();
        if allow.is_empty() { None } else { Some(allow.join(", ")) }
    }

    /// Refuses query parameters that the operation does not know, and names that come twice.
    pub(super) fn check_query(&self, request: &Request) -> Result<(), Refusal> {
        let Some(query) = request.uri().query() else { return Ok(()) };
        let Some(known) = self.query_names(request.method(), request.uri().path()) else { return Ok(()) };
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

    fn query_names(&self, method: &Method, path: &str) -> Option<&[String]> {
        let find = |wanted: &Method| self.operations(path).find(|(known, _)| known == wanted);
        let found = find(method).or_else(|| if method == Method::HEAD { find(&Method::GET) } else { None });
        found.map(|(_, names)| names.as_slice())
    }

    fn operations(&self, path: &str) -> impl Iterator<Item = &(Method, Vec<String>)> {
        self.0.iter().filter(move |route| route.matches(path)).flat_map(|route| &route.operations)
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

fn query_of(operation: &MetaOperation) -> Vec<String> {
    let params = operation.params.iter();
    params.filter(|param| param.in_type == MetaParamIn::Query).map(|param| param.name.clone()).collect()
}
