// SPDX-License-Identifier: MIT OR Apache-2.0

//! A machine without a guest: RAM with page tables, and a driver that does the least that the firmware wants.
//!
//! Offsets are written out here once more, from m1n1's definitions for G13 and 13.5, so that a wrong table in the model
//! does not go unnoticed.

mod driver;
mod render;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub use driver::{Driver, Job, WorkQueue};
pub use render::{Render, RenderQueue, TILER_HEAP};
use vagx_fw::{
    ComputeJob, ContextMemory, Engine, FaultInfo, FaultUnit, Firmware, FwConfig, Geometry,
    GpuEngine, JobControl, JobError, JobStats, Port, RenderJob, Rendered, VertexJob,
};
use vagx_trace::Trace;
use vagx_uat::{PAGE_SIZE, PhysMem, Uat, VecMem};

pub const RAM: u64 = 0x8_0000_0000;
const RAM_SIZE: usize = 64 << 20;
pub const TTBAT: u64 = RAM;
pub const HANDOFF: u64 = RAM + PAGE_SIZE;
const FIRST_FREE: u64 = RAM + 2 * PAGE_SIZE;

/// Attribute, AP, UXN, PXN as the driver would choose them.
#[derive(Clone, Copy)]
pub struct Prot(pub u64);

const fn prot(attr: u64, ap: u64, uxn: u64, pxn: u64) -> Prot {
    Prot(1 << 55 | uxn << 54 | pxn << 53 | 1 << 10 | ap << 6 | attr << 2 | 3)
}

pub const FW_CACHED: Prot = prot(0, 1, 1, 0);
pub const FW_SHARED: Prot = prot(2, 1, 1, 0);
pub const FW_DEVICE: Prot = prot(1, 1, 1, 0);
pub const GPU_FW_SHARED: Prot = prot(2, 0, 1, 1);
pub const USER_RW: Prot = prot(2, 2, 1, 0);
/// In a client's half: for the GPU and for the firmware.
pub const USER_FW: Prot = prot(0, 0, 1, 1);

/// Physical pages and the tables over them.
pub struct Memory {
    pub ram: Arc<VecMem>,
    next: AtomicU64,
}

impl Memory {
    pub fn new() -> Self {
        Memory {
            ram: Arc::new(VecMem::new(RAM, RAM_SIZE)),
            next: AtomicU64::new(FIRST_FREE),
        }
    }

    pub fn pages(&self, count: u64) -> u64 {
        let pa = self.next.fetch_add(count * PAGE_SIZE, Ordering::Relaxed);
        assert!(pa + count * PAGE_SIZE <= RAM + RAM_SIZE as u64);
        pa
    }

    pub fn r64(&self, pa: u64) -> u64 {
        self.ram.read_u64(pa).unwrap()
    }

    pub fn w64(&self, pa: u64, v: u64) {
        self.ram.write_u64(pa, v).unwrap();
    }

    /// The leaf entry's physical address.
    pub fn leaf(&self, ctx: u8, va: u64) -> u64 {
        let half = va >> 39 & 1;
        let root = TTBAT + u64::from(ctx) * 16 + half * 8;
        if self.r64(root) == 0 {
            let asid = u64::from(ctx) << 48;
            self.w64(root, self.pages(1) | asid | 1);
        }
        let mut table = self.r64(root) & 0xffff_ffff_c000;
        for shift in [36, 25] {
            let mask = if shift == 36 { 7 } else { 2047 };
            let entry = table + (va >> shift & mask) * 8;
            if self.r64(entry) == 0 {
                self.w64(entry, self.pages(1) | 3);
            }
            table = self.r64(entry) & 0xffff_ffff_c000;
        }
        table + (va >> 14 & 2047) * 8
    }

    pub fn map(&self, ctx: u8, va: u64, pa: u64, len: u64, prot: Prot) {
        let mut done = 0;
        while done < len {
            self.w64(self.leaf(ctx, va + done), (pa + done) | prot.0);
            done += PAGE_SIZE;
        }
    }

    /// Fresh memory at `va`.
    pub fn back(&self, ctx: u8, va: u64, len: u64, prot: Prot) -> u64 {
        let len = len.next_multiple_of(PAGE_SIZE);
        let pa = self.pages(len / PAGE_SIZE);
        self.map(ctx, va, pa, len, prot);
        pa
    }
}

/// What the firmware did to the outside.
#[derive(Default)]
pub struct Outside {
    pub polls: AtomicU64,
    pub syslog: Mutex<Vec<String>>,
    pub crash: Mutex<Option<String>>,
    pub fault: Mutex<FaultInfo>,
    pub faults: Mutex<Vec<FaultInfo>>,
    /// How long the AP's mailbox keeps the firmware waiting.
    pub slow: Mutex<Duration>,
    changed: Condvar,
}

impl Port for Outside {
    fn send(&self, ep: u8, msg: u64) {
        assert_eq!((ep, msg), (0x20, 0x42 << 48));
        self.polls.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_all();
        let slow = *self.slow.lock().unwrap();
        std::thread::sleep(slow);
    }
    fn syslog(&self, line: &str) {
        self.syslog.lock().unwrap().push(line.into());
    }
    fn crash(&self, why: &str) {
        *self.crash.lock().unwrap() = Some(why.into());
    }
    fn fault_regs(&self, info: FaultInfo) {
        *self.fault.lock().unwrap() = info;
        self.faults.lock().unwrap().push(info);
    }
    fn now_ticks(&self) -> u64 {
        24_000_000
    }
}

