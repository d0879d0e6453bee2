//! Pages of keys.

use poem::Request;
use poem_openapi::Object;
use poem_openapi::registry::{MetaParamIn, MetaSchema};
use poem_openapi::types::Base64;

use super::answers::text_or_base64;
use super::params::{Parameter, number, query, query_bytes};
use super::refusal::Refusal;
use crate::model::Item;
use crate::model::limits::MAX_KEY_BYTES;
use crate::service::{self, Page};

/// Items of a page unless the request says otherwise.
const DEFAULT_ITEMS: usize = 100;

/// A page of keys. It may be short or empty though there are more: only a cursor that is null says that all were seen.
#[derive(Debug, Object)]
#[oai(rename = "Page")]
pub(super) struct PageBody {
    /// The keys found.
    items: Vec<ItemBody>,
    /// What to pass as `cursor` for the next page; null if this is the last.
    cursor: Option<String>,
}

/// A key.
#[derive(Debug, Object)]
#[oai(rename = "Item")]
struct ItemBody {
    /// The key, if it is UTF-8.
    #[oai(skip_serializing_if_is_none)]
    key: Option<String>,
    /// The key, if it is not UTF-8.
    #[oai(skip_serializing_if_is_none)]
    key_base64: Option<Base64<Vec<u8>>>,
    /// Length of the value in bytes.
    size: u64,
    /// The version, as in the ETag.
    version: u64,
    /// Milliseconds left; absent if the key has no deadline.
    #[oai(skip_serializing_if_is_none)]
    ttl_ms: Option<u64>,
    /// The value, if it was asked for and is UTF-8.
    #[oai(skip_serializing_if_is_none)]
    value: Option<String>,
    /// The value, if it was asked for and is not UTF-8.
    #[oai(skip_serializing_if_is_none)]
    value_base64: Option<Base64<Vec<u8>>>,
}

impl From<Page> for PageBody {
    fn from(page: Page) -> PageBody {
        let now = page.now;
        let item = |item: Item| {
            let (key, key_base64) = text_or_base64(item.key.as_bytes());
            let (value, value_base64) =
                item.value.as_ref().map(|value| text_or_base64(value)).unwrap_or_default();
            let (size, version) = (item.size, item.version.0);
            let ttl_ms = service::remaining(item.deadline, now);
            ItemBody { key, key_base64, size, version, ttl_ms, value, value_base64 }
        };
        PageBody {
            items: page.items.into_iter().map(item).collect(),
            cursor: page.cursor.map(|cursor| cursor.to_string()),
        }
    }
}

/// `prefix` of a scan.
pub(super) struct Prefix(pub(super) Vec<u8>);

impl Parameter for Prefix {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        let max_length = Some(MAX_KEY_BYTES);
        MetaSchema { max_length, example: Some("user:".into()), ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, name: &str) -> Result<Prefix, Refusal> {
        let prefix = query_bytes(request, name)?.unwrap_or_default();
        if prefix.len() > MAX_KEY_BYTES {
            return Err(Refusal::invalid(format!("{name} has at most {MAX_KEY_BYTES} bytes, as a key has")));
        }
        Ok(Prefix(prefix))
    }
}

/// `cursor` of a scan.
pub(super) struct Cursor(pub(super) u64);

impl Parameter for Cursor {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        let pattern = Some("^[0-9]{1,10}$".to_owned());
        MetaSchema { pattern, example: Some("10000".into()), ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, name: &str) -> Result<Cursor, Refusal> {
        let Some(text) = query(request, name)? else { return Ok(Cursor(0)) };
        let cursor = if text.len() <= 10 { number(&text) } else { None };
        cursor.map(Cursor).ok_or_else(|| Refusal::invalid(format!("{name} is what a page before gave")))
    }
}

/// `limit` of a list: at most `MOST`.
pub(super) struct Limit<const MOST: usize>(pub(super) usize);

impl<const MOST: usize> Parameter for Limit<MOST> {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(MOST as f64),
            default: Some(DEFAULT_ITEMS.into()),
            ..MetaSchema::new_with_format("integer", "int32")
        }
    }

    fn parse(request: &Request, name: &str) -> Result<Limit<MOST>, Refusal> {
        let Some(text) = query(request, name)? else { return Ok(Limit(DEFAULT_ITEMS)) };
        let limit = number(&text).and_then(|limit| usize::try_from(limit).ok());
        limit
            .filter(|limit| (1..=MOST).contains(limit))
            .map(Limit)
            .ok_or_else(|| Refusal::invalid(format!("{name} is a whole number from 1 to {MOST}")))
    }
}

/// `confirm` of a clear.
pub(super) struct ConfirmAll;

impl Parameter for ConfirmAll {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = true;

    fn schema() -> MetaSchema {
        MetaSchema { enum_items: vec!["all".into()], ..MetaSchema::new("string") }
    }

    fn parse(request: &Request, name: &str) -> Result<ConfirmAll, Refusal> {
        match query(request, name)?.as_deref() {
            Some("all") => Ok(ConfirmAll),
            _ => Err(Refusal::invalid(format!("to remove every key say {name}=all"))),
        }
    }
}
