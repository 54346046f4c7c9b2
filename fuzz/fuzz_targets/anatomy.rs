//! Fuzzes `targets::anatomy_`.
#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "every target is here, one is run")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::anatomy_(data));
