// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work queues: what the driver hands over with a run message, and the ring of commands behind it.

use vagx_uat::CONTEXTS;

use crate::layout::Abi;
use crate::layout::queue::GPU_BUF_SIZE;
use crate::mem::{FwMem, Place, Record, Refused, Result, Sharing, place};

/// The kinds of work there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pipe {
    Vertex,
    Fragment,
    Compute,
}

impl Pipe {
    pub(crate) fn from_type(number: u32) -> Option<Pipe> {
        match number {
            0 => Some(Pipe::Vertex),
            1 => Some(Pipe::Fragment),
            2 => Some(Pipe::Compute),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pipe::Vertex => "vertex",
            Pipe::Fragment => "fragment",
            Pipe::Compute => "compute",
        }
    }
}

/// Event slots that exist.
pub(crate) const EVENT_SLOTS: u32 = 128;
/// A ring longer than this is not one that a driver makes.
const MAX_RING: u32 = 0x10000;

/// A run message, checked on its own.
pub(crate) struct RunMessage {
    pub pipe: Pipe,
    pub work_queue: u64,
    pub wptr: u32,
    pub event_slot: u32,
    pub is_new: bool,
    pub place: Place,
}

impl RunMessage {
    pub(crate) fn parse(abi: &Abi, pipe: Pipe, message: &Record) -> Result<RunMessage> {
        let l = &abi.run_work_queue;
        message.expect(
            l.pipe_type,
            pipe.number().into(),
            "the pipe of this channel",
        )?;
        let event_slot = message.get32(l.event_slot);
        if event_slot >= EVENT_SLOTS {
            return Err(
                message.complain(l.event_slot, format!("there are {EVENT_SLOTS} event slots"))
            );
        }
        if message.get(l.is_new) > 1 {
            return Err(message.complain(l.is_new, "neither 0 nor 1"));
        }
        Ok(RunMessage {
            pipe,
            work_queue: message.get(l.work_queue),
            wptr: message.get32(l.wptr),
            event_slot,
            is_new: message.get(l.is_new) == 1,
            place: message.place(l.work_queue),
        })
    }
}

/// A work queue that the firmware knows.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Address of its QueueInfo, by which it is known.
    pub info: u64,
    pub pipe: Pipe,
    /// Number of the channel's priority; 0 is the most urgent.
    pub priority: u32,
    /// The priority in QueueInfo. The commands of a queue make room for those of one with a smaller number; so those of
    /// a queue that says 0 run to their end.
    pub rank: u32,
    pub state: u64,
    pub ring: u64,
    pub rb_size: u32,
    pub gpu_context: u64,
    pub uuid: u32,
    pub event_slot: u32,
    /// Next command to run.
    pub rptr: u32,
    /// Where the driver's last run message ended.
    pub wptr: u32,
    /// A channel error stopped it until the driver recovers it.
    pub stopped: bool,
    /// When it last got its turn, for fairness.
    pub served: u64,
}

impl Queue {
    /// Reads and checks a queue that is new to the firmware.
    pub(crate) fn open(
        mem: &FwMem,
        abi: &Abi,
        priority: u32,
        message: &RunMessage,
    ) -> Result<Queue> {
        let l = &abi.queue_info;
        let va = message.work_queue;
        mem.check_rw(message.place, va, l.shape.size.into())?;
        let info = mem.record(message.place, l.shape, va)?;
        info.show("queues", l);
        let state =
            info.pointer_rw(l.state, abi.ring_state.shape.size.into(), Sharing::Coherent)?;
        let ring_state = info.follow(l.state, abi.ring_state.shape)?;
        let r = &abi.ring_state;
        ring_state.show("queues", r);
        let rb_size = ring_state.get32(r.rb_size);
        if !(2..=MAX_RING).contains(&rb_size) {
            return Err(ring_state.complain(r.rb_size, "not a plausible number of commands"));
        }
        let ring = info.pointer_ro(l.ring, u64::from(rb_size) * 8)?;
        info.pointer_rw(l.gpu_buf, GPU_BUF_SIZE, Sharing::Private)?;
        check_notifier_list(abi, &info)?;
        let gpu_context = check_context(abi, &info)?;
        for field in [l.busy, l.has_commands, l.inflight_commands] {
            let _ = info.expect(field, 0, "a new queue has not run anything");
        }
        for field in [r.gpu_doneptr, r.gpu_rptr] {
            let why = "a new queue has not run anything, and only the firmware moves this index";
            let _ = ring_state.expect(field, 0, why);
        }
        if info.get32(l.priority) > 3 {
            info.complain(l.priority, "there are four priorities");
        }
        Ok(Queue {
            info: va,
            pipe: message.pipe,
            priority,
            rank: info.get32(l.priority),
            state,
            ring,
            rb_size,
            gpu_context,
            uuid: info.get32(l.uuid),
            event_slot: message.event_slot,
            rptr: 0,
            wptr: 0,
            stopped: false,
            served: 0,
        })
    }

