// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the driver says that the heap is made of, read and checked.

use std::collections::HashSet;

use vagx_uat::{Access, Agent, PAGE_SIZE};

use crate::layout::Abi;
use crate::layout::buffer::{MIN_BLOCKS, PAGES_PER_BLOCK, TILER_PAGE, TILER_PAGE_SHIFT};
use crate::mem::{FwMem, Place, Record, Result, Sharing};

/// A page of the heap: its number, and where the two pages of the MMU that it has are in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub number: u32,
    pub physical: [u64; 2],
}

/// A heap larger than this is not one that a driver makes; it is eight times what macOS allows itself.
const MOST_BLOCKS: u32 = 0x10000;

const COUNTER_SIZE: u64 = 0x40;

/// Where an entry of one of the lists is, for complaints.
fn entry(list: &'static str, va: u64, index: u32) -> Place {
    let offset = u64::from(index) * 4;
    Place {
        structure: "tiler buffer",
        field: list,
        offset,
        address: va.wrapping_add(offset),
    }
}

/// Where the two halves of a page are in RAM, if the GPU may write to both.
fn physical(mem: &FwMem, vm_slot: u8, number: u32) -> std::result::Result<[u64; 2], String> {
    let va = u64::from(number) << TILER_PAGE_SHIFT;
    let half = |va| {
        mem.uat()
            .translate(vm_slot, Agent::Gpu, va, Access::Write)
            .map_err(|fault| fault.to_string())
    };
    Ok([half(va)?, half(va + PAGE_SIZE)?])
}

/// Reads a list of numbers that lies in the client's address space.
fn numbers(
    mem: &FwMem,
    vm_slot: u8,
    at: Place,
    list: &'static str,
    va: u64,
    count: u32,
) -> Result<Vec<u32>> {
    let mut bytes = vec![0; count as usize * 4];
    mem.uat()
        .read(vm_slot, Agent::Firmware, va, &mut bytes)
        .map_err(|fault| {
            let why = format!(
                "{list}, {count} numbers in context {vm_slot}, and the firmware fails at: {fault}"
            );
            mem.complain(at, va, why)
        })?;
    Ok(bytes
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

/// Checks BufferInfo and what it points to, but for the pages themselves; returns the number of blocks.
///
/// That number is in BufferBlockControl. While a render uses the heap, BufferInfo is the firmware's, so a driver that
/// makes the heap larger then only tells it there, and the firmware brings BufferInfo up to date.
pub(super) fn check_info(mem: &FwMem, abi: &Abi, info: &Record) -> Result<u32> {
    let (l, c) = (&abi.buffer_info, &abi.block_control);
    let before = info.get32(l.block_count);
    if before > MOST_BLOCKS {
        return Err(info.complain(l.block_count, "not a plausible number of blocks"));
    }
    let why = "as block_count says, with four pages each";
    let pages = before * PAGES_PER_BLOCK;
    info.expect(l.page_count, pages.into(), why)?;
    let last = u64::from(pages.saturating_sub(1));
    info.expect(l.last_page, last, why)?;
    let size = TILER_PAGE * u64::from(PAGES_PER_BLOCK);
    info.expect(l.block_size, size, "four pages of 32 KiB")?;
    let _ = info.expect(l.unk_80, 1, "its value in every known set-up");
    info.pointer_rw(l.block_ctl, c.shape.size.into(), Sharing::Coherent)?;
    info.pointer_rw(l.counter, COUNTER_SIZE, Sharing::Coherent)?;

    let control = info.follow(l.block_ctl, c.shape)?;
    let blocks = control.get32(c.total);
    if blocks < before || blocks > MOST_BLOCKS {
        let why = format!("BufferInfo.block_count is {before:#x}");
        return Err(control.complain(c.total, why));
    }
    control.expect(c.wptr, blocks.into(), "all blocks are in the lists")?;
    if blocks < MIN_BLOCKS {
        let why = format!("the tiler needs {MIN_BLOCKS} blocks at least");
        return Err(control.complain(c.total, why));
    }
    let pages = blocks * PAGES_PER_BLOCK;
    if info.get32(l.page_list_size) < pages * 4 {
        let why = format!("too small for {pages} pages");
        return Err(info.complain(l.page_list_size, why));
    }
    if info.get32(l.max_blocks) < blocks {
        info.complain(l.max_blocks, format!("there are {blocks} blocks"));
    }
    if info.get32(l.max_pages) < pages {
        info.complain(l.max_pages, format!("there are {pages} pages"));
    }
    if blocks != before {
        let shape = l.shape;
        mem.store(shape, info.base, l.page_count, pages)?;
        mem.store(shape, info.base, l.block_count, blocks)?;
        mem.store(shape, info.base, l.last_page, pages - 1)?;
    }
    Ok(blocks)
}

/// Reads both lists and checks that the GPU can use what is in them.
pub(super) fn read(
    mem: &FwMem,
    abi: &Abi,
    vm_slot: u8,
    info: &Record,
    blocks: u32,
) -> Result<Vec<Page>> {
    let l = &abi.buffer_info;
    let (list, place) = (info.get(l.page_list), info.place(l.page_list));
    let count = blocks * PAGES_PER_BLOCK;
    let page_list = numbers(mem, vm_slot, place, "page_list", list, count)?;
    let (starts, place) = (info.get(l.block_list), info.place(l.block_list));
    let block_list = numbers(mem, vm_slot, place, "block_list", starts, blocks * 2)?;

    let mut seen = HashSet::new();
    let mut pages = Vec::new();
    for (index, number) in (0u32..).zip(&page_list) {
        let at = entry("page_list", list, index);
        let physical = physical(mem, vm_slot, *number).map_err(|why| {
            let why = format!("the GPU cannot use this page of the heap: {why}");
            mem.complain(at, (*number).into(), why)
        })?;
        let page = Page {
            number: *number,
            physical,
        };
        if !seen.insert(*number) {
            return Err(mem.complain(at, (*number).into(), "this page is in the list twice"));
        }
        pages.push(page);
    }
    let mut ram = HashSet::new();
    for (index, page) in (0u32..).zip(&pages) {
        if page.physical.iter().any(|pa| !ram.insert(*pa)) {
            let at = entry("page_list", list, index);
            let why = "another page of the heap is the same memory";
            return Err(mem.complain(at, page.number.into(), why));
        }
    }
    let per_block = PAGES_PER_BLOCK as usize;
    for (block, pages) in (0u32..).zip(page_list.chunks_exact(per_block)) {
        let start = block_list.get(block as usize * 2).copied().unwrap_or(0);
        for (index, number) in (0u32..).zip(pages) {
            if *number != start.wrapping_add(index) {
                let at = entry("block_list", starts, block * 2);
                let why = format!("page {index} of this block is {number:#x} in page_list");
                return Err(mem.complain(at, start.into(), why));
            }
        }
    }
    Ok(pages)
}

/// Complains if a page that is in use has moved.
pub(super) fn check_unmoved(mem: &FwMem, vm_slot: u8, list: u64, index: u32, page: &Page) -> bool {
    let why = match physical(mem, vm_slot, page.number) {
        Ok(now) if now == page.physical => return true,
        Ok(_) => "other memory is mapped at a page of the heap that a render is using".to_owned(),
        Err(why) => format!("a page of the heap that a render is using is gone: {why}"),
    };
    mem.complain(entry("page_list", list, index), page.number.into(), why);
    false
}
