#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| judged_fuzz::dataset::check(bytes));
