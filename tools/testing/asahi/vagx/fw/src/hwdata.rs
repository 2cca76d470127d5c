// SPDX-License-Identifier: MIT OR Apache-2.0

//! The calibration blobs: what the bootloader left must have arrived whole, and what the driver fills must be right.
//!
//! m1n1 `agx/initdata.py` (`build_iomappings`, `build_initdata`), `fw/agx/initdata.py` (`AGXHWDataB`,
//! `InitData_RegionC`).

use vagx_uat::{Access, Agent, Attr, PAGE_SIZE, canonical};

use crate::config::FwConfig;
use crate::layout::abi::{Chip, IoRange};
use crate::layout::{Abi, Field, Layout, Shape};
use crate::mem::{FwMem, Record, Result, Sharing};

/// Slots for frequencies and voltages.
const PSTATES: u32 = 16;
/// "Soft faults": shaders go on after an access to nothing.
pub(crate) const SOFT_FAULTS: u32 = 0xb;
/// Bytes set aside for the timestamp buffers of clients.
pub(crate) const TIMESTAMP_AREA_SIZE: u64 = 0x400_0000;

/// What the firmware keeps of the hardware data.
pub(crate) struct HwData {
    /// Where clients' timestamp buffers are mapped.
    pub timestamp_area: u64,
    /// A page that must be there in every context, or zero.
    pub dummy_page: u64,
}

/// Checks HwDataA, HwDataB and the globals.
pub(crate) fn check(
    mem: &FwMem,
    cfg: &FwConfig,
    runtime: &Record,
    globals: &Record,
) -> Result<HwData> {
    let (chip, abi) = (cfg.chip, cfg.abi);
    let l = &abi.runtime;
    let size = |shape: Shape| u64::from(shape.size);
    runtime.pointer_rw(l.hwdata_a, size(abi.hwdata_a.shape), Sharing::Private)?;
    let a = runtime.follow(l.hwdata_a, abi.hwdata_a.shape)?;
    runtime.pointer_rw(l.hwdata_b, size(abi.hwdata_b.shape), Sharing::Private)?;
    let b = runtime.follow(l.hwdata_b, abi.hwdata_b.shape)?;
    let _ = runtime.expect(l.hwdata_b_2, b.base, "the same structure as hwdata_b");

    let track = "initialisation";
    a.show(track, &abi.hwdata_a);
    b.show(track, &abi.hwdata_b);
    globals.show(track, &abi.globals);
    if let Some(blobs) = &cfg.left.blobs {
        check_blobs(abi, [&a, &b, globals], blobs);
    }
    let max_pstate = check_b(mem, chip, abi, &b);
    check_a(abi, &a, max_pstate);
    check_io(mem, chip, abi, &b);
    check_globals(abi, globals, max_pstate);
    Ok(HwData {
        timestamp_area: b.get(abi.hwdata_b.timestamp_area_base),
        dummy_page: b.get(abi.hwdata_b.unk_30),
    })
}

/// The bootloader's blobs must have come through whole. The driver fills a few fields of two of them.
fn check_blobs(abi: &Abi, found: [&Record; 3], blobs: &[Vec<u8>; 3]) {
    let (b, g) = (&abi.hwdata_b, &abi.globals);
    let filled: [&[Field]; 3] = [
        &[],
        &[b.io_mappings, b.sgx_sram_ptr],
        &[g.pending_submissions, g.fault_control, g.idle_off_delay_ms],
    ];
    let known: [Vec<Field>; 3] = [abi.hwdata_a.fields(), b.fields(), g.fields()];
    for (((record, blob), filled), known) in found.into_iter().zip(blobs).zip(filled).zip(known) {
        let covers = |f: &Field, at: u32| (f.offset..f.offset + f.size).contains(&at);
        let wrong = (0u32..)
            .zip(record.bytes().iter().zip(blob))
            .find(|(at, (now, then))| now != then && !filled.iter().any(|f| covers(f, *at)));
        if let Some((at, (now, then))) = wrong {
            let name = known
                .iter()
                .find(|f| covers(f, at))
                .map_or("blob", |f| f.name);
            let field = Field {
                name,
                offset: at,
                size: 1,
            };
            let why = format!(
                "the bootloader's blob has {then:#04x} in this byte and the driver must not change it, but it is {now:#04x}"
            );
            record.complain(field, why);
        }
    }
}

