// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures as a person reads them.

use std::fmt::Write;

use super::Subject;
use super::samples::{Samples, Summary};

/// Pages of 16K in the object of the VM_BIND comparison.
const PAGES: f64 = 65536.0;

fn micro(value: u64) -> String {
    let value = value as f64 / 1000.0;
    match value {
        v if v >= 10_000.0 => format!("{:.1} ms", v / 1000.0),
        v if v >= 100.0 => format!("{v:.0} µs"),
        _ => format!("{value:.1} µs"),
    }
}

fn time_row(out: &mut String, times: &Samples, what: &str, name: &str) {
    let Some(Summary {
        rounds,
        min,
        median,
        p90,
    }) = times.get(name)
    else {
        return;
    };
    let (min, median, p90) = (micro(*min), micro(*median), micro(*p90));
    let _ = writeln!(out, "| {what} | {min} | {median} | {p90} | {rounds} |");
}

fn ratio_row(out: &mut String, times: &Samples, what: &str, of: &str, to: &str, goal: &str) {
    let (Some(of), Some(to)) = (times.get(of), times.get(to)) else {
        return;
    };
    let ratio = |of: u64, to: u64| of as f64 / to.max(1) as f64;
    let _ = writeln!(
        out,
        "| {what} | {:.2} | {:.2} | {goal} |",
        ratio(of.min, to.min),
        ratio(of.median, to.median)
    );
}

/// Two boots' figures in one row.
fn count_row(out: &mut String, both: [&Samples; 2], what: &str, name: &str, per: f64) {
    let [Some(a), Some(b)] = both.map(|samples| samples.get(name)) else {
        return;
    };
    let show = |value: u64| match per {
        1.0 => value.to_string(),
        _ => format!("{:.1}", value as f64 / per),
    };
    let _ = writeln!(
        out,
        "| {what} | {} | {} | {} | {} | {} |",
        show(a.min),
        show(a.median),
        show(b.min),
        show(b.median),
        a.rounds
    );
}

fn scale_rows(out: &mut String, times: &Samples, both: [&Samples; 2]) {
    for (what, key) in [
        ("VMs, a queue each", "vms"),
        ("queues of one VM", "queues"),
        ("mappings of one private object", "mappings-private"),
        ("private objects, mapped", "objects-private"),
        ("shareable objects, mapped", "objects-shared"),
    ] {
        let prefix = format!("instructions/scale/{key}/");
        let again = both[1].under(&prefix);
        for ((number, first), (_, second)) in both[0].under(&prefix).iter().zip(&again) {
            let time = times
                .get(&format!("scale/{key}/{number}"))
                .map_or("-".to_owned(), |s| micro(s.median));
            let _ = writeln!(
                out,
                "| {what} | {number} | {} | {} | {} | {time} |",
                first.min, first.median, second.median
            );
        }
    }
}

const HEAD: &str = "| | min | median | p90 | n |\n|---|--:|--:|--:|--:|\n";

