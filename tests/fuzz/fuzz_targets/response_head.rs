//! The target `response_head` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| banyan_fuzz::run("response_head", data));
