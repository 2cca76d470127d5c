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

mod list;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vagx_gpu::{VertexJob, VertexStats};

use crate::command::{Context, check_gpu};
use crate::fragment::FragmentWork;
use crate::layout::buffer::{BUFFER_SLOTS, PAGES_PER_BLOCK, SCENE_USER_BUFFER, TILER_PAGE};
use crate::layout::{Abi, Field};
use crate::log::Event;
use crate::mem::{FwMem, Place, Record, Refused, Result, Sharing};
use crate::queue::{Queue, check_slot};
use crate::state::Core;
use crate::vertex::VertexWork;

use list::Page;

/// How often a vertex command that waits for the driver looks whether it shall end.
const TICK: Duration = Duration::from_millis(2);

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
}

/// Context and address of the tiler's lists, which name a scene.
type Key = (u8, u64);

/// A wish for a larger heap.
struct Request {
    vm_slot: u8,
    counter: u32,
    answered: bool,
    /// Nobody waits for the answer any more.
    abandoned: bool,
}

#[derive(Default)]
struct State {
    bound: HashMap<u32, Bound>,
    scenes: HashMap<Key, Scene>,
    requests: HashMap<u32, Request>,
    counter: u32,
}

/// The buffers of all slots. The lock is taken alone, and not held while anything is waited for.
#[derive(Default)]
pub(crate) struct Buffers {
    state: Mutex<State>,
    answered: Condvar,
}

/// How a vertex command got its memory.
pub(crate) struct Filled {
    pub pages: u64,
    pub growths: u32,
    pub partial_renders: u32,
}

/// Pages that a render of so much takes.
fn pages_needed(stats: &VertexStats, tiles: u64) -> u64 {
    let lists = tiles.saturating_mul(16).saturating_mul(stats.draws + 1);
    let bytes = lists.saturating_add(stats.vertices.saturating_mul(64));
    bytes.div_ceil(TILER_PAGE)
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
            },
        );
        Ok(())
    }

    /// Gives the scene of a vertex command the memory that it needs, with the driver's help. `Ok(None)` if the command
    /// was ended meanwhile.
    pub(crate) fn fill(
        &self,
        core: &Core,
        cx: Context<'_>,
        work: &VertexWork,
        stats: &VertexStats,
        ended: impl Fn() -> bool,
    ) -> Result<Option<Filled>> {
        let pages = pages_needed(stats, work.tiles());
        let key = (work.buffer.vm_slot, work.job.tilemap);
        let mut growths = 0;
        let mut give_up = false;
        let partial_renders = loop {
            let taken = self.state().take(key, pages, give_up)?;
            match taken {
                Some(partial) => break partial,
                None => {
                    growths += 1;
                    match self.ask(core, cx, &work.buffer, &ended)? {
                        Some(grown) => give_up = !grown,
                        None => return Ok(None),
                    }
                }
            }
        };
        self.tell(cx, work, pages, partial_renders)?;
        Ok(Some(Filled {
            pages,
            growths,
            partial_renders,
        }))
    }

    /// Asks the driver for a larger heap and waits for the answer. Returns whether it is larger.
    fn ask(
        &self,
        core: &Core,
        cx: Context<'_>,
        using: &BufferUse,
        ended: &impl Fn() -> bool,
    ) -> Result<Option<bool>> {
        let counter = {
            let mut state = self.state();
            state.counter = state.counter.wrapping_add(1);
            let request = Request {
                vm_slot: using.vm_slot,
                counter: state.counter,
                answered: false,
                abandoned: false,
            };
            state.requests.insert(using.slot, request);
            state.counter
        };
        let mut span = core
            .trace
            .span(&cx.queue.track(), "waits for a larger heap");
        span.arg("slot", using.slot);
        span.arg("counter", counter);
        core.event(Event::GrowTvb {
            vm_slot: using.vm_slot.into(),
            buffer_slot: using.slot,
            counter,
        });
        loop {
            // Asked without the lock: the answer may take as long as a job that is set aside.
            if ended() {
                if let Some(request) = self.state().requests.get_mut(&using.slot) {
                    request.abandoned = true;
                }
                return Ok(None);
            }
            let mut state = self.state();
            if state.requests.get(&using.slot).is_none_or(|r| r.answered) {
                state.requests.remove(&using.slot);
                break;
            }
            // A poisoned lock is dealt with where it is taken.
            drop(self.answered.wait_timeout(state, TICK));
        }
        self.look_again(cx, using).map(Some)
    }

    /// Reads the lists of a heap that the driver may have made larger.
    fn look_again(&self, cx: Context<'_>, using: &BufferUse) -> Result<bool> {
        let i = &cx.abi.buffer_info;
        let place = crate::mem::place(i.shape, using.info, i.page_count);
        let info = cx.mem.record(place, i.shape, using.info)?;
        let blocks = list::check_info(cx.mem, cx.abi, &info)?;
        let pages = list::read(cx.mem, cx.abi, using.vm_slot, &info, blocks)?;
        let mut state = self.state();
        let bound = state.bound.get_mut(&using.slot).ok_or(Refused)?;
        let before = bound.pages.len();
        if pages.get(..before) != Some(&bound.pages) {
            let why = "while the heap grows, what is in it must stay as it is";
            return Err(info.complain(i.page_list, why));
        }
        for index in (0u32..).take(pages.len()).skip(before) {
            bound.free.insert(index);
        }
        bound.page_list = info.get(i.page_list);
        bound.pages = pages;
        Ok(bound.pages.len() > before)
    }

    /// Writes down how much was used, for the driver.
    fn tell(&self, cx: Context<'_>, work: &VertexWork, pages: u64, partial: u32) -> Result<()> {
        let (b, s, using) = (&cx.abi.buffer_stats, &cx.abi.scene, &work.buffer);
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        let most = cx.mem.load(b.shape, using.stats, b.max_pages)?.max(pages);
        cx.mem.store(b.shape, using.stats, b.max_pages, most)?;
        let overflows = cx.mem.load(b.shape, using.stats, b.overflow_count)?;
        let overflows = overflows.wrapping_add(partial);
        cx.mem
            .store(b.shape, using.stats, b.overflow_count, overflows)?;
        let key = (using.vm_slot, work.job.tilemap);
        let held = self.state().scenes.get(&key).map_or(0, |s| s.pages.len());
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        cx.mem
            .store(s.shape, using.scene, s.pass_page_count, held)?;
        cx.mem
            .store(s.shape, using.scene, s.total_page_count, pages)
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

    /// A fragment command is over, however: the pages of its scene are free again.
    pub(crate) fn end(&self, mem: &FwMem, work: &FragmentWork) {
        let mut state = self.state();
        let key = (work.buffer.vm_slot, work.job.tilemap);
        if let Some(scene) = state.scenes.remove(&key) {
            state.check_pages(mem, &scene);
            state.release(&scene);
        }
    }

    /// Asks for a larger heap in a slot that has none, which a driver has to stand.
    pub(crate) fn ask_oddly(&self, core: &Core) {
        let (vm_slot, slot) = (u8::MAX, BUFFER_SLOTS - 1);
        let counter = {
            let mut state = self.state();
            state.counter = state.counter.wrapping_add(1);
            let request = Request {
                vm_slot,
                counter: state.counter,
                answered: false,
                abandoned: true,
            };
            state.requests.entry(slot).or_insert(request);
            state.counter
        };
        core.event(Event::GrowTvb {
            vm_slot: vm_slot.into(),
            buffer_slot: slot,
            counter,
        });
    }

    /// The driver has answered to a wish for a larger heap.
    pub(crate) fn answer(&self, core: &Core, message: &Record) -> Result<()> {
        let l = &core.cfg.abi.grow_tvb_ack;
        let message = Record::from_bytes(&core.mem, l.shape, message.base, message.bytes());
        let _ = message.expect(l.unk_4, 1, "its value in every known set-up");
        let slot = message.get32(l.buffer_slot);
        let mut state = self.state();
        let Some(request) = state.requests.get_mut(&slot) else {
            let why = "no growth of the buffer in this slot was asked for";
            return Err(message.complain(l.buffer_slot, why));
        };
        let same = "the same as in the GrowTVB event";
        message.expect(l.vm_slot, request.vm_slot.into(), same)?;
        message.expect(l.counter, request.counter.into(), same)?;
        request.answered = true;
        if request.abandoned {
            state.requests.remove(&slot);
        }
        drop(state);
        self.answered.notify_all();
        Ok(())
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
    }
}

