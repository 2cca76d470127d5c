// SPDX-License-Identifier: MIT OR Apache-2.0

//! All tests.

use crate::Test;

mod bind;
mod fault;
mod gem;
mod object;
mod params;
mod queue;
mod submit;
mod vm;

/// Makes the list of a module's tests.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<crate::Test> {
            vec![$(crate::Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                run: $name,
            }),*]
        }
    };
}
use tests;

/// Returns all tests.
pub fn all() -> Vec<Test> {
    let mut all = Vec::new();
    for tests in [
        params::tests(),
        vm::tests(),
        gem::tests(),
        bind::tests(),
        object::tests(),
        queue::tests(),
        submit::tests(),
        fault::tests(),
    ] {
        all.extend(tests);
    }
    for test in &mut all {
        test.name = test
            .name
            .strip_prefix("asahi_tests::suite::")
            .unwrap_or(test.name);
    }
    all
}
