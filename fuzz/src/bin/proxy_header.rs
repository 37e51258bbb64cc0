//! The libFuzzer target of [`tunnel_fuzz::proxy_header`], where the properties are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_fuzz::proxy_header::check(data));