impl State {
    /// Takes pages for a scene. `Ok(None)` if there are too few and the driver has not been asked; else, the number of
    /// partial renders that it takes to do with what there is.
    fn take(&mut self, key: Key, pages: u64, anyhow: bool) -> Result<Option<u32>> {
        let scene = self.scenes.get_mut(&key).ok_or(Refused)?;
        let bound = self.bound.get_mut(&scene.slot).ok_or(Refused)?;
        let room = bound.free.len() as u64;
        if pages > room && !anyhow {
            return Ok(None);
        }
        // Renders that hold the rest of the heap do so until they end; the tiler always has a block of its own.
        let room = room.max(PAGES_PER_BLOCK.into());
        let partial = pages.saturating_sub(1) / room;
        let last = pages - partial * room;
        for _ in 0..last {
            match bound.free.pop_first() {
                Some(index) => scene.pages.push(index),
                None => break,
            }
        }
        scene.partial_renders = u32::try_from(partial).unwrap_or(u32::MAX);
        Ok(Some(scene.partial_renders))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_use_of_the_heap() {
        let stats = |draws, vertices| VertexStats {
            draws,
            vertices,
            ..VertexStats::default()
        };
        assert_eq!(pages_needed(&stats(0, 0), 1), 1);
        assert_eq!(pages_needed(&stats(1, 0), 1024), 1);
        assert_eq!(pages_needed(&stats(1, 1), 1024), 2);
        assert_eq!(pages_needed(&stats(1, 5120), 1), 11);
        assert_eq!(
            pages_needed(&stats(u64::MAX - 1, u64::MAX), u64::MAX),
            u64::MAX / TILER_PAGE + 1
        );
    }
}
