// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every ioctl of the driver's with an argument that is right, and what each field of it is.

use std::io;

use anyhow::Result;

use crate::{
    device::{Bench, Bo, Commands, Device, Guarded, HEAP, PAGE, Vm, bytes},
    uapi::*,
};

/// What a field is.
#[derive(Clone, Copy, PartialEq)]
pub enum Role {
    /// Must be zero but for these bits.
    Reserved(u64),
    /// The kernel writes it and does not read it.
    Output,
    /// Names something that is to exist.
    Handle,
    /// Says something else.
    Value,
}
use Role::{Handle, Output, Reserved, Value};

/// A field: its name, offset, size and role.
pub type Field = (&'static str, usize, usize, Role);

/// An ioctl with an argument that is right.
pub struct Call {
    pub name: &'static str,
    pub request: u32,
    pub arg: Vec<u8>,
    pub fields: &'static [Field],
    /// It destroys what it names.
    pub destroys: bool,
}

fn call<T: Ioctl>(arg: T, fields: &'static [Field]) -> Call {
    Call {
        name: T::NAME,
        request: T::REQUEST,
        arg: bytes(&arg).to_vec(),
        fields,
        destroys: T::NUMBER == VmDestroy::NUMBER || T::NUMBER == QueueDestroy::NUMBER,
    }
}

impl Call {
    /// The same with another value in a field.
    pub fn with(&self, field: &Field, value: u64) -> Vec<u8> {
        let mut arg = self.arg.clone();
        let (_, offset, size, _) = *field;
        arg[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
        arg
    }

    /// Does it with another argument; nothing is written to that.
    pub fn run(&self, device: &Device, arg: &[u8]) -> io::Result<()> {
        self.request(device, self.request, &mut arg.to_vec())
    }

    /// Does it with another request.
    pub fn request(&self, device: &Device, request: u32, arg: &mut Vec<u8>) -> io::Result<()> {
        // The kernel reads and writes as much as the request says.
        let size = (request >> 16 & 0x3fff) as usize;
        if arg.len() < size {
            arg.resize(size, 0);
        }
        // SAFETY: The argument is as large as the request says. The addresses in it are those of what
        // `World` owns, or of nothing, but for those that tests make up, and those they keep alive.
        unsafe { device.raw(request, arg.as_mut_ptr().cast()) }
    }

    pub fn fields(&self, role: fn(Role) -> bool) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| role(field.3))
    }
}

/// What the arguments refer to.
pub struct World<'a> {
    pub vm: &'a Vm<'a>,
    pub bench: Bench<'a>,
    pub bo: Bo<'a>,
    pub commands: Commands,
    pub params: Guarded,
    pub op: Box<BindOp>,
}

impl<'a> World<'a> {
    pub fn new(vm: &'a Vm<'a>) -> Result<Self> {
        let bench = Bench::new(vm)?;
        let bo = vm.device.bo(4 * PAGE, 0, 0)?;
        Ok(Self {
            vm,
            commands: Commands::default().compute(&bench.nothing),
            bench,
            params: Guarded::new(
                &[0; size_of::<Params>()],
                libc::PROT_READ | libc::PROT_WRITE,
            )?,
            op: Box::new(BindOp {
                flags: BIND_READ,
                handle: bo.handle,
                offset: 0,
                range: PAGE,
                addr: HEAP + 0x1000 * PAGE,
            }),
            bo,
        })
    }

    /// Waits until all that was submitted is done, so that nothing is taken from under it.
    pub fn settle(&self) -> Result<()> {
        self.bench.queue.run(&self.commands)
    }

