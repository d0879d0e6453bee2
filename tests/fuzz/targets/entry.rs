//! libFuzzer on `entry`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kvorum_fuzz::entry::check(bytes);
});
