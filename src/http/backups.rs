//! Snapshots and backups as answers.

use futures_util::stream;
use poem::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use poem::http::{HeaderName, HeaderValue};
use poem::{Body, IntoResponse, Response};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, Object};

use super::accept::OCTETS;
use super::versions::described;
use crate::service::{Backup, Taken};

const INDEX: HeaderName = HeaderName::from_static("kvorum-index");
const TERM: HeaderName = HeaderName::from_static("kvorum-term");
const CLUSTER: HeaderName = HeaderName::from_static("kvorum-cluster");
const STATE_HASH: HeaderName = HeaderName::from_static("kvorum-state-hash");

/// A snapshot that was taken.
#[derive(Debug, Object)]
#[oai(rename = "Snapshot")]
pub(super) struct SnapshotBody {
    /// The last log entry whose effect is in it.
    index: u64,
    /// The term of that entry.
    term: u64,
    /// The cluster.
    cluster: String,
    /// Hash of the replicated state at that entry.
    state_hash: String,
    /// The store's revision at that entry.
    revision: u64,
    /// Keys at that entry.
    keys: u64,
    /// Cluster time of that entry, in milliseconds since the Unix epoch.
    at: u64,
    /// Length of the file.
    bytes: u64,
    /// How long it took; next to nothing if nothing had changed since the snapshot before.
    duration_ms: u64,
}

impl From<Taken> for SnapshotBody {
    fn from(taken: Taken) -> SnapshotBody {
        SnapshotBody {
            index: taken.index,
            term: taken.term,
            cluster: hex(taken.cluster),
            state_hash: taken.state_hash.to_string(),
            revision: taken.revision,
            keys: taken.keys,
            at: taken.at.0,
            bytes: taken.bytes,
            duration_ms: u64::try_from(taken.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A backup on its way to the client.
pub(super) struct Streamed(pub(super) Backup);

impl IntoResponse for Streamed {
    fn into_response(self) -> Response {
        let Streamed(backup) = self;
        let taken = *backup.taken();
        let pieces = stream::unfold(backup, |mut backup| async {
            let piece = backup.next().await?;
            Some((piece, backup))
        });
        let name = format!("attachment; filename=\"kvorum-{:.8}-{}.snap\"", hex(taken.cluster), taken.index);
        let text = |text: String| HeaderValue::try_from(text).expect("digits, letters and quotes");
        let mut response = Response::builder().body(Body::from_bytes_stream(pieces));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(taken.bytes));
        headers.insert(CONTENT_DISPOSITION, text(name));
        headers.insert(INDEX, HeaderValue::from(taken.index));
        headers.insert(TERM, HeaderValue::from(taken.term));
        headers.insert(CLUSTER, text(hex(taken.cluster)));
        headers.insert(STATE_HASH, text(taken.state_hash.to_string()));
        response
    }
}

impl ApiResponse for Streamed {
    fn meta() -> MetaResponses {
        let octets = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let integer = |name, description| described(name, description, true);
        let text = |name, description| MetaHeader {
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
            ..described(name, description, true)
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The snapshot, whose length is announced: one that ends before is worth nothing.",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType { content_type: OCTETS, schema: octets }],
                headers: vec![
                    integer("Kvorum-Index", "The last log entry whose effect is in it."),
                    integer("Kvorum-Term", "The term of that entry."),
                    text("Kvorum-Cluster", "The cluster."),
                    text("Kvorum-State-Hash", "Hash of the replicated state at that entry."),
                    text("Content-Disposition", "A name for the file."),
                ],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

fn hex(id: u128) -> String {
    format!("{id:032x}")
}
