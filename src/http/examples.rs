//! Examples of what the operations answer, for the document.

use serde_json::{Value, json};

/// An example of each schema that is sent as a whole.
pub(super) fn examples() -> [(&'static str, Value); 25] {
    [
        ("Entry", json!({ "key": "greeting", "value": "hello", "version": 7, "ttl_ms": 59_874 })),
        ("Written", json!({ "key": "greeting", "version": 7, "created": true })),
        ("Countdown", json!({ "ttl_ms": 59_874, "expires_at": 1_795_475_336_791_u64 })),
        ("Health", json!({ "status": "ready" })),
        ("Compaction", compaction()),
        ("Snapshot", snapshot()),
        ("Stats", stats()),
        ("Cluster", cluster()),
        ("MemberId", json!({ "node": 2 })),
        ("NewMember", json!({ "address": "10.0.0.4:7000" })),
        ("Transfer", json!({ "to": 2 })),
        ("Level", json!({ "level": 2, "max_level": 2 })),
        ("WantedLevel", json!({ "level": 2 })),
        (
            "Settings",
            json!({ "max_bytes": 1_073_741_824, "max_keys": 0, "eviction": "lru", "max_value_bytes": 8_388_608, "voters": 0 }),
        ),
        ("SettingsChange", json!({ "max_bytes": 1_073_741_824 })),
        ("Sum", json!({ "value": 42, "version": 8 })),
        ("Addition", json!({ "by": 1 })),
        ("Deadline", json!({ "ttl_ms": 60_000 })),
        ("LogLevel", json!({ "level": "info,kvorum::raft=debug" })),
        ("LogLevelChange", json!({ "level": "info,kvorum::raft=debug", "before": "info" })),
        ("History", history()),
        (
            "SlowLog",
            json!({ "items": [{ "at": 1_795_475_336_791_u64, "operation": "set", "duration_ms": 212.5, "bytes": 64 }] }),
        ),
        ("Cleared", json!({ "keys": 1_000_000 })),
        (
            "Page",
            json!({
                "items": [{ "key": "greeting", "size": 5, "version": 7, "ttl_ms": 59_874 }],
                "cursor": "10000",
            }),
        ),
        (
            "Batch",
            json!({
                "steps": [
                    { "op": "check", "key": "stock", "present": true },
                    { "op": "incr", "key": "stock", "by": -1 },
                    { "op": "set", "key": "order:7", "value": "1 poem", "ttl_ms": 86_400_000 },
                    { "op": "get", "key": "stock" },
                ],
            }),
        ),
    ]
}

fn stats() -> Value {
    json!({
        "node": 1,
        "cluster": "df7f769354385397264cb15fc684211f",
        "role": "leader",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": 86_400,
        "store": {
            "keys": 1_000_000,
            "bytes": 136_000_000,
            "max_bytes": 1_073_741_824,
            "max_keys": 0,
            "eviction": "lru",
            "max_value_bytes": 8_388_608,
            "revision": 1_000_000,
        },
        "ops": { "total": 3_000_000, "get": 2_000_000, "set": 1_000_000, "delete": 0, "ttl": 0, "incr": 0, "expire": 0, "scan": 0,
            "clear": 0, "batch": 0 },
        "hits": 1_900_000,
        "misses": 100_000,
        "hit_ratio": 0.95,
        "evictions": 0,
        "expirations": 0,
        "wal": {
            "bytes": 268_435_456,
            "segments": 4,
            "syncs": 30211,
            "first_index": 750_001,
            "last_index": 1_000_006,
            "durability": "always",
        },
        "raft": {
            "term": 1,
            "leader": 1,
            "last_log_index": 1_000_006,
            "commit_index": 1_000_006,
            "applied_index": 1_000_006,
            "snapshot_index": 1_000_000,
            "purged_index": 750_000,
            "level": 1,
            "clock_offset_ms": 0,
            "ready": true,
        },
    })
}

fn history() -> Value {
    json!({
        "since": 1_795_475_300_000_u64,
        "step_s": 60,
        "points": [{
            "at": 1_795_475_336_791_u64,
            "keys": 1_000_000,
            "bytes": 136_000_000,
            "gets_per_s": 20_000.5,
            "sets_per_s": 5_000.25,
            "deletes_per_s": 0.5,
            "others_per_s": 0.5,
            "hits_per_s": 19_000.5,
            "misses_per_s": 1_000.5,
            "evictions_per_s": 0.5,
            "expirations_per_s": 0.5,
            "wal_bytes": 268_435_456,
            "wal_segments": 4,
            "applied_per_s": 310.5,
            "term": 1,
            "leads": true,
        }],
    })
}

fn cluster() -> Value {
    let member = |node: u64, role: &str| {
        json!({
            "node": node,
            "name": format!("kvorum-{node}:7000"),
            "role": role,
            "state": "ok",
            "silent_ms": 12,
            "matched_index": 1_000_006,
            "applied_index": 1_000_006,
            "lag_entries": 0,
            "max_level": 2,
            "agreed_index": 999_424,
        })
    };
    json!({
        "cluster": "df7f769354385397264cb15fc684211f",
        "node": 2,
        "role": "follower",
        "term": 3,
        "leader": 1,
        "told_by_leader": true,
        "level": 2,
        "max_level": 2,
        "wanted_voters": 0,
        "last_log_index": 1_000_006,
        "commit_index": 1_000_006,
        "applied_index": 1_000_006,
        "state_hash": { "index": 999_424, "hash": "1f0c6f2b7d21b0f94b6b3a4f0c5bd6a0a1d3c7a9e2f458111f0c6f2b7d21b0f9" },
        "state_hash_mismatches": 0,
        "members": [member(1, "leader"), member(2, "voter"), member(3, "voter")],
    })
}

fn compaction() -> Value {
    json!({
        "bytes_before": 1_073_741_824,
        "bytes_after": 744,
        "index": 1_000_006,
        "snapshot_bytes": 97_517_568,
        "duration_ms": 812,
    })
}

fn snapshot() -> Value {
    json!({
        "index": 1_000_006,
        "term": 1,
        "cluster": "df7f769354385397264cb15fc684211f",
        "state_hash": "1f0c6f2b7d21b0f94b6b3a4f0c5bd6a0a1d3c7a9e2f45811",
        "revision": 1_000_000,
        "keys": 1_000_000,
        "at": 1_795_475_336_791_u64,
        "bytes": 97_517_568,
        "duration_ms": 812,
    })
}
