//! libFuzzer on `snapshot`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kvorum_fuzz::snapshot::check(bytes);
});
