//! Hands what the fuzzer makes up to checks/credentials.rs, and nothing else.
#![no_main]

#[allow(dead_code)]
#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::credentials::check(data));
