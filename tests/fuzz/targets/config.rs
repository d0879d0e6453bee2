//! libFuzzer on `config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kvorum_fuzz::config::check(bytes);
});
