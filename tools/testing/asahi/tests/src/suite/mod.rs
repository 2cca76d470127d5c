// SPDX-License-Identifier: MIT OR Apache-2.0

//! All tests.

use crate::runner::Test;

mod abi;
mod barrier;
mod bind;
mod bind_gpu;
mod calls;
mod cmdbuf;
mod fault;
mod gem;
mod lab;
mod many;
mod object;
mod ondemand;
mod parallel;
mod params;
mod prime;
mod process;
mod queue;
mod race;
mod render;
mod signals;
mod submit;
mod sync;
mod timestamps;
mod vm;

/// Makes the list of a module's tests, each a function with what else is to be said of it.
macro_rules! tests {
    ($($name:ident $({ $($field:ident: $value:expr),* })?),* $(,)?) => {
        pub fn tests() -> Vec<crate::runner::Test> {
            vec![$(crate::runner::Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                run: $name,
                $($($field: $value,)*)?
                ..crate::runner::Test::PLAIN
            }),*]
        }
    };
}
pub(crate) use tests;

/// Returns all tests.
pub fn all() -> Vec<Test> {
    let mut all = Vec::new();
    for tests in [
        abi::tests(),
        params::tests(),
        vm::tests(),
        gem::tests(),
        prime::tests(),
        bind::tests(),
        bind_gpu::tests(),
        object::tests(),
        queue::tests(),
        submit::tests(),
        cmdbuf::tests(),
        render::tests(),
        sync::tests(),
        barrier::tests(),
        timestamps::tests(),
        process::tests(),
        signals::tests(),
        many::tests(),
        race::tests(),
        fault::tests(),
        ondemand::tests(),
        crate::stress::tests(),
    ] {
        all.extend(tests);
    }
    for test in &mut all {
        test.name = test
            .name
            .strip_prefix("asahi_tests::")
            .map_or(test.name, |name| {
                name.strip_prefix("suite::").unwrap_or(name)
            });
    }
    all
}
