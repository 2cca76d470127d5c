// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The steps by which GPUVM changes a VM's tree of mappings and its page table.

use kernel::{
    drm::gpuvm::{
        DriverGpuVm,
        GpuVaAlloc,
        OpMap,
        OpMapped,
        OpRemap,
        OpRemapped,
        OpUnmap,
        OpUnmapped, //
    },
    prelude::*,
    scatterlist::SGTable,
    sync::Arc, //
};

use crate::{
    driver::AsahiDriver,
    gem::Object,
    mmu::{
        self,
        Prot,
        PAGE_SIZE, //
    }, //
};

/// What belongs to a tree of mappings: the page table that follows it.
pub(super) struct Tree {
    space: Arc<mmu::Vm>,
}

/// What to map.
pub(super) struct MapArgs<'a> {
    /// The object's memory.
    pub(super) pages: &'a SGTable,
    /// What the GPU may do with it.
    pub(super) prot: Prot,
    /// Whether to map one page all over the range.
    pub(super) single_page: bool,
}

/// What the steps of one operation need.
pub(super) struct Steps<'a> {
    map: Option<MapArgs<'a>>,
    /// Nodes for the tree. One operation makes three at most: the new mapping and what is left of
    /// old ones before and behind it.
    nodes: [Option<GpuVaAlloc<Tree>>; 3],
}

impl<'a> Steps<'a> {
    /// Prepares an operation that maps `map`, or else only unmaps.
    pub(super) fn new(map: Option<MapArgs<'a>>) -> Result<Self> {
        Ok(Self {
            map,
            nodes: [
                Some(GpuVaAlloc::new(GFP_KERNEL)?),
                Some(GpuVaAlloc::new(GFP_KERNEL)?),
                Some(GpuVaAlloc::new(GFP_KERNEL)?),
            ],
        })
    }

    /// Prepares an operation that unmaps whole mappings only.
    pub(super) fn without_splits() -> Self {
        Self {
            map: None,
            nodes: [None, None, None],
        }
    }

    fn take(&mut self) -> Result<GpuVaAlloc<Tree>> {
        self.nodes.iter_mut().find_map(Option::take).ok_or(EINVAL)
    }

    fn give_back(&mut self, node: GpuVaAlloc<Tree>) {
        if let Some(place) = self.nodes.iter_mut().find(|place| place.is_none()) {
            *place = Some(node);
        }
    }
}

impl Tree {
    pub(super) fn new(space: Arc<mmu::Vm>) -> Self {
        Self { space }
    }

    /// Maps `len` bytes of an object from `offset` at `iova`, all or nothing.
    ///
    /// The memory stays what it is while it is mapped: the object's scatter-gather table pins it
    /// until the device is unbound, which stops the GPU first, and the tree's mapping keeps the
    /// object.
    fn map(&self, args: &MapArgs<'_>, iova: u64, offset: u64, len: u64) -> Result {
        let mut done = 0;
        let result = if args.single_page {
            self.map_single(args, iova, offset, len, &mut done)
        } else {
            self.map_pieces(args, iova, offset, len, &mut done)
        };
        if result.is_err() && done > 0 {
            self.unmap(iova, done);
        }
        result
    }

    /// Maps contiguous pieces one after the other; `done` counts what has been mapped.
    fn map_pieces(
        &self,
        args: &MapArgs<'_>,
        iova: u64,
        offset: u64,
        len: u64,
        done: &mut u64,
    ) -> Result {
        let mut skip = offset;
        for entry in args.pages.iter() {
            if *done == len {
                break;
            }
            let piece = entry.dma_len();
            if skip >= piece {
                skip -= piece;
                continue;
            }

            let size = (piece - skip).min(len - *done);
            let phys = entry.dma_address() + skip;
            let iova = iova + *done;
            // SAFETY: See `Tree::map`.
            unsafe { self.space.map(iova, phys, size.try_into()?, args.prot)? };
            *done += size;
            skip = 0;
        }

        if *done < len {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Maps the page at `offset` again and again; `done` counts what has been mapped.
    fn map_single(
        &self,
        args: &MapArgs<'_>,
        iova: u64,
        offset: u64,
        len: u64,
        done: &mut u64,
    ) -> Result {
        let mut skip = offset;
        let mut phys = None;
        for entry in args.pages.iter() {
            let piece = entry.dma_len();
            if skip < piece {
                phys = Some(entry.dma_address() + skip);
                break;
            }
            skip -= piece;
        }
        let phys = phys.ok_or(EINVAL)?;

        while *done < len {
            // SAFETY: See `Tree::map`.
            unsafe { self.space.map(iova + *done, phys, PAGE_SIZE, args.prot)? };
            *done += PAGE_SIZE as u64;
        }
        Ok(())
    }

    fn unmap(&self, iova: u64, len: u64) {
        // All lengths come from mappings, which lie in an address space of 39 bits.
        self.space.unmap(iova, len as usize);
    }
}

impl DriverGpuVm for Tree {
    type Driver = AsahiDriver;
    type Object = Object;
    type VaData = ();
    type VmBoData = ();
    type SmContext<'ctx> = Steps<'ctx>;

    fn sm_step_map<'op>(
        &mut self,
        op: OpMap<'op, Self>,
        steps: &mut Steps<'_>,
    ) -> Result<OpMapped<'op, Self>, Error> {
        let node = steps.take()?;
        let args = steps.map.as_ref().ok_or(EINVAL)?;
        self.map(args, op.addr(), op.gem_offset(), op.length())?;
        Ok(op.insert(node, pin_init::init_zeroed()))
    }

    fn sm_step_unmap<'op>(
        &mut self,
        op: OpUnmap<'op, Self>,
        _steps: &mut Steps<'_>,
    ) -> Result<OpUnmapped<'op, Self>, Error> {
        self.unmap(op.va().addr(), op.va().length());
        let (done, _removed) = op.remove();
        Ok(done)
    }

    /// What is left of a split mapping stays in the page table as it is, which is also why it does
    /// not matter that GPUVM advances the object offset of a mapping that repeats a single page.
    fn sm_step_remap<'op>(
        &mut self,
        op: OpRemap<'op, Self>,
        steps: &mut Steps<'_>,
    ) -> Result<OpRemapped<'op, Self>, Error> {
        let nodes = [steps.take()?, steps.take()?];
        let va = op.va_to_unmap().range();
        let start = op
            .prev()
            .map_or(va.start, |prev| prev.addr() + prev.length());
        let end = op.next().map_or(va.end, |next| next.addr());
        self.unmap(start, end - start);

        let (done, rest) = op.remap(nodes, pin_init::init_zeroed(), pin_init::init_zeroed());
        if let Some(node) = rest.unused_va {
            steps.give_back(node);
        }
        Ok(done)
    }
}
