// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The GPU.
//!
//! [`Gpu`] holds all that the firmware works with, and is the way to it. It is counted and may
//! outlive the binding of the device, for files may be open for longer; it is then *dead*, which is
//! final, and whatever would speak to the firmware fails with [`ENODEV`].
//!
//! What belongs to the binding is in [`Firmware`](crate::firmware::Firmware).

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::jobqueue::QueueSet,
    new_mutex,
    new_work,
    prelude::*,
    soc::apple::rtkit::Sender,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
    workqueue::{
        impl_has_work,
        Work,
        WorkItem, //
    }, //
};

use crate::{
    alloc::KernelHeaps,
    channel::{
        self,
        DeviceControl,
        FwCtl,
        FwCtlRing,
        Pipe,
        PipeType,
        PIPE_TYPES,
        PRIORITIES, //
    },
    event::{
        EventManager,
        WorkError, //
    },
    fw::{
        abi::Abi,
        channels::{
            ContextRef,
            DeviceControlMsg,
            Event,
            PipeMsg, //
        }, //
    },
    fw_read,
    hw::{
        GpuId,
        HwConfig, //
    },
    initdata::{
        Blobs,
        Channels,
        InitDataTree, //
    },
    mmu::{
        self,
        kernel_va,
        uat::Uat,
        VaSpace, //
    },
    queue::{
        sched::{
            Hardware,
            Line, //
        },
        tiler::{
            GrowRequest,
            TilerSlots, //
        }, //
    },
    regs::SgxDevres,
    rx::RxChannels,
    worker, //
};

mod recovery;

pub(crate) use recovery::Life;

/// The firmware's endpoint for initialisation and notifications.
pub(crate) const EP_FIRMWARE: u8 = 0x20;
/// The firmware's endpoint for doorbells.
pub(crate) const EP_DOORBELL: u8 = 0x21;

/// To [`EP_FIRMWARE`]: here is your initialisation data.
pub(crate) const MSG_INIT: u64 = 0x81 << 48;
/// The bits of its address in the message.
pub(crate) const MSG_INIT_ADDRESS: u64 = (1 << 44) - 1;
/// From [`EP_FIRMWARE`]: look at your channels.
pub(crate) const MSG_RX_DOORBELL: u64 = 0x42 << 48;

/// To [`EP_DOORBELL`]: look at this channel.
pub(crate) const MSG_TX_DOORBELL: u64 = 0x83 << 48;
/// To [`EP_DOORBELL`]: look at the firmware control channel.
pub(crate) const MSG_FWCTL: u64 = 0x84 << 48;

/// Wake up.
pub(crate) const DOORBELL_KICK: u64 = 0x10;
/// The device control channel.
pub(crate) const DOORBELL_DEVCTRL: u64 = 0x11;

/// How much of the firmware's private memory may wait for a flush of its cache, before a worker
/// has it flushed.
const RECLAIM_BYTES: usize = 4 << 20;

/// How much of it may, before a submission waits for that.
const RECLAIM_BYTES_HARD: usize = 64 << 20;

/// Work of the GPU: buffers are to grow.
const WORK_GROW: u64 = 0;
/// Work of the GPU: the firmware's cache is to be flushed.
const WORK_RECLAIM: u64 = 1;

/// What user space may know about the GPU.
pub(crate) struct GpuParams {
    pub(crate) generation: u32,
    pub(crate) variant: u32,
    /// In BCD.
    pub(crate) revision: u32,
    pub(crate) chip_id: u32,
    pub(crate) num_dies: u32,
    pub(crate) num_clusters: u32,
    pub(crate) cores_per_cluster: u32,
    pub(crate) core_masks: [u32; crate::hw::MAX_CLUSTERS],
    pub(crate) max_frequency_khz: u32,
    /// Shaders survive accesses to unmapped memory.
    pub(crate) soft_faults: bool,
}

/// Asks the firmware to look at a work queue.
#[derive(Clone, Copy)]
pub(crate) struct RunMsg {
    /// Address of the queue's `QueueInfo`.
    pub(crate) queue_info: u64,
    /// The queue's write pointer.
    pub(crate) wptr: u32,
    /// The event slot of the queue.
    pub(crate) event_slot: u32,
    /// The firmware has not seen the queue since it got its event slot.
    pub(crate) is_new: bool,
}

