// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The steps by which GPUVM changes a VM's tree of mappings and its page table.
//!
//! An operation must happen as a whole or not at all, and GPUVM takes it apart into steps that it
//! cannot take back. So none of the steps may fail: [`Steps`] has all the memory that they need,
//! the tables have been reserved, and the object's memory has been looked at before the first one.

use core::{
    mem::MaybeUninit,
    ops::Range, //
};

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
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

use super::retire::{
    Objects,
    Owned, //
};
use crate::{
    driver::AsahiDriver,
    gem::{
        Object,
        Pieces, //
    },
    mmu::{
        self,
        Prot, //
    }, //
};

/// What belongs to a tree of mappings: the page table that follows it.
pub(super) struct Tree {
    space: Arc<mmu::Vm>,
}

/// What belongs to an object that is mapped in a VM.
pub(super) struct BoState {
    /// Not zero if the client has closed its handle, and not bound the object again since.
    closed: Atomic<u32>,
}

impl BoState {
    pub(super) fn new() -> Self {
        Self {
            closed: Atomic::new(0),
        }
    }

    /// Notes that the handle has been closed.
    pub(super) fn close(&self) {
        self.closed.store(1, Relaxed);
    }

    /// Forgets that, and returns whether it was so. The tree is locked.
    pub(super) fn reopen(&self) -> bool {
        let closed = self.closed.load(Relaxed) != 0;
        self.closed.store(0, Relaxed);
        closed
    }
}

/// What to map.
pub(super) struct MapArgs<'a> {
    /// The object's memory, checked: exactly as much as the range has, or the one page.
    pub(super) pieces: Pieces<'a>,
    /// What the GPU may do with it.
    pub(super) prot: Prot,
    /// Whether to map one page all over the range.
    pub(super) single_page: bool,
}

/// The nodes that one operation may need.
///
/// It makes three mappings at most: the new one and what is left of old ones before and behind it.
#[derive(Default)]
pub(super) struct Nodes {
    nodes: [Option<GpuVaAlloc<Tree>>; 3],
    owned: [Option<KBox<MaybeUninit<Owned>>>; 3],
}

impl Nodes {
    /// Allocates those that are missing.
    pub(super) fn fill(&mut self) -> Result {
        for node in self.nodes.iter_mut().filter(|node| node.is_none()) {
            *node = Some(GpuVaAlloc::new(GFP_KERNEL)?);
        }
        for owned in self.owned.iter_mut().filter(|owned| owned.is_none()) {
            *owned = Some(KBox::new_uninit(GFP_KERNEL)?);
        }
        Ok(())
    }

    fn take(&mut self) -> Result<GpuVaAlloc<Tree>> {
        self.nodes.iter_mut().find_map(Option::take).ok_or(EINVAL)
    }

    fn give_back(&mut self, node: GpuVaAlloc<Tree>) {
        if let Some(place) = self.nodes.iter_mut().find(|place| place.is_none()) {
            *place = Some(node);
        }
    }

    /// Makes the data of a new mapping of `object`.
    fn own(&mut self, object: &Object) -> Result<Option<KBox<Owned>>> {
        let memory = self.owned.iter_mut().find_map(Option::take).ok_or(EINVAL)?;
        Ok(Some(KBox::write(memory, Owned::new(ARef::from(object)))))
    }
}

/// What the steps of one operation need, and what they leave.
pub(super) struct Steps<'a> {
    map: Option<MapArgs<'a>>,
    pub(super) nodes: Nodes,
    /// Around what has been taken out of the page table since the TLB was last flushed.
    stale: Option<Range<u64>>,
    /// The objects of the mappings that have been taken out.
    pub(super) removed: Objects,
}

impl<'a> Steps<'a> {
    /// Prepares an operation that maps `map`, or else only unmaps.
    ///
    /// It needs no `nodes` if it takes out whole mappings only.
    pub(super) fn new(map: Option<MapArgs<'a>>, nodes: Nodes) -> Self {
        Self {
            map,
            nodes,
            stale: None,
            removed: Objects::default(),
        }
    }

    /// Flushes the TLB, if something in it is not mapped any more.
    pub(super) fn flush(&mut self, space: &mmu::Vm) {
        if let Some(stale) = self.stale.take() {
            space.invalidate(stale.start, stale.end - stale.start);
        }
    }
}

impl Tree {
    pub(super) fn new(space: Arc<mmu::Vm>) -> Self {
        Self { space }
    }

    /// Clears a range of the page table. The TLB is flushed once, before something else is mapped
    /// or else at the end of the operation.
    fn clear(&self, steps: &mut Steps<'_>, range: Range<u64>) {
        self.space.clear(range.start, range.end - range.start);
        steps.stale = Some(match steps.stale.take() {
            Some(stale) => stale.start.min(range.start)..stale.end.max(range.end),
            None => range,
        });
    }
}

impl DriverGpuVm for Tree {
    type Driver = AsahiDriver;
    type Object = Object;
    // Always there. The option is for `OpRemap::remap()`, which wants two whether it needs them
    // or not.
    type VaData = Option<KBox<Owned>>;
    type VmBoData = BoState;
    type SmContext<'ctx> = Steps<'ctx>;

    fn sm_step_map<'op>(
        &mut self,
        op: OpMap<'op, Self>,
        steps: &mut Steps<'_>,
    ) -> Result<OpMapped<'op, Self>, Error> {
        let node = steps.nodes.take()?;
        let owned = steps.nodes.own(op.obj())?;
        // An entry must not change from one page to another while the TLB has the old one.
        steps.flush(&self.space);

        let args = steps.map.as_ref().ok_or(EINVAL)?;
        // SAFETY: The memory stays what it is while it is mapped: the object's scatter-gather table
        // pins it until the device is unbound, which stops the GPU first, and the mapping keeps the
        // object.
        unsafe {
            if args.single_page {
                let (phys, _) = args.pieces.clone().next().ok_or(EINVAL)?;
                self.space
                    .map_repeated(op.addr(), phys, op.length(), args.prot)?;
            } else {
                self.space
                    .map_pieces(op.addr(), args.pieces.clone(), args.prot)?;
            }
        }
        Ok(op.insert(node, owned))
    }

    fn sm_step_unmap<'op>(
        &mut self,
        op: OpUnmap<'op, Self>,
        steps: &mut Steps<'_>,
    ) -> Result<OpUnmapped<'op, Self>, Error> {
        self.clear(steps, op.va().range());
        let (done, removed) = op.remove();
        steps.removed.take_over(removed);
        Ok(done)
    }

    /// What is left of a split mapping stays in the page table as it is, which is also why it does
    /// not matter that GPUVM advances the object offset of a mapping that repeats a single page.
    fn sm_step_remap<'op>(
        &mut self,
        op: OpRemap<'op, Self>,
        steps: &mut Steps<'_>,
    ) -> Result<OpRemapped<'op, Self>, Error> {
        let nodes = [steps.nodes.take()?, steps.nodes.take()?];
        let va = op.va_to_unmap().range();
        let (mut start, mut end) = (va.start, va.end);
        let (mut before, mut behind) = (None, None);
        if let Some(prev) = op.prev() {
            start = prev.addr() + prev.length();
            before = steps.nodes.own(op.obj())?;
        }
        if let Some(next) = op.next() {
            end = next.addr();
            behind = steps.nodes.own(op.obj())?;
        }
        self.clear(steps, start..end);

        let (done, rest) = op.remap(nodes, before, behind);
        steps.removed.take_over(rest.unmapped_va);
        if let Some(node) = rest.unused_va {
            steps.nodes.give_back(node);
        }
        Ok(done)
    }
}
