// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a vertex command gets its memory: what there is, what the driver adds, and else partial renders.

use std::time::Duration;

use vagx_gpu::VertexStats;

use super::{BufferUse, Buffers, Key, State, list};
use crate::command::Context;
use crate::layout::buffer::{BUFFER_SLOTS, PAGES_PER_BLOCK, TILER_PAGE};
use crate::log::Event;
use crate::mem::{Record, Refused, Result};
use crate::state::Core;
use crate::vertex::VertexWork;

/// How often a vertex command that waits for the driver looks whether it shall end.
const TICK: Duration = Duration::from_millis(2);
/// Answers that are still to come; a driver that never answers must not fill the memory.
const MOST_ABANDONED: usize = 1024;

/// A wish for a larger heap.
pub(super) struct Request {
    vm_slot: u8,
    counter: u32,
    answered: bool,
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
            let counter = state.next_counter();
            let request = Request {
                vm_slot: using.vm_slot,
                counter,
                answered: false,
            };
            state.requests.insert(using.slot, request);
            counter
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
                let mut state = self.state();
                state.requests.remove(&using.slot);
                state.abandon(using.slot, counter);
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

    /// Asks for a larger heap in a slot that has none, which a driver has to stand.
    pub(crate) fn ask_oddly(&self, core: &Core) {
        let buffer_slot = BUFFER_SLOTS - 1;
        let counter = {
            let mut state = self.state();
            let counter = state.next_counter();
            state.abandon(buffer_slot, counter);
            counter
        };
        core.event(Event::GrowTvb {
            vm_slot: u8::MAX.into(),
            buffer_slot,
            counter,
        });
    }

    /// The driver has answered to a wish for a larger heap.
    pub(crate) fn answer(&self, core: &Core, message: &Record) -> Result<()> {
        let l = &core.cfg.abi.grow_tvb_ack;
        let message = Record::from_bytes(&core.mem, l.shape, message.base, message.bytes());
        let _ = message.expect(l.unk_4, 1, "its value in every known set-up");
        let (slot, counter) = (message.get32(l.buffer_slot), message.get32(l.counter));
        let mut state = self.state();
        if state.abandoned.remove(&(slot, counter)) {
            return Ok(());
        }
        let Some(request) = state.requests.get_mut(&slot) else {
            let why = "no growth of the buffer in this slot was asked for";
            return Err(message.complain(l.buffer_slot, why));
        };
        let same = "the same as in the GrowTVB event";
        message.expect(l.vm_slot, request.vm_slot.into(), same)?;
        message.expect(l.counter, request.counter.into(), same)?;
        request.answered = true;
        drop(state);
        self.answered.notify_all();
        Ok(())
    }
}

impl State {
    fn next_counter(&mut self) -> u32 {
        self.counter = self.counter.wrapping_add(1);
        self.counter
    }

    /// Nobody waits for the answer to this wish any more.
    fn abandon(&mut self, slot: u32, counter: u32) {
        if self.abandoned.len() < MOST_ABANDONED {
            self.abandoned.insert((slot, counter));
        }
    }

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