    /// Takes over the new write index of a run message.
    pub(crate) fn extend(&mut self, mem: &FwMem, abi: &Abi, message: &RunMessage) -> Result<()> {
        let r = &abi.ring_state;
        let wptr_place = Place {
            structure: abi.run_work_queue.shape.name,
            field: abi.run_work_queue.wptr.name,
            offset: abi.run_work_queue.wptr.offset.into(),
            address: message.place.address,
        };
        if message.wptr >= self.rb_size {
            let why = format!("the queue's ring has {:#x} entries", self.rb_size);
            return Err(mem.complain(wptr_place, message.wptr.into(), why));
        }
        if self.ahead(message.wptr) < self.ahead(self.wptr) {
            let why = format!(
                "behind the {:#x} of an earlier message, and the queue is at {:#x}",
                self.wptr, self.rptr
            );
            return Err(mem.complain(wptr_place, message.wptr.into(), why));
        }
        let cpu = mem.load(r.shape, self.state, r.cpu_wptr)?;
        if cpu >= self.rb_size || self.ahead(cpu) < self.ahead(message.wptr) {
            let why = format!(
                "the run message says {:#x}, and the commands up to there must be in the ring",
                message.wptr
            );
            return Err(mem.complain(place(r.shape, self.state, r.cpu_wptr), cpu.into(), why));
        }
        if self.waiting() == 0 {
            self.event_slot = message.event_slot;
        } else if self.event_slot != message.event_slot {
            let l = &abi.run_work_queue;
            let at = Place {
                field: l.event_slot.name,
                offset: l.event_slot.offset.into(),
                ..wptr_place
            };
            let why = format!(
                "commands submitted with event slot {} still wait",
                self.event_slot
            );
            mem.complain(at, message.event_slot.into(), why);
            self.event_slot = message.event_slot;
        }
        self.wptr = message.wptr;
        Ok(())
    }

    /// How far an index is in front of the next command to run.
    fn ahead(&self, index: u32) -> u32 {
        (index + self.rb_size - self.rptr) % self.rb_size
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.ahead(self.wptr)
    }

    /// The place in the ring of the next command, and the command's address.
    pub(crate) fn head(&self, mem: &FwMem) -> Result<(Place, u64)> {
        let offset = u64::from(self.rptr) * 8;
        let place = Place {
            structure: "work queue ring",
            field: "command",
            offset,
            address: self.ring.wrapping_add(offset),
        };
        let mut word = [0; 8];
        mem.read(place, place.address, &mut word)?;
        Ok((place, u64::from_le_bytes(word)))
    }

    /// Row of this queue in the trace.
    pub(crate) fn track(&self) -> String {
        format!("queue {} {}", self.uuid, self.pipe.name())
    }

    /// The next command has been taken from the ring. The driver may look at this index to see how far the firmware is.
    pub(crate) fn fetched(&mut self, mem: &FwMem, abi: &Abi) -> Result<()> {
        let (l, r) = (&abi.queue_info, &abi.ring_state);
        self.rptr = (self.rptr + 1) % self.rb_size;
        mem.store(r.shape, self.state, r.gpu_rptr, self.rptr)?;
        for field in [l.gpu_rptr1, l.gpu_rptr2, l.gpu_rptr3] {
            mem.store(l.shape, self.info, field, self.rptr)?;
        }
        mem.store(l.shape, self.info, l.event_id, self.event_slot)?;
        mem.store(l.shape, self.info, l.busy, 1)?;
        mem.store(
            l.shape,
            self.info,
            l.has_commands,
            u32::from(self.waiting() != 0),
        )?;
        mem.store(l.shape, self.info, l.inflight_commands, 1)
    }