/// A GPU that notes its jobs and writes a word to the address that stands in the control stream.
#[derive(Default)]
pub struct FakeGpu {
    pub jobs: Mutex<Vec<ComputeJob>>,
    pub soft_faults: AtomicBool,
    pub renders: Mutex<Vec<RenderJob>>,
    /// Jobs wait until this is set, or they are cancelled.
    pub gate: Mutex<Option<Arc<AtomicBool>>>,
    /// If there is one here, only the job with this control stream does.
    pub gated: Mutex<Option<u64>>,
    pub error: Mutex<Option<JobError>>,
}

impl FakeGpu {
    fn wait_for_gate(&self, stream: u64, control: &JobControl) -> Result<(), JobError> {
        let gate = self.gate.lock().unwrap().clone();
        let gated = *self.gated.lock().unwrap();
        let gate = gate.filter(|_| gated.is_none_or(|s| s == stream));
        while gate.as_ref().is_some_and(|g| !g.load(Ordering::SeqCst)) {
            if control.cancelled() {
                return Err(JobError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The engine that reads control streams.
    fn real() -> GpuEngine {
        GpuEngine::new(vagx_gpu::GpuConfig::default(), Trace::silent())
    }
}

impl Engine for FakeGpu {
    fn run_compute(
        &self,
        mem: &dyn ContextMemory,
        job: &ComputeJob,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<JobStats, JobError> {
        self.soft_faults.store(soft_faults, Ordering::SeqCst);
        self.jobs.lock().unwrap().push(job.clone());
        self.wait_for_gate(job.cdm_ctrl_stream_base, control)?;
        if let Some(error) = self.error.lock().unwrap().take() {
            return Err(error);
        }
        let word = |va: u64| {
            let page = mem.page(va, vagx_uat::Access::Read);
            let page = page.map_err(|fault| JobError::Fault {
                va,
                access: fault.access,
                unit: FaultUnit::ControlStream,
                pc: 0,
            })?;
            // SAFETY: The page has 16 KiB and `va` is aligned to 8.
            Ok(unsafe { page.add((va % PAGE_SIZE) as usize).cast::<u64>().read() })
        };
        let (to, value) = (
            word(job.cdm_ctrl_stream_base)?,
            word(job.cdm_ctrl_stream_base + 8)?,
        );
        let page = mem.page(to, vagx_uat::Access::Write).unwrap();
        // SAFETY: As above.
        unsafe {
            page.add((to % PAGE_SIZE) as usize)
                .cast::<u64>()
                .write(value)
        };
        Ok(JobStats::default())
    }

    fn run_vertex(
        &self,
        mem: &dyn ContextMemory,
        job: &VertexJob,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<Geometry, JobError> {
        Self::real().run_vertex(mem, job, soft_faults, control)
    }

    fn run_fragment(
        &self,
        mem: &dyn ContextMemory,
        job: &RenderJob,
        geometry: &Geometry,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<Rendered, JobError> {
        self.renders.lock().unwrap().push(job.clone());
        self.wait_for_gate(job.vertex.vdm_ctrl_stream_base, control)?;
        Self::real().run_fragment(mem, job, geometry, soft_faults, control)
    }
}

/// Everything together.
pub struct Machine {
    pub mem: Arc<Memory>,
    pub uat: Arc<Uat>,
    pub outside: Arc<Outside>,
    pub gpu: Arc<FakeGpu>,
    pub trace: Trace,
    pub fw: Option<Firmware>,
}

pub fn config(gpu: &Arc<FakeGpu>) -> FwConfig {
    FwConfig::new(0x8103, [13, 5, 0], gpu.clone()).unwrap()
}

impl Machine {
    pub fn new() -> Self {
        let mem = Arc::new(Memory::new());
        let ram: Arc<dyn PhysMem> = mem.ram.clone();
        Machine {
            uat: Arc::new(Uat::new(ram, TTBAT, 40)),
            mem,
            outside: Arc::default(),
            gpu: Arc::default(),
            trace: Trace::silent(),
            fw: None,
        }
    }

    pub fn start(&mut self, cfg: FwConfig) {
        let ram: Arc<dyn PhysMem> = self.mem.ram.clone();
        self.fw = Some(Firmware::new(
            cfg,
            self.uat.clone(),
            ram,
            HANDOFF,
            self.outside.clone(),
            self.trace.clone(),
        ));
    }

    /// Starts a firmware that misbehaves as these words of `--fault` say.
    pub fn start_with(&mut self, faults: &[&str]) {
        let mut cfg = config(&self.gpu);
        cfg.misbehave(faults.iter().map(|f| f.parse().unwrap()).collect());
        self.start(cfg);
    }

    pub fn message(&self, ep: u8, msg: u64) {
        self.fw.as_ref().unwrap().message(ep, msg);
    }

    /// The complaints as "structure.field+offset".
    pub fn complaints(&self) -> Vec<String> {
        self.trace
            .complaints()
            .iter()
            .map(|c| format!("{}.{}+{:#x}", c.structure, c.field, c.offset))
            .collect()
    }

    pub fn assert_clean(&self) {
        let all: Vec<_> = self
            .trace
            .complaints()
            .iter()
            .map(|c| format!("{}.{} = {:#x}: {}", c.structure, c.field, c.value, c.why))
            .collect();
        assert!(all.is_empty(), "{all:#?}");
    }
}

/// Waits for something, for at most ten seconds.
pub fn wait(what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
