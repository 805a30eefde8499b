//! The target `route_files` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| banyan_fuzz::run("route_files", data));