    /// The command that was fetched is over; its place in the ring and its memory may be used again once its stamp
    /// is written.
    pub(crate) fn done(&self, mem: &FwMem, abi: &Abi) -> Result<()> {
        let (l, r) = (&abi.queue_info, &abi.ring_state);
        mem.store(l.shape, self.info, l.busy, 0)?;
        mem.store(l.shape, self.info, l.inflight_commands, 0)?;
        mem.store(r.shape, self.state, r.gpu_doneptr, self.rptr)
    }
}

/// An empty list names itself as its last element.
fn check_notifier_list(abi: &Abi, info: &Record) -> Result<()> {
    let l = &abi.notifier_list;
    let field = abi.queue_info.notifier_list;
    let va = info.pointer_rw(field, l.shape.size.into(), Sharing::Private)?;
    let list = info.follow(field, l.shape)?;
    // Another queue of the same client may have put notifiers into it.
    if list.get(l.prev) == 0 {
        let _ = list.expect(l.next, va, "an empty list names itself as its last element");
    }
    Ok(())
}

fn check_context(abi: &Abi, info: &Record) -> Result<u64> {
    let l = &abi.gpu_context;
    let field = abi.queue_info.gpu_context;
    let va = info.pointer_rw(field, l.shape.size.into(), Sharing::Private)?;
    let data = info.follow(field, l.shape)?;
    let _ = data.expect(l.unk_5, 1, "its value in every known set-up");
    let _ = data.expect(l.unk_1e, 0xff, "its value in every known set-up");
    let _ = data.expect(l.ctx_23, 2, "its value in every known set-up");
    Ok(va)
}

/// Checks a context number that a command names.
pub(crate) fn check_slot(mem: &FwMem, record: &Record, field: crate::layout::Field) -> Result<u8> {
    let slot = record.get(field);
    let number = u8::try_from(slot)
        .ok()
        .filter(|s| (1..CONTEXTS).contains(s))
        .ok_or_else(|| record.complain(field, "not the number of a user context (1 to 63)"))?;
    let base = mem.uat().ttbrs(number).map(|t| t[0]);
    if !base.is_some_and(|t| t.valid()) {
        return Err(record.complain(field, "this context has no page table in the TTBAT"));
    }
    if base.is_some_and(|t| u64::from(t.asid()) != slot) {
        record.complain(
            field,
            format!("its entry in the TTBAT carries another ASID: {base:x?}"),
        );
    }
    Ok(number)
}

/// Whether `value` has reached `want`; stamps wrap around.
pub(crate) fn reached(value: u32, want: u32) -> bool {
    value.wrapping_sub(want) as i32 >= 0
}

/// A barrier, checked.
pub(crate) struct Barrier {
    pub stamp: u64,
    pub value: u32,
    pub slot: u32,
    pub place: Place,
}

impl Barrier {
    pub(crate) fn parse(mem: &FwMem, abi: &Abi, at: Place, va: u64) -> Result<Barrier> {
        let l = &abi.barrier;
        let record = mem.record(at, l.shape, va)?;
        let stamp = record.pointer_rw(l.wait_stamp, 4, Sharing::Private)?;
        let slot = record.get32(l.wait_slot);
        if slot >= EVENT_SLOTS {
            return Err(
                record.complain(l.wait_slot, format!("there are {EVENT_SLOTS} event slots"))
            );
        }
        Ok(Barrier {
            stamp,
            value: record.get32(l.wait_value),
            slot,
            place: record.place(l.wait_stamp),
        })
    }

    pub(crate) fn open(&self, mem: &FwMem) -> Result<bool> {
        Ok(reached(mem.read_u32(self.place, self.stamp)?, self.value))
    }
}

/// A command that this queue cannot run; says why.
pub(crate) fn unsupported(mem: &FwMem, at: Place, magic: u32) -> Refused {
    use crate::layout::queue::command as c;
    let name = match magic {
        c::RUN_VERTEX => "RunVertex belongs into a vertex queue",
        c::RUN_FRAGMENT => "RunFragment belongs into a fragment queue",
        c::RUN_COMPUTE => "RunCompute belongs into a compute queue",
        c::INIT_BUFFER => "InitBuffer belongs into a vertex queue",
        c::RUN_BLITTER => "RunBlitter (the blitter is not modelled)",
        _ => "not a known command",
    };
    mem.complain(at, magic.into(), format!("unsupported command: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_wrap_around() {
        assert!(reached(0x100, 0x100));
        assert!(reached(0x200, 0x100));
        assert!(!reached(0x100, 0x200));
        assert!(reached(0x100, 0xffff_ff00));
        assert!(!reached(0xffff_ff00, 0x100));
    }
}
