// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Tiler buffers: where primitives are between the vertex and the fragment command of a render.
//!
//! A client's queue has one [`TilerBuffer`] from its first render on. It has a heap, which all
//! renders of the queue share, and gives each of them a [`Scene`]. The firmware knows heaps by
//! slots, of which there are 127 for all queues; a queue has one while it has renders under way.
//! The firmware must be told by an InitBuffer command, in front of a vertex command, when another
//! heap was in the slot, or when the heap has grown.
//!
//! # Size
//!
//! A heap begins small. It grows
//!
//! - before a render whose framebuffer needs more,
//! - before a render when the last ones have used more than half of it,
//! - when the firmware finds it full and asks for more.
//!
//! The first two happen in the ioctl. The third does not wait for memory, because what wants it is
//! a job that others wait for: it takes from a reserve that the last ioctl has left, and if there
//! is nothing in it, the firmware is told to make do with what there is, which always works, by
//! partial renders.
//!
//! A heap that has been much too large for a while is replaced by a smaller one when a render comes
//! while no other one is under way. See [`policy`]. A queue that has not rendered for some seconds
//! gives all of its heap back; the next one will be as large as was needed.
//!
//! # Locks
//!
//! `TilerBuffer::inner` (mutex, held while memory is allocated, only in the ioctl) ->
//! `TilerHeap::chunks` (likewise) -> `TilerBuffer::state` -> `TilerHeap::counts` (spinlocks, taken
//! in the path that signals fences).

use kernel::{
    impl_has_delayed_work,
    new_delayed_work,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    time::msecs_to_jiffies,
    workqueue::{
        DelayedWork,
        WorkItem, //
    }, //
};

use crate::{
    fw::buffer::InitBuffer,
    fw_write,
    gpu::Gpu,
    object::{
        GpuArray,
        GpuObject, //
    },
    queue::{
        place::{
            TilerOwner,
            TilerPlace, //
        },
        tiling::Tiling, //
    },
    vm::Vm,
    worker, //
};

mod heap;
mod policy;
mod scene;

use heap::TilerHeap;
use policy::Policy;

pub(crate) use scene::Scene;

/// Bytes of the firmware's private memory in a VM that may wait for a flush.
const RECLAIM_BYTES: usize = 1 << 20;

/// How long a queue must not have rendered until it gives its heap back, in milliseconds.
const IDLE_MS: u32 = 5_000;

/// What the ioctl uses.
struct Inner {
    heap: Option<Arc<TilerHeap>>,
    /// The largest tail pointer cache so far. Vertex commands run one after the other, so that one
    /// is enough for all.
    tpc: Option<(usize, Arc<GpuArray<u8>>)>,
    policy: Policy,
}

/// What the firmware was told last.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    /// The address of the heap's structure.
    info: u64,
    blocks: u32,
    slot: u32,
    binding: u64,
    vm_slot: u32,
}

impl Told {
    fn new(info: u64, blocks: u32, tiler: &TilerPlace, vm_slot: u32) -> Self {
        Self {
            info,
            blocks,
            slot: tiler.slot,
            binding: tiler.binding,
            vm_slot,
        }
    }
}

/// What others use, too.
struct State {
    /// Renders that were built and not dropped.
    built: u32,
    /// Those of them that the firmware was given.
    placed: u32,
    told: Option<Told>,
    /// The heap that the firmware was told of.
    heap: Option<Arc<TilerHeap>>,
    /// Whether there is a heap to give back.
    has_heap: bool,
    /// Whether the timer holds a reference, as far as is known here.
    timer_set: bool,
    /// The queue is gone, so that the timer must not be set any more.
    closed: bool,
}

impl State {
    /// Forgets the heap, which goes away. It is returned to be dropped without the lock.
    fn forget(&mut self) -> Option<Arc<TilerHeap>> {
        // Another one may be where it was.
        self.told = None;
        self.heap.take()
    }
}

/// The tiler buffer of a queue.
#[pin_data]
pub(crate) struct TilerBuffer {
    gpu: Arc<Gpu>,
    vm: Arc<Vm>,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    state: SpinLock<State>,
    /// Runs when there was no render for a while.
    #[pin]
    idle: DelayedWork<Self>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for TilerBuffer { self.idle }
}