/// The GPU.
#[pin_data]
pub(crate) struct Gpu {
    dev: ARef<Device>,
    hw: &'static HwConfig,
    abi: &'static Abi,
    params: GpuParams,
    next_id: Atomic<u32>,
    dead: AtomicFlag,
    sender: SetOnce<Arc<Sender>>,
    /// By priority and, for each, by kind.
    pipes: KVec<Arc<Pipe>>,
    device_control: Arc<DeviceControl>,
    #[pin]
    fwctl_ring: Mutex<Option<FwCtlRing>>,
    #[pin]
    rx: Mutex<RxChannels>,
    /// Serialises flushes of the firmware's cache for the heaps' sake.
    #[pin]
    flush: Mutex<()>,
    /// Serialises asking the firmware whether it is alive.
    #[pin]
    check: Mutex<()>,
    #[pin]
    grow: Work<Self, WORK_GROW>,
    #[pin]
    reclaim: Work<Self, WORK_RECLAIM>,
    /// How many halts of the firmware have been dealt with.
    halts: Atomic<u32>,
    /// How many of them were not told in time.
    odd_halts: Atomic<u32>,
    /// All queues that have work.
    queues: Arc<QueueSet<Hardware>>,
    /// Queues that wait for a slot for their address space.
    vm_line: Arc<Line>,
    tiler_slots: Arc<TilerSlots>,
    events: Arc<EventManager>,
    initdata: InitDataTree,
    timestamps: Arc<VaSpace>,
    rtkit_buffers: Arc<VaSpace>,
    heaps: KernelHeaps,
    uat: Uat,
}

impl_has_work! {
    impl HasWork<Self, WORK_GROW> for Gpu { self.grow }
    impl HasWork<Self, WORK_RECLAIM> for Gpu { self.reclaim }
}

impl WorkItem<WORK_GROW> for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while let Some((request, owner)) = this.tiler_slots.next_request() {
            owner.grow(&this, request.vm_slot, request.slot, request.counter);
        }
    }
}

impl WorkItem<WORK_RECLAIM> for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // If it fails, the memory waits for the next time.
        let _ = this.destroy_context(ContextRef::NONE);
    }
}

/// One submission that is under way. The GPU stays powered as long as there is one.
pub(crate) struct OpGuard {
    gpu: Arc<Gpu>,
}

