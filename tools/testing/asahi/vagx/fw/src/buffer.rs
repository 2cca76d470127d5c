// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tiler's buffers: heaps that drivers give and that the firmware deals out to renders.
//!
//! A buffer is bound to a slot by InitBuffer. A vertex command takes pages of it for its scene, and the fragment
//! command that belongs to it gives them back. When there are too few, the firmware asks for more (GrowTVB) and the
//! vertex command waits for the answer. If the heap has not grown by then, what there is so far gets rendered and
//! the rest after it: a partial render. (AsahiLinux/docs `hw/soc/agx.md` "Tiler buffer management".)
//!
//! How much of the heap a render takes is this model's own rule, as nothing is tiled yet: for each tile of each layer
//! 16 bytes and 16 more for each draw, and 64 bytes for each vertex of each instance. A driver can therefore tell
//! from a control stream when its heap overflows.

mod grow;
mod list;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use vagx_gpu::{Geometry, VertexJob};

use crate::command::{Context, check_gpu};
use crate::fragment::FragmentWork;
use crate::layout::buffer::{BUFFER_SLOTS, PAGES_PER_BLOCK, SCENE_USER_BUFFER};
use crate::layout::{Abi, Field};
use crate::mem::{FwMem, Place, Record, Result, Sharing};
use crate::queue::{Queue, check_slot};
use crate::vertex::VertexWork;

use grow::Request;
use list::Page;

/// What a command says about the buffer that it uses, with the pointers checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferUse {
    pub slot: u32,
    pub vm_slot: u8,
    /// BufferInfo, Scene and BufferStats.
    pub info: u64,
    pub scene: u64,
    stats: u64,
}

impl BufferUse {
    /// Follows the command's pointer to its scene.
    pub(crate) fn check(
        cx: Context<'_>,
        vm_slot: u8,
        slot: u32,
        info: u64,
        scene: u64,
        cmd: &Record,
        scene_field: Field,
    ) -> Result<BufferUse> {
        let (s, b) = (&cx.abi.scene, &cx.abi.buffer_stats);
        let record = cmd.follow(scene_field, s.shape)?;
        let stats = record.pointer_rw(s.stats, b.shape.size.into(), Sharing::Coherent)?;
        let user = record.get(s.user_buffer);
        check_gpu(cx, vm_slot, &record, s.user_buffer, user, SCENE_USER_BUFFER)?;
        Ok(BufferUse {
            slot,
            vm_slot,
            info,
            scene,
            stats,
        })
    }
}

/// A buffer in its slot.
struct Bound {
    vm_slot: u8,
    gpu_context: u64,
    info: u64,
    page_list: u64,
    pages: Vec<Page>,
    /// Indices into `pages` that no scene has.
    free: BTreeSet<u32>,
}

/// A render between the begin of its vertex command and the end of its fragment command.
struct Scene {
    slot: u32,
    scene: u64,
    heapmeta: u64,
    layermeta: u64,
    te_screen: u32,
    /// What the fragment command's stamp may be.
    values: [u32; 2],
    gpu_context: u64,
    /// Indices of the pages that it has.
    pages: Vec<u32>,
    partial_renders: u32,
    vertex: VertexJob,
    /// What the vertex command made, once it has run.
    geometry: Option<Arc<Geometry>>,
}

/// Context and address of the tiler's lists, which name a scene.
type Key = (u8, u64);

#[derive(Default)]
struct State {
    bound: HashMap<u32, Bound>,
    scenes: HashMap<Key, Scene>,
    /// By slot, what a vertex command waits for.
    requests: HashMap<u32, Request>,
    /// Slot and counter of wishes for whose answers nobody waits.
    abandoned: BTreeSet<(u32, u32)>,
    counter: u32,
}

/// The buffers of all slots. The lock is taken alone, and not held while anything is waited for.
#[derive(Default)]
pub(crate) struct Buffers {
    state: Mutex<State>,
    answered: Condvar,
}

