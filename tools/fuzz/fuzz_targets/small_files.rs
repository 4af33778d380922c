#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| binrelay_fuzz::fuzz_small_files(data));
