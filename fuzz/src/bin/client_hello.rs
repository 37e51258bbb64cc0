//! The libFuzzer target of [`tunnel_fuzz::client_hello`], where the properties are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_fuzz::client_hello::check(data));
