//! The libFuzzer target of [`tunnel_fuzz::mux_bodies`], where the properties are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_fuzz::mux_bodies::check(data));
