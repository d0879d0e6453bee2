//! libFuzzer on `wal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kvorum_fuzz::wal::check(bytes);
});
