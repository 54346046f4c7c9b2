//! Fuzzes `targets::slot`, inside of what is sealed too.
#![no_main]

#[path = "../mutator.rs"]
mod mutator;
#[path = "../targets.rs"]
#[allow(dead_code, reason = "every target is here, one is run")]
mod targets;

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    mutator::mutate("slot", data, size, most, seed)
});
libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::slot(data));
