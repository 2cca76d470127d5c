// SPDX-License-Identifier: MIT OR Apache-2.0

//! Handoff, initialisation data, flushing.

use vagx_fw::Left;

use crate::common::{Driver, FW_CACHED, FW_SHARED, Machine, TTBAT, config, wait};

fn booted() -> (Machine, Driver) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.boot(&machine);
    (machine, driver)
}

/// The complaints after a boot with one thing changed.
fn complaints(change: impl FnOnce(&Driver)) -> Vec<String> {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.handoff();
    change(&driver);
    driver.send_init(&machine);
    wait("the end of the boot", || {
        let accepted = machine.outside.syslog.lock().unwrap().len() >= 3;
        accepted || machine.outside.crash.lock().unwrap().is_some()
    });
    machine.complaints()
}

#[test]
fn a_good_boot_has_no_complaints() {
    let (machine, driver) = booted();
    wait("the log", || {
        machine
            .outside
            .polls
            .load(std::sync::atomic::Ordering::SeqCst)
            >= 2
    });
    machine.assert_clean();
    assert!(machine.outside.crash.lock().unwrap().is_none());

    // The info ring of the log: an index entry, and the payload that it names.
    let (state, ring) = driver.channels[14];
    assert_eq!(driver.r32(state + 0x30 + 0x20), 2);
    let entry = ring + 0x100 * 0x38;
    assert_eq!(driver.r32(entry), 2);
    assert_eq!(driver.r64(entry + 8), 0);
    let payload = driver.fwlog_buf + 0x100 * 0xd8;
    assert_eq!(driver.r32(payload), 3);
    assert_eq!(driver.r64(payload + 8), 24_000_000);
    assert_eq!(driver.r64(payload + 16) as u8, b'A');
    // A statistics message: power on.
    assert_eq!(driver.r32(driver.channels[16].0 + 0x20), 1);
    assert_eq!(driver.r32(driver.channels[16].1), 2);
}

#[test]
fn each_wrong_field_is_named() {
    type Change = fn(&Driver);
    let cases: [(&str, Change); 18] = [
        ("InitData.ver_info+0x0", |d| d.w16(d.initdata, 1)),
        ("InitData.uat_page_bits+0x32", |d| {
            d.w8(d.initdata + 0x32, 12)
        }),
        ("InitData.uat_level_info[1].index_mask+0x18", |d| {
            d.w64(d.initdata + 0x54 + 0x18, 1)
        }),
        ("InitData.host_mapped_fw_allocations+0xa8", |d| {
            d.w32(d.initdata + 0xa8, 0)
        }),
        ("InitData.globals+0x20", |d| d.w64(d.initdata + 0x20, 0)),
        ("InitData.fw_status+0x28", |d| {
            d.w64(d.initdata + 0x28, 0xffff_ff90_0000_0000)
        }),
        ("RuntimePointers.stats_comp+0x180", |d| {
            d.w64(d.runtime + 0x180, 0x1000)
        }),
        ("RuntimePointers.hwdata_b_2+0x1a8", |d| {
            d.w64(d.runtime + 0x1a8, d.hwdata_a)
        }),
        ("RuntimePointers.buffer_mgr_ctl_gpu+0x214", |d| {
            d.w64(d.runtime + 0x214, 0x30_0000_0000)
        }),
        ("RuntimePointers.comp[1].ring+0x8", |d| {
            d.w64(d.runtime + 0x58, 1 << 45)
        }),
        ("RuntimePointers.event.state+0x0", |d| {
            d.w64(d.runtime + 0xd0, 0)
        }),
        ("HwDataB.chip_id+0x968", |d| {
            d.w32(d.hwdata_b + 0x968, 0x8112)
        }),
        ("HwDataB.uat_ttb_base+0xa78", |d| {
            d.w64(d.hwdata_b + 0xa78, 0x4000)
        }),
        ("HwDataB.frequencies+0xa9c", |d| {
            d.w32(d.hwdata_b + 0xa9c, 5)
        }),
        ("HwDataB.io_mappings.phys_addr+0x0", |d| {
            d.w64(d.hwdata_b + 0x640, 0)
        }),
        ("HwDataB.io_mappings.virt_addr+0x8", |d| {
            d.w64(d.hwdata_b + 0x648, 0xffff_ffaf_f000_0000)
        }),
        ("Globals.pending_submissions+0x8974", |d| {
            d.w32(d.globals + 0x8974, 1)
        }),
        ("Globals.do_init+0x10fdc", |d| d.w32(d.globals + 0x10fdc, 0)),
    ];
    for (want, change) in cases {
        let got = complaints(change);
        assert_eq!(got, [want], "for {want}");
    }
}

#[test]
fn a_shared_structure_must_not_be_cached() {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine);
    let leaf = machine.mem.leaf(0, driver.fwctl.1);
    let pte = machine.mem.r64(leaf);
    machine.mem.w64(leaf, pte & !FW_SHARED.0 | FW_CACHED.0);
    machine.start_with(&[]);
    driver.handoff();
    driver.send_init(&machine);
    wait("the boot", || {
        machine.outside.syslog.lock().unwrap().len() >= 3
    });
    // The log's buffer begins in that page, too.
    assert_eq!(
        machine.complaints(),
        [
            "RuntimePointers.fwlog_buf+0x1b0",
            "FwStatus.fwctl.state+0x0"
        ]
    );
}

