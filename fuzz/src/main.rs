//! libFuzzer's driver of one target, which the environment variable `CNS_FUZZ_TARGET` names.
#![no_main]
#![allow(
    unsafe_code,
    clippy::expect_used,
    reason = "the entry points of libFuzzer's C interface, made by its macro"
)]

use std::sync::OnceLock;

use cns_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("CNS_FUZZ_TARGET").expect("CNS_FUZZ_TARGET names no target");
        TARGET.get_or_init(|| Target::named(&name).expect("CNS_FUZZ_TARGET names an unknown target"));
    },
    |bytes: &[u8]| {
        TARGET.get().expect("init ran before").run(bytes);
    }
);