    pub fn calls(&self) -> Result<Vec<Call>> {
        let params = self.vm.device.params()?;
        Ok(vec![
            call(
                GetParams {
                    pointer: self.params.address(),
                    size: size_of::<Params>() as u64,
                    ..Default::default()
                },
                &[
                    ("param_group", 0, 4, Reserved(0)),
                    ("pad", 4, 4, Reserved(0)),
                    ("pointer", 8, 8, Value),
                    ("size", 16, 8, Value),
                ],
            ),
            call(
                GetTime::default(),
                &[
                    ("flags", 0, 8, Reserved(0)),
                    ("gpu_timestamp", 8, 8, Output),
                ],
            ),
            call(
                VmCreate {
                    kernel_start: params.vm_end - params.vm_kernel_min_size,
                    kernel_end: params.vm_end,
                    ..Default::default()
                },
                &[
                    ("kernel_start", 0, 8, Value),
                    ("kernel_end", 8, 8, Value),
                    ("vm_id", 16, 4, Output),
                    ("pad", 20, 4, Reserved(0)),
                ],
            ),
            call(
                VmDestroy {
                    vm_id: self.vm.id,
                    pad: 0,
                },
                &[("vm_id", 0, 4, Handle), ("pad", 4, 4, Reserved(0))],
            ),
            call(
                self.vm.bind_arg(&self.op),
                &[
                    ("vm_id", 0, 4, Handle),
                    ("num_binds", 4, 4, Value),
                    ("stride", 8, 4, Value),
                    ("pad", 12, 4, Reserved(0)),
                    ("userptr", 16, 8, Value),
                ],
            ),
            call(
                GemCreate {
                    size: PAGE,
                    ..Default::default()
                },
                &[
                    ("size", 0, 8, Value),
                    (
                        "flags",
                        8,
                        4,
                        Reserved((GEM_WRITEBACK | GEM_VM_PRIVATE) as u64),
                    ),
                    ("vm_id", 12, 4, Value),
                    ("handle", 16, 4, Output),
                    ("pad", 20, 4, Reserved(0)),
                ],
            ),
            call(
                GemMmapOffset {
                    handle: self.bo.handle,
                    ..Default::default()
                },
                &[
                    ("handle", 0, 4, Handle),
                    ("flags", 4, 4, Reserved(0)),
                    ("offset", 8, 8, Output),
                ],
            ),
            call(
                GemBindObject {
                    op: OBJECT_BIND,
                    flags: OBJECT_TIMESTAMPS,
                    handle: self.bo.handle,
                    range: PAGE,
                    ..Default::default()
                },
                &[
                    ("op", 0, 4, Value),
                    ("flags", 4, 4, Reserved(OBJECT_TIMESTAMPS as u64)),
                    ("handle", 8, 4, Handle),
                    ("vm_id", 12, 4, Reserved(0)),
                    ("offset", 16, 8, Value),
                    ("range", 24, 8, Value),
                    ("object_handle", 32, 4, Output),
                    ("pad", 36, 4, Reserved(0)),
                ],
            ),
            call(
                QueueCreate {
                    vm_id: self.vm.id,
                    priority: PRIORITY_LOW,
                    usc_exec_base: 0x11_0000_0000,
                    ..Default::default()
                },
                &[
                    ("flags", 0, 4, Reserved(0)),
                    ("vm_id", 4, 4, Handle),
                    ("priority", 8, 4, Value),
                    ("queue_id", 12, 4, Output),
                    ("usc_exec_base", 16, 8, Value),
                ],
            ),
            call(
                QueueDestroy {
                    queue_id: self.bench.queue.id,
                    pad: 0,
                },
                &[("queue_id", 0, 4, Handle), ("pad", 4, 4, Reserved(0))],
            ),
            call(
                self.bench.queue.submit_arg(&self.commands.0, 0, &[]),
                &[
                    ("syncs", 0, 8, Value),
                    ("cmdbuf", 8, 8, Value),
                    ("flags", 16, 4, Reserved(0)),
                    ("queue_id", 20, 4, Handle),
                    ("in_sync_count", 24, 4, Value),
                    ("out_sync_count", 28, 4, Value),
                    ("cmdbuf_size", 32, 4, Value),
                    ("pad", 36, 4, Reserved(0)),
                ],
            ),
        ])
    }
}