/// A boot with what the model of the bootloader leaves, and a change by the driver.
fn boot_with_blobs(change: impl FnOnce(&Machine, &Driver)) -> Machine {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    let m1 = vagx_boot::Machine::find("t8103", "13.5").unwrap();
    let blobs = vagx_boot::blobs(&m1, TTBAT).map(|b| b.bytes().to_vec());
    driver.use_blobs(&blobs);
    let root = machine.mem.r64(TTBAT + 8) & 0xffff_ffff_c000;
    let mut cfg = config(&machine.gpu);
    cfg.left = Left {
        table_entries: vec![(root, 0)],
        blobs: Some(blobs),
    };
    machine.start(cfg);
    driver.handoff();
    change(&machine, &driver);
    driver.boot(&machine);
    machine
}

#[test]
fn the_bootloaders_blobs_are_good() {
    boot_with_blobs(|_, _| {}).assert_clean();
}

#[test]
fn blobs_must_come_through_whole() {
    let machine = boot_with_blobs(|_, d| d.w8(d.hwdata_a + 0x4218, 0x77));
    assert_eq!(machine.complaints(), ["HwDataA.blob+0x4218"]);
    let machine = boot_with_blobs(|_, d| d.w8(d.globals + 0x8978, 1));
    assert_eq!(machine.complaints(), ["Globals.max_power+0x8978"]);
}

#[test]
fn the_firmwares_page_tables_must_be_left_alone() {
    let machine = boot_with_blobs(|m, _| {
        let root = m.mem.r64(TTBAT + 8) & 0xffff_ffff_c000;
        m.mem.w64(root, 1);
    });
    assert_eq!(machine.complaints(), ["page tables.firmware's entry+0x0"]);
}

#[test]
fn messages_that_make_no_sense() {
    let (machine, driver) = booted();
    machine.message(0x21, 0x83 << 48 | 0xf);
    machine.message(0x21, 0x85 << 48);
    machine.message(0x20, 0x81 << 48);
    let mut unknown = [0; 0x30];
    unknown[0] = 0x7f;
    driver.control(&machine, &unknown);
    wait("the complaints", || machine.complaints().len() == 4);
    let mut got = machine.complaints();
    got.sort();
    assert_eq!(
        got,
        [
            "DeviceControlMsg.opcode+0x0",
            "doorbell endpoint.message+0x0",
            "doorbell endpoint.message+0x0",
            "firmware endpoint.message+0x0",
        ]
    );
}

#[test]
fn a_doorbell_before_init() {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.handoff();
    machine.message(0x21, 0x83 << 48 | 2);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(machine.complaints(), ["doorbell endpoint.message+0x0"]);
}

#[test]
fn init_without_handoff() {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.send_init(&machine);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(machine.complaints(), ["Handoff.magic_ap+0x0"]);
}

#[test]
fn flushes_are_acknowledged() {
    let (machine, driver) = booted();
    driver.flush(&machine, 64, driver.globals & !0x3fff, 2);
    wait("the flush", || driver.flush_state(64) == 2);
    wait("the read index", || driver.r32(driver.fwctl.0) == 1);
    machine.assert_clean();
}

#[test]
fn a_flush_of_memory_that_is_still_cached() {
    let (machine, driver) = booted();
    driver.flush(&machine, 64, driver.runtime & !0x3fff, 1);
    wait("the flush", || driver.flush_state(64) == 2);
    assert_eq!(machine.complaints(), ["Handoff.flush.addr+0x608"]);
}

#[test]
fn a_flush_that_was_not_prepared() {
    let (machine, driver) = booted();
    driver.flush_message(&machine, 3, 0x4000, 1);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(machine.complaints(), ["Handoff.flush.state+0x48"]);
}

#[test]
fn injected_silence() {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine);
    machine.start_with(&["silent"]);
    driver.handoff();
    driver.send_init(&machine);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(
        machine
            .outside
            .polls
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
    machine.assert_clean();
}

#[test]
fn injected_crash_at_init() {
    let mut machine = Machine::new();
    let driver = Driver::new(&machine);
    machine.start_with(&["crash-at-init"]);
    driver.handoff();
    driver.send_init(&machine);
    // A driver rings before it hears of the crash, which nobody is there to complain about.
    machine.message(0x21, 0x83 << 48 | 0x11);
    wait("the crash", || {
        machine.outside.crash.lock().unwrap().is_some()
    });
    drop(machine.fw.take());
    machine.assert_clean();
}

#[test]
fn injected_flush_without_answer() {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(&["no-flush-ack"]);
    driver.boot(&machine);
    driver.flush(&machine, 64, driver.globals & !0x3fff, 1);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(driver.flush_state(64), 1);
}

#[test]
fn garbage_instead_of_initialisation_data() {
    // Whatever stands there, the firmware neither panics nor runs on.
    for seed in 0..16u64 {
        let mut machine = Machine::new();
        let driver = Driver::new(&machine);
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for structure in [driver.initdata, driver.runtime, driver.fw_status] {
            for offset in (0..0x80).step_by(8) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                let value = match x % 4 {
                    0 => x,
                    1 => 0xffff_ffa0_0000_0000 | (x >> 40),
                    2 => driver.initdata,
                    _ => driver.r64(structure + offset),
                };
                driver.w64(structure + offset, value);
            }
        }
        machine.start_with(&[]);
        driver.handoff();
        driver.send_init(&machine);
        for channel in 0..0x12 {
            machine.message(0x21, 0x83 << 48 | channel);
        }
        machine.message(0x21, 0x84 << 48);
        wait("a complaint", || machine.trace.complaint_count() > 0);
        machine.fw.as_mut().unwrap().stop();
    }
}
