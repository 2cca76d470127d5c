// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes and threads: a file of the device that several have, and a client that goes away.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libc::{EINVAL, ENOENT, EPERM};

use super::parallel::{LIMIT, child, ends_well, threads};
use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE, bytes},
    runner::{rounds, wait},
    uapi::*,
};

super::tests!(
    fork_shares_the_file,
    child_leaves_in_flight,
    killed_in_flight,
    dup,
    exec_closes,
    passed_over_a_socket,
    threads_on_one_file,
    closed_by_another_thread,
    unprivileged,
    priorities,
);

/// A child has its parent's file, with all that is in it.
fn fork_shares_the_file(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let bo = device.bo(PAGE, 0, 0)?;
    let map = bo.mmap()?;
    ends_well(child(|| {
        map.write(0, 0x1234);
        vm.map(&bo, HEAP + 16 * PAGE)?;
        bench.queue.run(&commands)
    })?)?;
    ensure!(map.read(0) == 0x1234, "the mapping is not shared");
    vm.unmap(HEAP + 16 * PAGE, PAGE)?;
    // What the child's end has closed was not the file itself.
    bench.queue.run(&commands)
}

/// A client that ends while its work is under way takes nothing with it.
fn child_leaves_in_flight(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    for _ in 0..rounds(8) {
        let pid = child(|| {
            let own = Device::open()?;
            let vm = own.vm()?;
            let bench = Bench::new(&vm)?;
            let commands = Commands::default().compute(&bench.nothing);
            for _ in 0..10 {
                bench.queue.submit(&commands, 0, &[])?;
            }
            // Nothing is destroyed, waited for or closed.
            std::mem::forget(bench);
            std::mem::forget(vm);
            std::mem::forget(own);
            Ok(())
        })?;
        bench.queue.run(&commands)?;
        ends_well(pid)?;
    }
    bench.queue.run(&commands)
}

/// So does one that is killed, at whatever moment.
fn killed_in_flight(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    for round in 0..rounds(12) {
        let pid = child(|| {
            let own = Device::open()?;
            loop {
                let vm = own.vm()?;
                let bench = Bench::new(&vm)?;
                let commands = Commands::default().compute(&bench.nothing);
                for _ in 0..5 {
                    bench.queue.submit(&commands, 0, &[])?;
                }
                bench.queue.run(&commands)?;
            }
        })?;
        std::thread::sleep(Duration::from_millis(20 + 7 * round as u64));
        // SAFETY: The child is ours and has not been waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        wait(pid, LIMIT)?.context("a killed client does not end")?;
        bench.queue.run(&commands)?;
    }
    Ok(())
}

/// Two descriptors of one file are one client, until both are closed.
fn dup(device: &Device) -> Result<()> {
    let own = Device::open()?;
    // SAFETY: A system call that gives a descriptor, which is ours then.
    let second = unsafe { OwnedFd::from_raw_fd(libc::dup(own.fd())) };
    let second = Device::from_fd(second);
    let vm = own.vm()?.into_id();
    let bo = own.bo(PAGE, 0, 0)?.into_handle();
    drop(own);
    let op = BindOp {
        flags: BIND_READ,
        handle: bo,
        offset: 0,
        range: PAGE,
        addr: HEAP,
    };
    let mut bind = VmBind {
        vm_id: vm,
        num_binds: 1,
        stride: size_of::<BindOp>() as u32,
        pad: 0,
        userptr: &raw const op as u64,
    };
    second.ioctl(&mut bind)?;
    device.refused(bind, ENOENT, "a VM of another file")
}

/// A program that the client executes has nothing of it.
fn exec_closes(device: &Device) -> Result<()> {
    let fd = device.fd();
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("[ ! -e /proc/self/fd/{fd} ]")])
        .status()
        .context("sh")?;
    ensure!(status.success(), "the program has the device's file");

    // Where the client wants that, it has: the file lives on, without the mappings.
    // SAFETY: Plain system calls.
    let inherited = unsafe { libc::dup(fd) };
    ensure!(inherited >= 0, "dup");
    let status = Command::new("/bin/sh")
        .args([
            "-c",
            &format!("[ \"$(readlink /proc/self/fd/{inherited})\" != \"\" ]"),
        ])
        .status();
    // SAFETY: The descriptor is ours.
    unsafe { libc::close(inherited) };
    ensure!(
        status.context("sh")?.success(),
        "the file was not inherited"
    );
    device.vm().map(drop)
}

/// Sends a descriptor over a socket, and gives what arrives.
fn over_a_socket(fd: i32) -> Result<OwnedFd> {
    let mut ends = [0; 2];
    // SAFETY: The kernel writes two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error()).context("socketpair");
    }
    // SAFETY: The descriptors are ours.
    let ends = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    let mut byte = [0u8];
    let mut piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 8];
    // SAFETY: A message of zeroes is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: The control buffer is aligned and has room for a header and a descriptor; all that the
    // message points to lives until the end of the function.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        if libc::sendmsg(ends[0].as_raw_fd(), &message, 0) != 1
            || libc::recvmsg(ends[1].as_raw_fd(), &mut message, 0) != 1
        {
            return Err(io::Error::last_os_error()).context("passing a descriptor");
        }
        let header = libc::CMSG_FIRSTHDR(&message);
        ensure!(!header.is_null(), "no descriptor has arrived");
        Ok(OwnedFd::from_raw_fd(
            libc::CMSG_DATA(header).cast::<i32>().read_unaligned(),
        ))
    }
}

