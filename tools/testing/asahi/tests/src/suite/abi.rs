// SPDX-License-Identifier: MIT OR Apache-2.0

//! What holds of the arguments of all ioctls: reserved fields, unknown bits, sizes, addresses, handles.

use std::io;

use anyhow::{Result, ensure};
use libc::{E2BIG, EFAULT, EINVAL, ENOENT, ENOSPC};

use super::calls::{Field, Role::*, World};
use crate::{
    device::{Device, Guarded, PAGE, bytes, expect},
    runner::{rng, rounds},
    uapi::*,
};

super::tests!(
    reserved,
    outputs,
    foreign_handles,
    wrong_handles,
    gone_handles,
    shorter,
    longer,
    directions,
    unknown,
    addresses,
    extremes,
    random { limit: 120 },
);

/// Makes sure that a call fails as it should.
fn fails(result: io::Result<()>, errno: i32, what: &str) -> Result<()> {
    match result {
        Ok(()) => anyhow::bail!("{what}: accepted"),
        Err(error) => expect(&error, errno, what),
    }
}

/// Every bit of padding, every flag that nobody knows, and whatever else must be zero.
fn reserved(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    for call in World::new(&vm)?.calls()? {
        for field in call.fields(|role| matches!(role, Reserved(_))) {
            let (name, _, size, Reserved(known)) = *field else {
                continue;
            };
            let all = u64::MAX >> (64 - 8 * size);
            let (_, offset, ..) = *field;
            let mut now = [0; 8];
            now[..size].copy_from_slice(&call.arg[offset..offset + size]);
            let now = u64::from_le_bytes(now);
            for bit in (0..8 * size).filter(|bit| known >> bit & 1 == 0) {
                let what = format!("{}.{name} with bit {bit}", call.name);
                let arg = call.with(field, now | 1 << bit);
                fails(call.run(device, &arg), EINVAL, &what)?;
            }
            let what = format!("{}.{name} with all bits", call.name);
            let arg = call.with(field, all);
            fails(call.run(device, &arg), EINVAL, &what)?;
        }
    }
    Ok(())
}

/// What lies where the kernel answers does not matter.
fn outputs(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    for call in World::new(&vm)?.calls()? {
        for field in call.fields(|role| role == Output) {
            for value in [1, 0x1234_5678_9abc_def0, u64::MAX] {
                let arg = call.with(field, value);
                let result = call.run(device, &arg);
                ensure!(
                    result.is_ok(),
                    "{}.{} = {value:#x}: {result:?}",
                    call.name,
                    field.0
                );
            }
        }
    }
    Ok(())
}

/// A client cannot name what is another's.
fn foreign_handles(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let other = Device::open()?;
    for call in World::new(&vm)?.calls()? {
        if call.fields(|role| role == Handle).next().is_some() {
            let what = format!("another client's handle in {}", call.name);
            fails(call.run(&other, &call.arg), ENOENT, &what)?;
        }
    }
    Ok(())
}

/// Nothing has these numbers.
fn wrong_handles(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    for call in World::new(&vm)?.calls()? {
        for field in call.fields(|role| role == Handle) {
            for value in [0, 0x1234, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let what = format!("{}.{} = {value:#x}", call.name, field.0);
                let arg = call.with(field, value.into());
                fails(call.run(device, &arg), ENOENT, &what)?;
            }
        }
    }
    Ok(())
}

/// What has been destroyed is gone.
fn gone_handles(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    let calls = world.calls()?;
    // What the arguments point to stays.
    let World {
        commands: _commands,
        op: _op,
        bench,
        bo,
        ..
    } = world;
    drop((bench, bo));
    device.ioctl(&mut VmDestroy {
        vm_id: vm.id,
        pad: 0,
    })?;
    for call in calls {
        if call.fields(|role| role == Handle).next().is_some() {
            let what = format!("{} of what is gone", call.name);
            fails(call.run(device, &call.arg), ENOENT, &what)?;
        }
    }
    Ok(())
}

fn sized(request: u32, size: usize) -> u32 {
    request & !(0x3fff << 16) | (size as u32) << 16
}