fn check_a(abi: &Abi, a: &Record, max_pstate: u64) {
    let l = &abi.hwdata_a;
    if a.get(l.clocks_per_period) == 0 {
        a.complain(
            l.clocks_per_period,
            "zero: the calibration blob did not arrive",
        );
    }
    let why = "100 times the highest performance state of HwDataB";
    let _ = a.expect(l.max_pstate_scaled, max_pstate * 100, why);
}

/// Returns the highest performance state.
fn check_b(mem: &FwMem, chip: &Chip, abi: &Abi, b: &Record) -> u64 {
    let l = &abi.hwdata_b;
    let _ = b.expect(l.chip_id, chip.id.into(), "the chip that this is");
    let _ = b.expect(
        l.base_clock_khz,
        chip.ticks_per_second / 1000,
        "the timestamp counter",
    );
    let _ = b.expect(l.num_cores, chip.num_cores.into(), "cores of this chip");
    let _ = b.expect(l.gpu_core, chip.gpu_core.into(), "the GPU of this chip");
    let _ = b.expect(
        l.sgx_sram_ptr,
        0,
        "this chip's GPU has no SRAM of that kind",
    );
    if b.get(l.power_sample_period) == 0 {
        b.complain(l.power_sample_period, "zero: the firmware divides by it");
    }
    check_ttb_base(mem, b, l.uat_ttb_base);

    let base = b.get(l.timestamp_area_base);
    if canonical(base) != base || base >> 63 == 0 || !base.is_multiple_of(PAGE_SIZE) {
        b.complain(
            l.timestamp_area_base,
            "not a page in the kernel's half of the address space",
        );
    }

    let max = b.get(l.max_pstate);
    if max == 0 || max >= PSTATES.into() {
        b.complain(
            l.max_pstate,
            format!("must be between 1 and {}", PSTATES - 1),
        );
        return max;
    }
    let mut below = 0;
    for state in 1..=max as u32 {
        let field = Field {
            name: "frequencies",
            offset: l.frequencies.offset + state * 4,
            size: 4,
        };
        let mhz = b.get(field);
        if mhz <= below {
            b.complain(
                field,
                format!("state {state} in MHz is not above the {below} of the state below"),
            );
            break;
        }
        below = mhz;
        for (name, table) in [("voltages", l.voltages), ("voltages_sram", l.voltages_sram)] {
            let field = Field {
                name,
                offset: table.offset + state * 32,
                size: 4,
            };
            if b.get(field) == 0 {
                b.complain(field, format!("no voltage for performance state {state}"));
            }
        }
    }
    max
}

/// The table bases must be where the hardware walks them: what stands there is context 0.
fn check_ttb_base(mem: &FwMem, b: &Record, field: Field) {
    let pa = b.get(field);
    let real = mem.uat().ttbrs(0).map(|bases| bases.map(|t| t.0));
    let phys = mem.uat().mem();
    let there = phys
        .read_u64(pa)
        .and_then(|low| phys.read_u64(pa.wrapping_add(8)).map(|high| [low, high]))
        .ok();
    if there.is_none() || there != real {
        b.complain(field, "not the physical address of the table bases");
    }
}

fn check_io(mem: &FwMem, chip: &Chip, abi: &Abi, b: &Record) {
    let table = abi.hwdata_b.io_mappings;
    let size = abi.io_mapping.shape.size;
    let absent = IoRange {
        index: 0,
        name: "unused",
        phys: 0,
        size: 0,
        write: false,
    };
    for index in 0..table.size / size {
        let at = Field {
            name: "io_mappings",
            offset: table.offset + index * size,
            size,
        };
        let entry = b.embedded(at, abi.io_mapping.shape);
        let range = chip.io.iter().find(|r| r.index == index).unwrap_or(&absent);
        let _ = check_io_entry(mem, abi, &entry, index, range);
    }
}

