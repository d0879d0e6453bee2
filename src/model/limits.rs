//! Limits that hold for every request, whatever the settings.

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4_096;

/// Longest value unless the replicated setting `max_value_bytes` says otherwise: 8 MiB.
pub const DEFAULT_MAX_VALUE_BYTES: u64 = 8 << 20;

/// Largest value that `max_value_bytes` can allow. It leaves room for its key and framing in a transaction.
pub const MAX_VALUE_BYTES: u64 = (16 << 20) - (64 << 10);

/// Most commands in one transaction.
pub const MAX_TRANSACTION_COMMANDS: usize = 10_000;

/// Most bytes of keys and values in one transaction: 16 MiB.
pub const MAX_TRANSACTION_BYTES: usize = 16 << 20;

/// Last deadline that can be set, and the longest time to live: 2^53 - 1 ms, exact in every JSON reader.
pub const MAX_DEADLINE_MS: u64 = (1 << 53) - 1;

/// Most items in one page of a scan.
pub const MAX_SCAN_ITEMS: usize = 10_000;

/// Bytes of keys and values after which a page of a scan ends: 1 MiB. One item at least is in it.
pub const MAX_SCAN_BYTES: usize = 1 << 20;

/// Most slots that one page of a scan visits, under one hold of the lock.
pub const MAX_SCAN_SLOTS: usize = 10_000;
