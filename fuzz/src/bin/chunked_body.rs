//! The libFuzzer target of [`tunnel_fuzz::chunked_body`], where the properties are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_fuzz::chunked_body::check(data));