impl Gpu {
    /// Makes all that the firmware needs, without starting it.
    pub(crate) fn new(
        dev: &Device<Bound>,
        hw: &'static HwConfig,
        abi: &'static Abi,
        id: &GpuId,
    ) -> Result<Arc<Self>> {
        let blobs = Blobs::load(dev, abi)?;
        let uat = Uat::new(dev, hw.uat_oas)?;
        let heaps = KernelHeaps::new(uat.kernel())?;
        let events = EventManager::new(&heaps, Line::new()?)?;
        let vm_line = Line::new()?;
        uat.set_slot_listener(vm_line.clone());
        let rx = RxChannels::new(&heaps)?;
        let fwctl = FwCtlRing::new_fwctl(&heaps)?;
        let device_control = DeviceControl::new(&heaps)?;
        let mut pipes = KVec::with_capacity(PRIORITIES * PIPE_TYPES, GFP_KERNEL)?;

        for priority in 0..PRIORITIES {
            for kind in [PipeType::Vertex, PipeType::Fragment, PipeType::Compute] {
                pipes.push(Pipe::new(&heaps, kind, priority)?, GFP_KERNEL)?;
            }
        }

        let initdata = InitDataTree::new(
            dev,
            hw,
            abi,
            &uat,
            &heaps,
            &blobs,
            &Channels {
                pipes: &pipes,
                device_control: &device_control,
                fwctl: &fwctl,
                rx: &rx,
            },
        )?;
        let params = GpuParams {
            generation: hw.generation as u32,
            variant: hw.variant.into(),
            revision: id.revision,
            chip_id: hw.chip_id,
            num_dies: hw.num_dies,
            num_clusters: id.clusters,
            cores_per_cluster: id.cores,
            core_masks: id.core_masks,
            max_frequency_khz: initdata.max_frequency_khz(abi).inspect_err(|_| {
                dev_err!(
                    dev,
                    "the bootloader's hw-cal-b has no valid performance states\n"
                );
            })?,
            soft_faults: InitDataTree::soft_faults(),
        };

        Arc::pin_init(
            try_pin_init!(Self {
                dev: dev.into(),
                hw,
                abi,
                params,
                next_id: Atomic::new(1),
                dead: AtomicFlag::new(false),
                sender: SetOnce::new(),
                pipes,
                device_control,
                fwctl_ring <- new_mutex!(Some(fwctl)),
                rx <- new_mutex!(rx),
                flush <- new_mutex!(()),
                check <- new_mutex!(()),
                grow <- new_work!("asahi::Gpu::grow"),
                reclaim <- new_work!("asahi::Gpu::reclaim"),
                halts: Atomic::new(0),
                odd_halts: Atomic::new(0),
                queues: QueueSet::new()?,
                vm_line,
                tiler_slots: TilerSlots::new(Line::new()?)?,
                events,
                initdata,
                timestamps: VaSpace::new(kernel_va::TIMESTAMP)?,
                rtkit_buffers: VaSpace::new(kernel_va::RTKIT)?,
                heaps,
                uat,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The device, for messages.
    pub(crate) fn dev(&self) -> &Device {
        &self.dev
    }

    /// The chip.
    pub(crate) fn hw(&self) -> &'static HwConfig {
        self.hw
    }

    /// What user space may know.
    pub(crate) fn params(&self) -> &GpuParams {
        &self.params
    }

    /// The heaps of the kernel half.
    pub(crate) fn heaps(&self) -> &KernelHeaps {
        &self.heaps
    }

    /// The event slots.
    pub(crate) fn events(&self) -> &Arc<EventManager> {
        &self.events
    }

    /// All queues that have work.
    pub(crate) fn queues(&self) -> &Arc<QueueSet<Hardware>> {
        &self.queues
    }

    /// Who waits for a slot for an address space.
    pub(crate) fn vm_line(&self) -> &Line {
        &self.vm_line
    }

    /// The slots for tiler buffers.
    pub(crate) fn tiler_slots(&self) -> &Arc<TilerSlots> {
        &self.tiler_slots
    }

    /// The MMU.
    pub(crate) fn uat(&self) -> &Uat {
        &self.uat
    }

    /// The kernel half.
    pub(crate) fn kernel_vm(&self) -> &Arc<mmu::Vm> {
        self.uat.kernel()
    }

    /// Makes an address space for user space.
    pub(crate) fn new_vm(&self) -> Result<Arc<mmu::Vm>> {
        self.uat.new_vm()
    }

    /// Where timestamp buffers of user space go in the kernel half.
    pub(crate) fn timestamp_vas(&self) -> &Arc<VaSpace> {
        &self.timestamps
    }

    /// Where buffers of RTKit go in the kernel half.
    pub(crate) fn rtkit_vas(&self) -> &Arc<VaSpace> {
        &self.rtkit_buffers
    }

    /// The address of the statistics of vertex work.
    pub(crate) fn stats_vertex_va(&self) -> u64 {
        self.initdata.stats_vertex_va()
    }

    /// The address of the statistics of fragment work.
    pub(crate) fn stats_fragment_va(&self) -> u64 {
        self.initdata.stats_fragment_va()
    }

    /// The address of the statistics of compute work.
    pub(crate) fn stats_comp_va(&self) -> u64 {
        self.initdata.stats_compute_va()
    }

    /// A number that was not there before.
    pub(crate) fn next_id(&self) -> u32 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// The GPU has crashed or is not bound any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Fails with [`ENODEV`] if the GPU is dead.
    pub(crate) fn check_alive(&self) -> Result {
        if self.is_dead() {
            Err(ENODEV)
        } else {
            Ok(())
        }
    }

    fn sender(&self) -> Result<&Sender> {
        self.check_alive()?;
        Ok(self.sender.as_ref().ok_or(ENODEV)?)
    }

    /// Sets how the firmware is reached. Done once.
    pub(crate) fn connect(&self, sender: Arc<Sender>) -> Result {
        let ring = self.fwctl_ring.lock().take().ok_or(EBUSY)?;
        let fwctl = FwCtl::new(self.dev.clone(), sender.clone(), ring)?;

        self.uat.set_flusher(fwctl);
        self.sender.populate(sender);
        Ok(())
    }

    /// Gives a firmware that has booted its initialisation data, and waits until it is ready.
    pub(crate) fn initialize(&self) -> Result {
        let sender = self.sender()?;

        self.device_control
            .put(&self.dev, sender, DeviceControlMsg::initialize(self.abi))?;
        sender.send(
            EP_FIRMWARE,
            MSG_INIT | (self.initdata.gpu_va() & MSG_INIT_ADDRESS),
        )?;
        self.device_control.ring(sender)?;
        channel::kick(sender)?;
        self.device_control.wait_empty(&self.dev, sender)
    }

    /// The GPU is gone. Everything that is under way fails, and nothing is accepted any more.
    pub(crate) fn kill(&self) {
        if self.dead.xchg(true, Full) {
            return;
        }
        self.uat.close();
        self.queues.kill(ENODEV);
    }

    /// The firmware has crashed, or does not answer any more.
    pub(crate) fn abandon(&self) {
        self.uat.abandon();
        self.kill();
    }

    /// Begins a submission: the GPU is woken, and stays awake until the guard is dropped.
    pub(crate) fn start_op(self: &Arc<Self>) -> Result<OpGuard> {
        let sender = self.sender()?;

        let before = self.pending_submissions()?.fetch_add(1, Full);

        // From here on dropping the guard undoes it.
        let guard = OpGuard { gpu: self.clone() };

        // While there are others, it does not go to sleep.
        if before == 0 {
            channel::kick(sender)?;
        }
        Ok(guard)
    }

    fn pending_submissions(&self) -> Result<&Atomic<u32>> {
        self.initdata
            .globals
            .atomic(self.abi.globals.pending_submissions)
    }

    /// Tells the firmware about work in a queue.
    ///
    /// This allocates nothing. If the channel is full, it waits for the firmware, for a second at
    /// most.
    pub(crate) fn run(&self, kind: PipeType, priority: usize, msg: &RunMsg) -> Result {
        let sender = self.sender()?;
        let pipe = priority
            .checked_mul(PIPE_TYPES)
            .and_then(|index| self.pipes.get(index + kind as usize))
            .ok_or(EINVAL)?;

        pipe.send(
            &self.dev,
            sender,
            PipeMsg {
                pipe_type: kind as u32,
                queue_info: msg.queue_info.into(),
                wptr: msg.wptr,
                event_slot: msg.event_slot,
                is_new: msg.is_new.into(),
                ..Default::default()
            },
        )
    }

    /// Makes the firmware forget a context, whose memory may be freed afterwards.
    ///
    /// This waits for the firmware. A dead firmware has forgotten everything.
    pub(crate) fn destroy_context(&self, context: ContextRef) -> Result {
        let Ok(sender) = self.sender() else {
            return Ok(());
        };
        let _guard = self.flush.lock();

        // Who has waited for the lock need not wait for a dead firmware, too.
        if self.is_dead() {
            return Ok(());
        }
        // The firmware flushes its cache as well, so memory can be freed that waits for that.
        self.heaps.begin_flush();
        let ret = self.device_control.send(
            &self.dev,
            sender,
            DeviceControlMsg::destroy_context(self.abi, context),
        );
        self.heaps.end_flush(ret.is_ok());
        ret
    }

    /// Has the firmware flush its cache.
    pub(crate) fn flush_firmware(&self) -> Result {
        self.destroy_context(ContextRef::NONE)
    }

    /// Has the firmware's cache flushed if much memory waits for that.
    ///
    /// That is usually left to a worker, so that submissions do not wait for the firmware. Only if
    /// the worker does not keep up, they do.
    pub(crate) fn reclaim(self: &Arc<Self>) {
        let dead = self.heaps.dead_bytes();

        if dead > RECLAIM_BYTES_HARD {
            let _ = self.destroy_context(ContextRef::NONE);
        } else if dead > RECLAIM_BYTES {
            // It is fine if it is on its way already.
            let _ = worker::cleanup().enqueue::<_, WORK_RECLAIM>(self.clone());
        }
    }

    /// Sends a message to the firmware without waiting for anything but room in the channel.
    pub(crate) fn post(&self, msg: DeviceControlMsg) -> Result {
        self.device_control.post(&self.dev, self.sender()?, msg)
    }

    /// Looks at what the firmware has written to its channels.
    pub(crate) fn poll(self: &Arc<Self>, dev: &Device<Bound>, sgx: &SgxDevres) {
        self.rx.lock().poll(dev, |event| match event {
            Event::Flag { slots } => {
                for (word, bits) in slots.into_iter().enumerate() {
                    for bit in (0..u32::BITS).filter(|bit| bits & (1 << bit) != 0) {
                        // CAST: There are four words.
                        self.events.signal(word as u32 * u32::BITS + bit);
                    }
                }
            }
            Event::Fault => {
                dev_err!(dev, "GPU fault\n");
                self.fail_pending(None, self.fault(dev, sgx).unwrap_or(WorkError::Unknown));
                self.resume();
            }
            Event::Timeout { counter, .. } if self.is_past_halt(counter) => {
                dev_dbg!(dev, "GPU timeout {} was dealt with\n", counter)
            }
            Event::Timeout { counter, slot } => {
                dev_err!(dev, "GPU timeout {} of event slot {}\n", counter, slot);
                self.fail_pending(
                    Some(slot),
                    self.fault(dev, sgx).unwrap_or(WorkError::Timeout),
                );
                self.resume();
            }
            Event::ChannelError {
                kind,
                pipe,
                slot,
                value,
            } => {
                let error = WorkError::ChannelError(kind);

                dev_err!(
                    dev,
                    "GPU {} of pipe {}: event slot {} fails up to stamp {:#x}\n",
                    error,
                    pipe,
                    slot,
                    value
                );
                self.channel_error(error, slot, value);
            }
            Event::GrowTvb {
                vm_slot,
                buffer_slot,
                counter,
            } => self.grow_tiler_buffer(GrowRequest {
                vm_slot,
                slot: buffer_slot,
                counter,
            }),
            Event::Unknown(kind) => {
                dev_warn!(dev, "the firmware sent an unknown event {:#x}\n", kind)
            }
        });
    }

    /// The firmware wants a tiler buffer to grow. A worker sees to that.
    fn grow_tiler_buffer(self: &Arc<Self>, request: GrowRequest) {
        if self.tiler_slots.request(request) {
            // It is fine if it is on its way already.
            let _ = worker::queue().enqueue::<_, WORK_GROW>(self.clone());
        } else {
            dev_err!(
                self.dev,
                "the firmware wants the tiler buffer {} to grow, which is not in use\n",
                request.slot
            );
        }
    }

    /// Lets the firmware go on with a render for which a tiler's heap was too small, whether it has
    /// grown or not.
    pub(crate) fn acknowledge_growth(&self, vm_slot: u32, buffer_slot: u32, counter: u32) {
        let halts = fw_read!(self.initdata.fw_status, .halt_count);
        let msg = DeviceControlMsg::grow_tvb_ack(self.abi, buffer_slot, vm_slot, counter, halts);

        if self.post(msg).is_err() {
            dev_err!(
                self.dev,
                "cannot let the render with tiler heap {} go on\n",
                buffer_slot
            );
        }
    }
}

impl Drop for OpGuard {
    fn drop(&mut self) {
        // A dead GPU is not to be switched off under what it may still be doing, before the
        // firmware is stopped.
        if self.gpu.is_dead() {
            return;
        }
        if let Ok(pending) = self.gpu.pending_submissions() {
            pending.fetch_sub(1, Full);
        }
    }
}