fn check_io_entry(
    mem: &FwMem,
    abi: &Abi,
    entry: &Record,
    index: u32,
    range: &IoRange,
) -> Result<()> {
    let l = &abi.io_mapping;
    let what = format!("entry {index:#x} ({})", range.name);
    entry.expect(l.phys_addr, range.phys, &what)?;
    entry.expect(l.total_size, range.size.into(), &what)?;
    entry.expect(l.element_size, range.size.into(), &what)?;
    if range.phys == 0 {
        return Ok(());
    }
    entry.expect(l.readwrite, range.write.into(), &what)?;
    let virt = entry.get(l.virt_addr);
    if virt % PAGE_SIZE != range.phys % PAGE_SIZE {
        let why = format!("{what}: the offset in the page differs from the physical address");
        return Err(entry.complain(l.virt_addr, why));
    }
    let mut done = 0;
    while done < u64::from(range.size) {
        let (va, pa) = (virt.wrapping_add(done), range.phys + done);
        let walk = mem.uat().walk(0, Agent::Firmware, va);
        let bad = match walk {
            Err((level, reason)) => Some(format!("is not mapped: {reason:?} at level {level}")),
            Ok(pte) if pte.address() != pa & !(PAGE_SIZE - 1) => Some(format!(
                "is mapped to {:#x}",
                pte.address() | (pa % PAGE_SIZE)
            )),
            Ok(pte) if pte.attr() != Attr::Device => {
                Some(format!("is mapped {:?}, not as device memory", pte.attr()))
            }
            Ok(pte) => {
                let rights = pte.rights(Agent::Firmware);
                (!rights.read || range.write && !rights.write)
                    .then(|| format!("cannot be accessed by the firmware: {rights:?}"))
            }
        };
        if let Some(bad) = bad {
            let why = format!("{what}: {va:#x}, for physical {pa:#x}, {bad}");
            return Err(entry.complain(l.virt_addr, why));
        }
        done += PAGE_SIZE - va % PAGE_SIZE;
    }
    Ok(())
}

fn check_globals(abi: &Abi, globals: &Record, max_pstate: u64) {
    let l = &abi.globals;
    let _ = globals.expect(l.pending_submissions, 0, "nothing has been submitted yet");
    let _ = globals.expect(
        l.do_init,
        1,
        "the firmware initialises the hardware only then",
    );
    if globals.get(l.max_power) == 0 {
        globals.complain(l.max_power, "zero: the calibration blob did not arrive");
    }
    let why = "100 times the highest performance state of HwDataB";
    for field in [
        l.max_pstate_scaled,
        l.max_pstate_scaled_2,
        l.max_pstate_scaled_3,
    ] {
        let _ = globals.expect(field, max_pstate * 100, why);
    }
    if globals.slice(l.pending_stamps).iter().any(|b| *b != 0) {
        globals.complain(
            l.pending_stamps,
            "must be zero: nothing has been submitted yet",
        );
    }
}

/// The GPU must see at `field` the same memory that the firmware has at `va`.
pub(crate) fn check_gpu_alias(mem: &FwMem, runtime: &Record, field: Field, va: u64) {
    let uat = mem.uat();
    let gpu = uat
        .translate(0, Agent::Gpu, runtime.get(field), Access::Read)
        .and_then(|_| uat.translate(0, Agent::Gpu, runtime.get(field), Access::Write));
    match (gpu, uat.translate(0, Agent::Firmware, va, Access::Write)) {
        (Ok(a), Ok(b)) if a == b => {}
        (Ok(a), b) => {
            let why = format!("the GPU has physical {a:#x} there, the firmware's side is {b:x?}");
            runtime.complain(field, why);
        }
        (Err(fault), _) => {
            runtime.complain(field, format!("the GPU cannot use it: {fault}"));
        }
    }
}
