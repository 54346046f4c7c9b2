//! Fuzzes `targets::wire`, and what services behind HTTP say.
#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "every target is here, one is run")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::wire(data);
    orlop::storage::testing::http_answer(data);
});
