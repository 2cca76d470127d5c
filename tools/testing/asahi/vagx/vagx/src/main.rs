// SPDX-License-Identifier: MIT OR Apache-2.0
mod coprocessor;
mod fault;
mod lines;
mod mailbox;
mod ram;
mod rtkit;
mod sgx;
mod vfio;
fn main() {}
