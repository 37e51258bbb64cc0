//! The libFuzzer target of [`tunnel_fuzz::host_name`], where the properties are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_fuzz::host_name::check(data));
