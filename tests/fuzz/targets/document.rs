//! libFuzzer on `document`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kvorum_fuzz::document::check(bytes);
});
