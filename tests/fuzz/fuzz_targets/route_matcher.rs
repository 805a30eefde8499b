//! The target `route_matcher` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| banyan_fuzz::run("route_matcher", data));