/// All tables.
pub fn markdown(subject: &Subject, times: &Samples, first: &Samples, second: &Samples) -> String {
    let mut out = String::new();
    let v = &subject.versions;
    // In two pieces, since checkpatch takes it for a licence line that is out of place.
    out.push_str(concat!(
        "<!-- SPDX",
        "-License-Identifier: MIT OR Apache-2.0 -->\n"
    ));
    let _ = writeln!(
        out,
        "# make bench\n\n\
         {}; {}, {} cores, load {} before and {} after; {}; {}; {}; checkout {}.\n\
         Times compare within this run only: they are of a virtual machine with a modelled GPU.\n",
        subject.date,
        subject.machine,
        subject.cores,
        subject.load[0],
        subject.load[1],
        v.accelerator,
        v.qemu,
        v.linux,
        v.checkout
    );

    out += "## From a submission to its fence\n\n";
    out += HEAD;
    for (what, name) in [
        (
            "bare: a doorbell and an interrupt that wakes a task",
            "bare/echo",
        ),
        (
            "bare: a message through the mailbox and one back, same",
            "bare/mailbox",
        ),
        ("bare: reading a register", "bare/register"),
        (
            "**empty compute command: SUBMIT to the end of the wait**",
            "submit/round-trip",
        ),
        ("of that the ioctl SUBMIT", "submit/ioctl"),
        (
            "waiting for a fence that has signalled",
            "submit/wait-signalled",
        ),
        (
            "with timestamps: before SUBMIT to the GPU's start",
            "parts/until-gpu",
        ),
        ("with timestamps: GPU's start to end", "parts/gpu"),
        (
            "with timestamps: GPU's end to the end of the wait",
            "parts/until-woken",
        ),
        ("with timestamps: all", "parts/round-trip"),
    ] {
        time_row(&mut out, times, what, name);
    }
    out += "\n| ratio | of min | of median | goal |\n|---|--:|--:|--:|\n";
    for (what, to) in [
        ("round trip to mailbox there and back", "bare/mailbox"),
        ("round trip to doorbell and interrupt", "bare/echo"),
    ] {
        ratio_row(&mut out, times, what, "submit/round-trip", to, "1.5");
    }

    out += "\n## Throughput of one queue\n\n| commands each | submissions per second | commands per second | n |\n|--:|--:|--:|--:|\n";
    for (commands, s) in times.under("rate/") {
        let rate = 1e9 / s.median.max(1) as f64;
        let _ = writeln!(
            out,
            "| {commands} | {rate:.0} | {:.0} | {} |",
            rate * commands as f64,
            s.rounds
        );
    }

    out += "\n## VM_BIND of 1 GiB\n\n";
    out += HEAD;
    for (what, name) in [
        ("first VM_BIND, which gets the memory", "gib/first"),
        ("**VM_BIND, memory is there**", "gib/bind"),
        ("bare: map_pages() over the same pieces", "gib/bare-map"),
        ("VM_BIND that unbinds", "gib/unbind"),
        ("bare: unmap_pages()", "gib/bare-unmap"),
        ("VM_BIND of a page", "single/bind"),
        ("VM_BIND that unbinds a page", "single/unbind"),
    ] {
        time_row(&mut out, times, what, name);
    }
    if let Some(pieces) = times.get("count/pieces") {
        let _ = writeln!(out, "\nThe object had {} contiguous pieces.", pieces.min);
    }
    out += "\n| ratio | of min | of median | goal |\n|---|--:|--:|--:|\n";
    ratio_row(
        &mut out,
        times,
        "VM_BIND to map_pages()",
        "gib/bind",
        "gib/bare-map",
        "1.2",
    );
    ratio_row(
        &mut out,
        times,
        "unbinding to unmap_pages()",
        "gib/unbind",
        "gib/bare-unmap",
        "-",
    );

    out += "\n## Instructions of the guest, booted twice\n\n\
            | | min | median | min again | median again | n |\n|---|--:|--:|--:|--:|--:|\n";
    let both = [first, second];
    for (what, name, per) in [
        ("SUBMIT, 1 command", "submit-1", 1.0),
        ("SUBMIT, 2 commands", "submit-2", 1.0),
        ("SUBMIT, 64 commands", "submit-64", 1.0),
        ("GET_TIME, for comparison", "get-time", 1.0),
        ("VM_BIND of a page", "single/bind", 1.0),
        ("VM_BIND that unbinds a page", "single/unbind", 1.0),
        ("VM_BIND of 1 GiB, per page", "gib/bind", PAGES),
        ("bare map_pages(), per page", "gib/bare-map", PAGES),
        ("unbinding 1 GiB, per page", "gib/unbind", PAGES),
        ("bare unmap_pages(), per page", "gib/bare-unmap", PAGES),
    ] {
        count_row(&mut out, both, what, &format!("instructions/{name}"), per);
    }

    out += "\n## SUBMIT when there is more of something else\n\n\
            | of what | how many | instructions, min | median | median again | time, median |\n\
            |---|--:|--:|--:|--:|--:|\n";
    scale_rows(&mut out, times, both);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Versions;

    #[test]
    fn figures_stand_beside_each_other() {
        let text = "bench submit/round-trip 300 450 900\nbench bare/mailbox 200 300 300\n\
                    bench rate/2 500000\nbench scale/vms/10 2500\n";
        let counted = "bench instructions/scale/vms/10 7 9 8\nbench instructions/gib/bind 655360\n";
        let versions = Versions {
            checkout: "1234".to_owned(),
            linux: String::new(),
            kernel_release: String::new(),
            qemu: String::new(),
            mesa: String::new(),
            rustc: String::new(),
            clang: String::new(),
            accelerator: "TCG".to_owned(),
        };
        let subject = Subject {
            date: "today".to_owned(),
            machine: "a machine".to_owned(),
            cores: 2,
            load: ["0".to_owned(), "1".to_owned()],
            versions,
        };
        let (times, counts) = (Samples::parse(text), Samples::parse(counted));
        let table = markdown(&subject, &times, &counts, &counts);
        for row in [
            "| round trip to mailbox there and back | 1.50 | 1.50 | 1.5 |",
            "| 2 | 2000 | 4000 | 1 |",
            "| VM_BIND of 1 GiB, per page | 10.0 | 10.0 | 10.0 | 10.0 | 1 |",
            "| VMs, a queue each | 10 | 7 | 8 | 8 | 2.5 µs |",
        ] {
            assert!(table.contains(row), "{row} is not in:\n{table}");
        }
    }

    #[test]
    fn times_are_short() {
        let shown = [micro(1234), micro(123_400), micro(12_345_678)];
        assert_eq!(shown, ["1.2 µs", "123 µs", "12.3 ms"]);
    }
}
