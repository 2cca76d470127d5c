// SPDX-License-Identifier: MIT OR Apache-2.0

//! Address spaces.

use crate::bo::Bo;
use crate::uapi::*;
use libc::c_int;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use vagx_gpu::{Access, GpuMemory, Unmapped};

#[derive(Clone)]
struct Mapping {
    end: u64,
    bo: Arc<Bo>,
    offset: u64,
    flags: u32,
}

/// What is mapped where.
#[derive(Default)]
pub struct Mappings {
    ranges: BTreeMap<u64, Mapping>,
}

impl Mappings {
    /// Removes what lies in the range, cutting mappings that reach out of it.
    fn clear(&mut self, start: u64, end: u64) {
        let inside: Vec<u64> = self
            .ranges
            .range(..end)
            .rev()
            .take_while(|(_, m)| m.end > start)
            .map(|(&at, _)| at)
            .collect();
        for at in inside {
            let Some(mapping) = self.ranges.remove(&at) else {
                continue;
            };
            if mapping.end > end {
                let offset = mapping.at(end - at);
                self.ranges.insert(
                    end,
                    Mapping {
                        offset,
                        ..mapping.clone()
                    },
                );
            }
            if at < start {
                self.ranges.insert(
                    at,
                    Mapping {
                        end: start,
                        ..mapping
                    },
                );
            }
        }
    }

    /// Does one bind operation.
    pub fn bind(&mut self, op: &BindOp, bo: Option<Arc<Bo>>) -> Result<(), c_int> {
        let aligned = [op.addr, op.range, op.offset].iter().all(|v| v % PAGE == 0);
        let end = op.addr.checked_add(op.range).ok_or(libc::EINVAL)?;
        if !aligned || op.range == 0 || end > crate::device::VM_END {
            return Err(libc::EINVAL);
        }
        if op.flags & BIND_UNBIND != 0 {
            self.clear(op.addr, end);
            return Ok(());
        }
        let bo = bo.ok_or(libc::ENOENT)?;
        let length = if op.flags & BIND_SINGLE_PAGE != 0 {
            PAGE
        } else {
            op.range
        };
        if op
            .offset
            .checked_add(length)
            .is_none_or(|last| last > bo.size())
        {
            return Err(libc::EINVAL);
        }
        if op.flags & (BIND_READ | BIND_WRITE) == 0 {
            return Err(libc::EINVAL);
        }
        self.clear(op.addr, end);
        let mapping = Mapping {
            end,
            bo,
            offset: op.offset,
            flags: op.flags,
        };
        self.ranges.insert(op.addr, mapping);
        Ok(())
    }
}

impl Mapping {
    /// Offset into the buffer of what is `into` bytes into the mapping.
    fn at(&self, into: u64) -> u64 {
        if self.flags & BIND_SINGLE_PAGE != 0 {
            self.offset
        } else {
            self.offset + into
        }
    }
}

// SAFETY: Buffers are mapped for as long as a mapping holds them, and the shim does not change mappings while a job that
// uses them runs. Applications may write to them as a guest may.
unsafe impl GpuMemory for Mappings {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        let va = va & !(PAGE - 1);
        let (&start, mapping) = self.ranges.range(..=va).next_back().ok_or(Unmapped)?;
        let need = match access {
            Access::Read => BIND_READ,
            Access::Write => BIND_WRITE,
        };
        if va >= mapping.end || mapping.flags & need == 0 {
            return Err(Unmapped);
        }
        mapping.bo.host(mapping.at(va - start)).ok_or(Unmapped)
    }
}