/// An older client's structure ends earlier, and what it lacks is zero.
fn shorter(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    for call in world.calls()? {
        if call.destroys {
            continue;
        }
        for size in (0..call.arg.len()).step_by(4) {
            let mut cut = call.arg.clone();
            cut[size..].fill(0);
            let whole = call.run(device, &cut);
            let mut arg = call.arg.clone();
            let short = call.request(device, sized(call.request, size), &mut arg);
            ensure!(
                errno(&whole) == errno(&short),
                "{} of {size} bytes: {short:?}, with zeroes instead {whole:?}",
                call.name
            );
            ensure!(
                arg[size..] == call.arg[size..],
                "{} of {size} bytes wrote more",
                call.name
            );
        }
    }
    world.settle()
}

fn errno(result: &io::Result<()>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// A newer client's structure goes on where it has zeroes.
fn longer(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    for call in world.calls()? {
        if call.destroys {
            continue;
        }
        for size in [8, 64, 128, 4096] {
            let size = call.arg.len() + size;
            let mut arg = call.arg.clone();
            arg.resize(size, 0);
            let result = call.request(device, sized(call.request, size), &mut arg);
            ensure!(result.is_ok(), "{} of {size} bytes: {result:?}", call.name);
            ensure!(
                arg[call.arg.len()..].iter().all(|&byte| byte == 0),
                "{} of {size} bytes has written to fields that it does not know",
                call.name
            );
        }
    }
    world.settle()
}

/// A request that does not let the kernel read the argument is one of zeroes, and one that does not let
/// it write leaves the argument alone.
fn directions(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    for call in world.calls()? {
        if call.destroys {
            continue;
        }
        let zeroes = call.run(device, &vec![0; call.arg.len()]);
        let unread = call.request & !(1 << 30) | 2 << 30;
        let result = call.request(device, unread, &mut call.arg.clone());
        ensure!(
            errno(&result) == errno(&zeroes),
            "{} unread: {result:?}, of zeroes {zeroes:?}",
            call.name
        );
        let mut arg = call.arg.clone();
        let result = call.request(device, call.request & !(2 << 30), &mut arg);
        ensure!(result.is_ok(), "{} unwritten: {result:?}", call.name);
        ensure!(arg == call.arg, "{} has written", call.name);
    }
    world.settle()
}

/// There are no other ioctls.
fn unknown(device: &Device) -> Result<()> {
    for number in Submit::NUMBER + 1..0xa0 {
        for size in [0, 8, 128, 0x3fff] {
            let request = 3 << 30 | size << 16 | u32::from(b'd') << 8 | u32::from(number);
            let mut arg = vec![0u8; 0x4000];
            // SAFETY: The argument is large enough for any request.
            let result = unsafe { device.raw(request, arg.as_mut_ptr().cast()) };
            fails(
                result,
                EINVAL,
                &format!("ioctl {number:#x} of {size} bytes"),
            )?;
        }
    }
    Ok(())
}

/// Addresses of nothing, of the kernel's, and of what cannot be written, wherever there is an address.
fn addresses(device: &Device) -> Result<()> {
    const NOWHERE: [u64; 5] = [
        0,
        8,
        0x7fff_ffff_f000,
        0xffff_8000_0000_0000,
        u64::MAX - 0xfff,
    ];
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    for call in world.calls()? {
        for address in NOWHERE {
            let what = format!("{} at {address:#x}", call.name);
            // SAFETY: There is nothing at any of the addresses.
            let result = unsafe { device.raw(call.request, address as *mut _) };
            fails(result, EFAULT, &what)?;
        }
        // Half of the argument is there.
        let half = Guarded::new(&call.arg[..call.arg.len() / 2], libc::PROT_READ)?;
        // SAFETY: The kernel finds that there is no more.
        let result = unsafe { device.raw(call.request, half.address() as *mut _) };
        fails(result, EFAULT, &format!("half of {}", call.name))?;

        for field in call
            .fields
            .iter()
            .filter(|f| ["pointer", "userptr", "cmdbuf"].contains(&f.0))
        {
            for address in NOWHERE {
                let what = format!("{}.{} = {address:#x}", call.name, field.0);
                let arg = call.with(field, address);
                fails(call.run(device, &arg), EFAULT, &what)?;
            }
        }
    }
    let read_only = Guarded::new(&[0; size_of::<Params>()], libc::PROT_READ)?;
    let params = GetParams {
        pointer: read_only.address(),
        size: size_of::<Params>() as u64,
        ..Default::default()
    };
    device.refused(params, EFAULT, "parameters to where nothing can be written")?;

    // What the kernel only reads may be read-only, up to its last byte.
    let commands = Guarded::new(&world.commands.0, libc::PROT_READ)?;
    let mut submit = world.bench.queue.submit_arg(&world.commands.0, 0, &[]);
    submit.cmdbuf = commands.address();
    device.ioctl(&mut submit.clone())?;
    submit.cmdbuf_size += 8;
    device.refused(submit, EFAULT, "commands that go on behind the end")?;
    let op = Guarded::new(bytes(&*world.op), libc::PROT_READ)?;
    let mut bind = vm.bind_arg(&world.op);
    bind.userptr = op.address();
    device.ioctl(&mut bind.clone())?;
    bind.num_binds = 2;
    device.refused(bind, EFAULT, "operations that go on behind the end")?;

    for address in NOWHERE {
        let mut submit = world.bench.queue.submit_arg(&world.commands.0, 0, &[]);
        submit.syncs = address;
        submit.out_sync_count = 1;
        device.refused(submit, EFAULT, &format!("syncs at {address:#x}"))?;
        submit.in_sync_count = 1;
        submit.out_sync_count = 0;
        device.refused(submit, EFAULT, &format!("in-syncs at {address:#x}"))?;
    }
    world.settle()
}

const EXTREMES: [u64; 16] = [
    0,
    1,
    7,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 39,
    1 << 40,
    1 << 47,
    1 << 63,
    u64::MAX - PAGE + 1,
    u64::MAX,
];

/// What a wrong argument may come to, and nothing else. There is no room for the offsets of several
/// objects of the largest size.
const REFUSALS: [i32; 5] = [EINVAL, ENOENT, EFAULT, E2BIG, ENOSPC];

fn decided(result: io::Result<()>, what: impl Fn() -> String) -> Result<()> {
    let errno = errno(&result);
    ensure!(
        errno.is_none_or(|errno| REFUSALS.contains(&errno)),
        "{}: {result:?}",
        what()
    );
    Ok(())
}

/// The largest and smallest values in each field, alone and by two.
fn extremes(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    for call in world.calls()? {
        // Addresses of this process's are not for guessing.
        let fields: Vec<&Field> = call
            .fields
            .iter()
            .filter(|field| field.0 != "pointer" && !call.destroys)
            .collect();
        for (i, first) in fields.iter().enumerate() {
            for value in EXTREMES {
                let arg = call.with(first, value);
                decided(call.run(device, &arg), || {
                    format!("{}.{} = {value:#x}", call.name, first.0)
                })?;
            }
            for second in &fields[i + 1..] {
                for value in EXTREMES {
                    let mut both = call.with(first, value);
                    let (_, offset, size, _) = **second;
                    both[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
                    decided(call.run(device, &both), || {
                        format!("{}.{} and .{} = {value:#x}", call.name, first.0, second.0)
                    })?;
                }
            }
        }
    }
    world.settle()
}

/// Whether an object would be larger than the machine should spend on one, but could be had. To
/// create it costs nothing; but a later call may hit upon its handle and bind it.
fn hoards(create: &[u8]) -> bool {
    let size = u64::from_le_bytes(std::array::from_fn(|i| create[i]));
    ((16 << 20) + 1..=1 << 39).contains(&size)
}

/// Arguments that are nearly right.
fn random(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let world = World::new(&vm)?;
    let calls = world.calls()?;
    let mut rng = rng();
    for _ in 0..rounds(4000) {
        let call = &calls[rng.below(calls.len() as u64) as usize];
        if call.destroys {
            continue;
        }
        let mut arg = call.arg.clone();
        for _ in 0..=rng.below(3) {
            let field = &call.fields[rng.below(call.fields.len() as u64) as usize];
            if field.0 == "pointer" {
                continue;
            }
            let value = match rng.below(3) {
                0 => EXTREMES[rng.below(EXTREMES.len() as u64) as usize],
                1 => rng.below(64),
                _ => rng.next(),
            };
            let (_, offset, size, _) = *field;
            arg[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
        }
        if call.name == GemCreate::NAME && hoards(&arg) {
            continue;
        }
        decided(call.run(device, &arg), || format!("{} {arg:x?}", call.name))?;
    }
    // Nothing has come of it.
    world.settle()
}
