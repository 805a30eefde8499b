//! The target `flag_files` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| banyan_fuzz::run("flag_files", data));
