//! What a request says before its body: the target on the first line, a header on each further one.

use kvorum::http::Head;
use kvorum::model::limits::{MAX_DEADLINE_MS, MAX_KEY_BYTES};
use kvorum::model::{Condition, Version};
use kvorum::service::Precondition;

/// A request's head, without its method.
pub fn check(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let headers: Vec<(&[u8], &[u8])> = lines
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..at], line[at + 1..].trim_ascii()))
        })
        .collect();
    let Some(head) = Head::read(target, &headers) else { return false };
    if let Some(ttl) = head.ttl.flatten() {
        assert!((1..=MAX_DEADLINE_MS).contains(&ttl.millis()));
    }
    let taken = head.key.is_some() && head.ttl.is_some() && head.condition.is_some();
    if let Some(key) = head.key {
        let bytes = key.as_bytes();
        assert!((1..=MAX_KEY_BYTES).contains(&bytes.len()));
        let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let again = Head::read(format!("/v1/kv/{encoded}").as_bytes(), &[]);
        let same = again.and_then(|head| head.key).expect("every key has an encoding");
        assert_eq!(same, key, "the encoding stands for the key");
    }
    if head.condition == Some(Precondition::Is(Condition::Absent)) {
        assert_eq!(head.knows_version_7, Some(true), "a star names every version");
    }
    if let Some(Precondition::AnyOf(versions)) = head.condition {
        let quoted = |version: &Version| format!("\"{version}\"");
        let list = versions.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let again = Head::read(b"/", &[(b"if-match", list.as_bytes())]).expect("a request");
        assert!(versions.is_empty() || again.condition == Some(Precondition::AnyOf(versions)));
    }
    taken
}
