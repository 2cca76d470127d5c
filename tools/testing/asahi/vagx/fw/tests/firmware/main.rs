// SPDX-License-Identifier: MIT OR Apache-2.0

//! The firmware with a driver that is made for these tests: a good one, and one that makes each mistake.

mod boot;
mod captures;
mod common;
mod jobs;
mod recovery;
mod render;
mod scheduling;
mod stale;
mod tiler;
