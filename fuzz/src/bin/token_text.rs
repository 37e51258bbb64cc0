//! The libFuzzer target of [`tunnel_fuzz::token_text`], where the properties are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_fuzz::token_text::check(data));