impl WorkItem for TilerBuffer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.state.lock().timer_set = false;
        // If the lock is held, then there is a new render.
        let Some(mut inner) = this.inner.try_lock() else {
            return;
        };
        let mut state = this.state.lock();
        if state.built != 0 {
            return;
        }
        state.has_heap = false;
        let told_heap = state.forget();
        drop(state);

        let unused = (inner.heap.take(), inner.tpc.take());
        if let Some(heap) = &unused.0 {
            inner.policy.grow(heap.blocks(), heap.take_peak(), 0);
        }
        inner.policy.rest();
        drop(inner);
        drop(told_heap);
        drop(unused);
    }
}

impl TilerBuffer {
    fn new(gpu: &Arc<Gpu>, vm: &Arc<Vm>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                gpu: gpu.clone(),
                vm: vm.clone(),
                inner <- new_mutex!(Inner {
                    heap: None,
                    tpc: None,
                    policy: Policy::default(),
                }),
                state <- new_spinlock!(State {
                    built: 0,
                    placed: 0,
                    told: None,
                    heap: None,
                    has_heap: false,
                    timer_set: false,
                    closed: false,
                }),
                idle <- new_delayed_work!("asahi::TilerBuffer::idle"),
            }),
            GFP_KERNEL,
        )
    }

    /// Makes a scene for a render, and sees to it that the heap is large enough for it.
    ///
    /// Only for the ioctl.
    pub(crate) fn scene(self: &Arc<Self>, tiling: &Tiling, layers: u32) -> Result<(Scene, Use)> {
        self.reclaim();

        let mut inner = self.inner.lock();
        let heap = self.heap(&mut inner, tiling.min_blocks)?;

        let tpc = match &inner.tpc {
            Some((size, tpc)) if *size >= tiling.tpc_size => tpc.clone(),
            _ => {
                let size = tiling.tpc_size;
                let tpc = GpuArray::zeroed(&self.vm.heaps().private, size)?;
                let tpc = Arc::new(tpc, GFP_KERNEL)?;
                inner.tpc = Some((size, tpc.clone()));
                tpc
            }
        };
        let scene = Scene::new(&self.gpu, &self.vm, tiling, layers, &heap, tpc)?;

        // Nobody else builds renders as long as the lock is held, so that the heap is not replaced
        // before this is counted.
        let timer = {
            let mut state = self.state.lock();
            state.built += 1;
            state.has_heap = true;
            core::mem::take(&mut state.timer_set)
        };
        if timer {
            drop(worker::cancel_delayed(self));
        }
        let used = Use {
            buffer: self.clone(),
            heap,
            placed: AtomicFlag::new(false),
        };
        Ok((scene, used))
    }

    /// Returns a heap that is large enough.
    fn heap(&self, inner: &mut Inner, min: u32) -> Result<Arc<TilerHeap>> {
        let blocks = match &inner.heap {
            Some(heap) => {
                let blocks = heap.blocks();
                let wanted = inner.policy.grow(blocks, heap.take_peak(), min);
                let smaller = inner.policy.shrink(blocks, min);

                match smaller.filter(|_| self.state.lock().built == 0) {
                    Some(smaller) => smaller,
                    None => {
                        // What is only good to have is not worth to fail for.
                        heap.grow(&self.vm, wanted)
                            .or_else(|_| heap.grow(&self.vm, min))?;
                        return Ok(heap.clone());
                    }
                }
            }
            None => inner.policy.start(min),
        };

        let heap = TilerHeap::new(&self.gpu, &self.vm, blocks)?;
        // No command uses the old one.
        let unused = self.state.lock().forget();
        drop(unused);
        inner.heap = Some(heap.clone());
        inner.tpc = None;
        inner.policy.restart();
        Ok(heap)
    }

    /// The queue is gone. What is under way goes on.
    pub(crate) fn close(self: &Arc<Self>) {
        let timer = {
            let mut state = self.state.lock();
            state.closed = true;
            core::mem::take(&mut state.timer_set)
        };
        if timer {
            drop(worker::cancel_delayed(self));
        }
    }

    /// Has the firmware's cache flushed if much of its memory in the VM waits for that.
    fn reclaim(&self) {
        let heaps = self.vm.heaps();
        if heaps.dead_bytes() > RECLAIM_BYTES {
            heaps.begin_flush();
            heaps.end_flush(self.gpu.flush_firmware().is_ok());
        }
    }
}