impl Buffers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What InitBuffer does: the slot holds this buffer from now on, or the firmware looks at it anew.
    pub(crate) fn init(
        &self,
        mem: &FwMem,
        abi: &Abi,
        queue: &Queue,
        at: Place,
        va: u64,
    ) -> Result<()> {
        let (l, i) = (&abi.init_buffer, &abi.buffer_info);
        let command = mem.record(at, l.shape, va)?;
        command.show(&queue.track(), l);
        let vm_slot = check_slot(mem, &command, l.vm_slot)?;
        let slot = command.get32(l.buffer_slot);
        if slot >= BUFFER_SLOTS {
            let why = format!("there are {BUFFER_SLOTS} buffer slots");
            return Err(command.complain(l.buffer_slot, why));
        }
        let _ = command.expect(l.unk_c, 0, "its value in every known set-up");
        command.pointer_rw(l.buffer, i.shape.size.into(), Sharing::Private)?;
        let info = command.follow(l.buffer, i.shape)?;
        info.show(&queue.track(), i);
        let blocks = list::check_info(mem, abi, &info)?;
        // The driver may have made the heap larger again since it wrote this command.
        if command.get32(l.block_count) > blocks {
            let why = format!("BufferBlockControl.total is {blocks:#x}");
            command.complain(l.block_count, why);
        }
        let pages = list::read(mem, abi, vm_slot, &info, blocks)?;
        let page_list = info.get(i.page_list);

        let mut state = self.state();
        let mut free: BTreeSet<u32> = (0u32..).zip(&pages).map(|(index, _)| index).collect();
        let fresh = Bound {
            vm_slot,
            gpu_context: queue.gpu_context,
            info: info.base,
            page_list,
            pages,
            free: BTreeSet::new(),
        };
        let old = state.bound.get(&slot);
        for scene in state.scenes.values().filter(|s| s.slot == slot) {
            let same = old.is_some_and(|o| {
                o.info == fresh.info
                    && o.vm_slot == vm_slot
                    && scene
                        .pages
                        .iter()
                        .all(|p| o.pages.get(*p as usize) == fresh.pages.get(*p as usize))
            });
            if !same {
                let why = "a render that has not ended uses what this slot has held until now";
                command.complain(l.buffer_slot, why);
                break;
            }
            for page in &scene.pages {
                free.remove(page);
            }
        }
        state.bound.insert(slot, Bound { free, ..fresh });
        drop(state);
        mem.trace().event(
            &queue.track(),
            "buffer bound",
            &[("slot", slot.into()), ("blocks", blocks.into())],
        );
        Ok(())
    }

    /// A vertex command begins: its scene exists from here on.
    pub(crate) fn begin(&self, cx: Context<'_>, command: &Record, work: &VertexWork) -> Result<()> {
        let (l, i, b) = (
            &cx.abi.run_vertex,
            &cx.abi.buffer_info,
            &cx.abi.buffer_stats,
        );
        let using = &work.buffer;
        let mut state = self.state();
        let Some(bound) = state.bound.get(&using.slot) else {
            let why = "no InitBuffer has put a buffer into this slot";
            return Err(command.complain(l.buffer_slot, why));
        };
        if (bound.info, bound.vm_slot) != (using.info, using.vm_slot) {
            let why = format!(
                "InitBuffer has put the buffer {:#x} of context {} into slot {}",
                bound.info, bound.vm_slot, using.slot
            );
            return Err(command.complain(l.buffer, why));
        }
        let blocks = cx.mem.load(i.shape, using.info, i.block_count)?;
        let known = bound.pages.len() as u64 / u64::from(PAGES_PER_BLOCK);
        if u64::from(blocks) < known {
            let place = crate::mem::place(i.shape, using.info, i.block_count);
            let why =
                format!("the firmware knows of {known} blocks; to take some away needs InitBuffer");
            return Err(cx.mem.complain(place, blocks.into(), why));
        }
        if cx.mem.load(b.shape, using.stats, b.reset)? != 0 {
            for field in [b.max_pages, b.overflow_count, b.reset] {
                cx.mem.store(b.shape, using.stats, field, 0)?;
            }
        }
        let key = (using.vm_slot, work.job.tilemap);
        // A driver may have taken the memory back of a scene whose fragment command failed.
        if let Some(old) = state.scenes.remove(&key) {
            state.release(&old);
        }
        state.scenes.insert(
            key,
            Scene {
                slot: using.slot,
                scene: using.scene,
                heapmeta: work.heapmeta,
                layermeta: work.layermeta,
                values: [work.fragment_value, work.value],
                te_screen: work.te_screen,
                gpu_context: cx.queue.gpu_context,
                pages: Vec::new(),
                partial_renders: 0,
                vertex: work.job.clone(),
                geometry: None,
            },
        );
        Ok(())
    }

    /// A fragment command begins: finds the scene that its vertex command has filled. Returns that command's job and
    /// the number of partial renders.
    pub(crate) fn find(
        &self,
        cx: Context<'_>,
        command: &Record,
        work: &FragmentWork,
    ) -> Result<(VertexJob, u32)> {
        let l = &cx.abi.run_fragment;
        let state = self.state();
        let Some(scene) = state.scenes.get(&(work.buffer.vm_slot, work.job.tilemap)) else {
            let why =
                "no vertex command has left its lists there, or they have been rendered already";
            return Err(command.complain(l.tilemap, why));
        };
        let same = "the same as in the vertex command of this render";
        command.expect(l.scene, scene.scene, same)?;
        for (field, name, ours, theirs) in [
            (l.job_params1, "heapmeta", work.heapmeta, scene.heapmeta),
            (l.job_params1, "layermeta", work.layermeta, scene.layermeta),
            (
                l.job_params2,
                "te_screen",
                work.te_screen.into(),
                scene.te_screen.into(),
            ),
            (
                l.buffer,
                "buffer slot",
                work.buffer.slot.into(),
                scene.slot.into(),
            ),
        ] {
            if ours != theirs {
                let why = format!(
                    "its {name} is {ours:#x}, and {theirs:#x} in the vertex command of this render"
                );
                command.complain(field, why);
            }
        }
        let [expected, vertex] = scene.values;
        if expected != work.value && expected != vertex {
            let why = format!(
                "its stamp value is {:#x}, and {expected:#x} in the vertex command of this render",
                work.value
            );
            command.complain(l.meta, why);
        }
        state.check_pages(cx.mem, scene);
        Ok((scene.vertex.clone(), scene.partial_renders))
    }

    /// Keeps what the vertex half of a render made until the fragment half needs it.
    pub(crate) fn keep(&self, job: &VertexJob, geometry: Arc<Geometry>) {
        let key = (job.vm_slot as u8, job.tilemap);
        if let Some(scene) = self.state().scenes.get_mut(&key) {
            scene.geometry = Some(geometry);
        }
    }

    /// What the vertex half of a render made; nothing if it did not come to its end.
    pub(crate) fn kept(&self, job: &VertexJob) -> Arc<Geometry> {
        let state = self.state();
        let scene = state.scenes.get(&(job.vm_slot as u8, job.tilemap));
        scene.and_then(|s| s.geometry.clone()).unwrap_or_default()
    }

    /// A fragment command is over, however: the pages of its scene are free again.
    pub(crate) fn end(&self, mem: &FwMem, work: &FragmentWork) {
        let mut state = self.state();
        let key = (work.buffer.vm_slot, work.job.tilemap);
        if let Some(scene) = state.scenes.remove(&key) {
            state.check_pages(mem, &scene);
            state.release(&scene);
        }
    }

    /// Forgets what belongs to a context that the driver has destroyed.
    pub(crate) fn forget(&self, gpu_context: u64) {
        let mut state = self.state();
        let gone: Vec<Key> = state
            .scenes
            .iter()
            .filter(|(_, scene)| scene.gpu_context == gpu_context)
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            if let Some(scene) = state.scenes.remove(&key) {
                state.release(&scene);
            }
        }
        state.bound.retain(|_, b| b.gpu_context != gpu_context);
    }
}

impl State {
    fn release(&mut self, scene: &Scene) {
        if let Some(bound) = self.bound.get_mut(&scene.slot) {
            let count = bound.pages.len();
            let there = scene.pages.iter().filter(|p| (**p as usize) < count);
            bound.free.extend(there);
        }
    }

    fn check_pages(&self, mem: &FwMem, scene: &Scene) {
        let Some(bound) = self.bound.get(&scene.slot) else {
            return;
        };
        for index in &scene.pages {
            if let Some(page) = bound.pages.get(*index as usize)
                && !list::check_unmoved(mem, bound.vm_slot, bound.page_list, *index, page)
            {
                return;
            }
        }
    }
}