/// A client may be given its file by another process.
fn passed_over_a_socket(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let other = Device::from_fd(over_a_socket(device.fd())?);
    let op = BindOp {
        flags: BIND_UNBIND,
        range: PAGE,
        addr: HEAP + PAGE,
        ..Default::default()
    };
    other.ioctl(&mut vm.bind_arg(&op))?;
    let foreign = over_a_socket(Device::open()?.fd())?;
    let foreign = Device::from_fd(foreign);
    foreign.refused(vm.bind_arg(&op), ENOENT, "a VM of another file")?;
    // Its sender is gone.
    let own = foreign.vm()?;
    let second = Bench::new(&own)?;
    second
        .queue
        .run(&Commands::default().compute(&second.nothing))?;
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}

/// Threads that do different things with one file.
fn threads_on_one_file(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    threads(4, |number| {
        for round in 0..rounds(40) as u64 {
            match number {
                0 => bench.queue.run(&commands)?,
                1 => {
                    let bo = device.bo(4 * PAGE, 0, 0)?;
                    vm.map(&bo, HEAP + 64 * PAGE + round % 3 * PAGE)?;
                    vm.unmap(HEAP + 64 * PAGE, 2 * PAGE)?;
                }
                2 => {
                    let queue = vm.queue()?;
                    queue.submit(&commands, 0, &[])?;
                    queue.run(&commands)?;
                }
                _ => {
                    let own = device.vm()?;
                    let bo = device.bo(PAGE, GEM_VM_PRIVATE, own.id)?;
                    own.map(&bo, HEAP)?;
                    bo.mmap()?.write(0, round);
                }
            }
        }
        Ok(())
    })
}

/// A thread closes the descriptor that another one is using.
fn closed_by_another_thread(device: &Device) -> Result<()> {
    for _ in 0..rounds(20) {
        let own = Device::open()?;
        let vm = own.vm()?;
        let bench = Bench::new(&vm)?;
        let commands = Commands::default().compute(&bench.nothing);
        // SAFETY: A system call that gives a descriptor, which the other thread closes.
        let second = unsafe { libc::dup(own.fd()) };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut arg = bench.queue.submit_arg(&commands.0, 0, &[]);
                    // SAFETY: The argument is one of SUBMIT. When the descriptor has been closed,
                    // nothing has its number.
                    let ret = unsafe { libc::ioctl(second, Submit::REQUEST as _, &raw mut arg) };
                    if ret < 0 {
                        break;
                    }
                }
            });
            // SAFETY: The descriptor is ours.
            unsafe { libc::close(second) };
        });
        bench.queue.run(&commands)?;
    }
    device.vm().map(drop)
}

const CAP_SYS_NICE: u32 = 23;

/// Gives up a capability, for this process alone.
fn drop_capability(capability: u32) -> Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [[0u32; 3]; 2];
    // SAFETY: The header and data are as capget(2) and capset(2) describe them.
    unsafe {
        if libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error()).context("capget");
        }
        for set in &mut data[capability as usize / 32][..2] {
            *set &= !(1 << (capability % 32));
        }
        if libc::syscall(libc::SYS_capset, &mut header, data.as_ptr()) < 0 {
            return Err(io::Error::last_os_error()).context("capset");
        }
    }
    Ok(())
}

/// Priorities above the usual are for those who may also run above others on a CPU.
fn priorities(device: &Device) -> Result<()> {
    let all = || -> Result<()> {
        let vm = device.vm()?;
        for priority in [
            PRIORITY_LOW,
            PRIORITY_MEDIUM,
            PRIORITY_HIGH,
            PRIORITY_REALTIME,
        ] {
            let bench = Bench::new(&vm)?;
            let queue = vm
                .queue_of(priority)
                .with_context(|| format!("priority {priority}"))?;
            queue.run(&Commands::default().compute(&bench.nothing))?;
        }
        Ok(())
    };
    all()?;
    ends_well(child(|| {
        drop_capability(CAP_SYS_NICE)?;
        let vm = device.vm()?;
        for priority in [PRIORITY_LOW, PRIORITY_MEDIUM] {
            vm.queue_of(priority)?;
        }
        for priority in [PRIORITY_HIGH, PRIORITY_REALTIME] {
            let create = QueueCreate {
                vm_id: vm.id,
                priority,
                ..Default::default()
            };
            let what = format!("priority {priority} without CAP_SYS_NICE");
            device.refused(create, EPERM, &what)?;
        }
        let create = QueueCreate {
            vm_id: vm.id,
            priority: PRIORITY_REALTIME + 1,
            ..Default::default()
        };
        device.refused(create, EINVAL, "an unknown priority")
    })?)
}

/// The render node is for everybody.
fn unprivileged(device: &Device) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", device.fd()))?;
    let before = std::fs::metadata(&path)?.permissions();
    // What udev would do.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666))?;
    let pid = child(|| {
        // SAFETY: Plain system calls, in a process with one thread.
        let done = unsafe { libc::setgid(65534) == 0 && libc::setuid(65534) == 0 };
        ensure!(done, "setuid");
        let own = Device::open()?;
        let vm = own.vm()?;
        let bench = Bench::new(&vm)?;
        let bo = own.bo(PAGE, GEM_WRITEBACK, 0)?;
        bo.mmap()?.write(0, 1);
        vm.map(&bo, HEAP + PAGE)?;
        let mut time = GetTime::default();
        own.ioctl(&mut time)?;
        ensure!(bytes(&time)[8..].iter().any(|&byte| byte != 0));
        bench
            .queue
            .run(&Commands::default().compute(&bench.nothing))
    })?;
    let result = ends_well(pid);
    std::fs::set_permissions(&path, before)?;
    result
}