impl TilerOwner for TilerBuffer {
    fn grow(&self, gpu: &Arc<Gpu>, vm_slot: u32, slot: u32, counter: u32) {
        let heap = self.state.lock().heap.clone();
        let grown = heap.is_some_and(|heap| heap.grow_from_reserve());

        if !grown {
            dev_dbg!(gpu.dev(), "tiler heap {} stays as small as it is\n", slot);
        }
        gpu.acknowledge_growth(vm_slot, slot, counter);
    }

    fn suspect(&self) {
        self.state.lock().told = None;
    }
}

/// A render's use of the heap. It is dropped when the render is done.
pub(crate) struct Use {
    buffer: Arc<TilerBuffer>,
    heap: Arc<TilerHeap>,
    placed: AtomicFlag,
}

impl Use {
    /// Returns the address of the heap's structure.
    pub(crate) fn info_va(&self) -> u64 {
        self.heap.info_va()
    }

    /// Returns the address of an unknown buffer of the heap.
    pub(crate) fn kernel_buffer_va(&self) -> u64 {
        self.heap.kernel_buffer_va()
    }

    /// Notes that the firmware is about to be given the render. Returns whether it has to be told
    /// of the heap before, and fills in the command that does it, if there is one.
    ///
    /// This does not allocate memory, and waits for nothing.
    pub(crate) fn place(
        &self,
        tiler: &TilerPlace,
        vm_slot: u32,
        stamp_value: u32,
        init: Option<&GpuObject<InitBuffer>>,
    ) -> bool {
        let mut state = self.buffer.state.lock();

        if state.placed == 0 {
            self.heap.update_info();
        }
        state.placed += 1;
        self.placed.store(true, Relaxed);
        self.heap.count_render();

        let Some(init) = init else {
            return false;
        };

        let blocks = self.heap.blocks();
        let told = Told::new(self.heap.info_va(), blocks, tiler, vm_slot);
        if state.told == Some(told) {
            return false;
        }
        state.told = Some(told);
        // If there was another one, then the ioctl has taken it away when it replaced it.
        state.heap.get_or_insert_with(|| self.heap.clone());
        drop(state);

        fw_write!(init, .vm_slot, vm_slot);
        fw_write!(init, .buffer_slot, tiler.slot);
        fw_write!(init, .block_count, blocks);
        fw_write!(init, .buffer, self.heap.info_va().into());
        fw_write!(init, .stamp_value, stamp_value);
        true
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut state = self.buffer.state.lock();

        state.built -= 1;
        if self.placed.load(Relaxed) {
            state.placed -= 1;
        }
        if state.built == 0 && state.has_heap && !state.closed && !state.timer_set {
            state.timer_set = true;
            // With the lock held, so that whoever sees the flag can take the timer back. If it is
            // about to run, it is fine: it will find what it finds.
            let delay = msecs_to_jiffies(IDLE_MS);
            let _ = worker::queue().enqueue_delayed(self.buffer.clone(), delay);
        }
    }
}

/// A queue's hold on its [`TilerBuffer`].
pub(crate) struct Owned(Arc<TilerBuffer>);

impl Owned {
    /// Makes a buffer, which gets its memory with the first render.
    pub(crate) fn new(gpu: &Arc<Gpu>, vm: &Arc<Vm>) -> Result<Self> {
        Ok(Self(TilerBuffer::new(gpu, vm)?))
    }

    /// Returns the buffer.
    pub(crate) fn buffer(&self) -> &Arc<TilerBuffer> {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_buffer)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_is_told_of_every_change() {
        let place = |slot, binding| TilerPlace { slot, binding };
        let told = Told::new(0x1000, 8, &place(3, 1), 5);
        assert!(told == Told::new(0x1000, 8, &place(3, 1), 5));
        assert!(told != Told::new(0x2000, 8, &place(3, 1), 5));
        assert!(told != Told::new(0x1000, 9, &place(3, 1), 5));
        // The queue came back to its slot, which another one had meanwhile.
        assert!(told != Told::new(0x1000, 8, &place(3, 2), 5));
        // It got another slot, which has changed hands as often.
        assert!(told != Told::new(0x1000, 8, &place(4, 1), 5));
        assert!(told != Told::new(0x1000, 8, &place(3, 1), 6));
    }
}
