//! libFuzzer on `http`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kvorum_fuzz::http::check(bytes);
});
