// SPDX-License-Identifier: MIT OR Apache-2.0

//! The little of OpenCL that is needed, from whichever driver the loader finds.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use anyhow::{Context as _, Result, bail, ensure};

type Handle = *mut c_void;

const MEM_READ_WRITE: u64 = 1;
const MEM_COPY_HOST_PTR: u64 = 1 << 5;
const DEVICE_TYPE_ALL: u64 = 0xffff_ffff;
const DEVICE_NAME: c_uint = 0x102b;
const PROGRAM_BUILD_LOG: c_uint = 0x1183;

macro_rules! functions {
    ($($field:ident = $name:literal ($($arg:ty),*) -> $result:ty;)*) => {
        /// The functions by their names.
        struct Functions {
            $($field: unsafe extern "C" fn($($arg),*) -> $result,)*
        }

        impl Functions {
            fn load() -> Result<Functions> {
                // SAFETY: The name is a C string.
                let library = unsafe { libc::dlopen(c"libOpenCL.so.1".as_ptr(), libc::RTLD_NOW) };
                ensure!(!library.is_null(), "there is no libOpenCL.so.1");
                let find = |name: &CStr| {
                    // SAFETY: The library is loaded and the name a C string.
                    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
                    (!symbol.is_null()).then_some(symbol).context("an OpenCL that lacks functions")
                };
                Ok(Functions {
                    // SAFETY: The function of this name is of this type (Khronos, `CL/cl.h`).
                    $($field: unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) -> $result>(find($name)?)
                    },)*
                })
            }
        }
    };
}

functions! {
    platforms = c"clGetPlatformIDs" (c_uint, *mut Handle, *mut c_uint) -> c_int;
    devices = c"clGetDeviceIDs" (Handle, u64, c_uint, *mut Handle, *mut c_uint) -> c_int;
    info = c"clGetDeviceInfo" (Handle, c_uint, usize, *mut c_void, *mut usize) -> c_int;
    context = c"clCreateContext" (*const isize, c_uint, *const Handle, *const c_void, *const c_void, *mut c_int) -> Handle;
    queue = c"clCreateCommandQueue" (Handle, Handle, u64, *mut c_int) -> Handle;
    program = c"clCreateProgramWithSource" (Handle, c_uint, *const *const c_char, *const usize, *mut c_int) -> Handle;
    build = c"clBuildProgram" (Handle, c_uint, *const Handle, *const c_char, *const c_void, *const c_void) -> c_int;
    log = c"clGetProgramBuildInfo" (Handle, Handle, c_uint, usize, *mut c_void, *mut usize) -> c_int;
    kernel = c"clCreateKernel" (Handle, *const c_char, *mut c_int) -> Handle;
    argument = c"clSetKernelArg" (Handle, c_uint, usize, *const c_void) -> c_int;
    buffer = c"clCreateBuffer" (Handle, u64, usize, *const c_void, *mut c_int) -> Handle;
    run = c"clEnqueueNDRangeKernel" (Handle, Handle, c_uint, *const usize, *const usize, *const usize, c_uint, *const Handle, *mut Handle) -> c_int;
    read = c"clEnqueueReadBuffer" (Handle, Handle, c_uint, usize, usize, *mut c_void, c_uint, *const Handle, *mut Handle) -> c_int;
}

/// A device with a program. Nothing is given back: the process ends soon.
pub struct Device {
    cl: Functions,
    context: Handle,
    queue: Handle,
    program: Handle,
    pub name: String,
}

fn check(code: c_int, what: &str) -> Result<()> {
    ensure!(code == 0, "{what}: error {code}");
    Ok(())
}

impl Device {
    /// The first device, with a program of this source.
    pub fn new(source: &str, options: &str) -> Result<Device> {
        let cl = Functions::load()?;
        let (mut platform, mut device, mut code) = (null_mut(), null_mut(), 0);
        let mut name = [0u8; 256];
        let mut len = 0;
        let text = source.as_ptr().cast();
        let options = CString::new(options)?;
        // SAFETY: All pointers are to values of the size that is told with them.
        unsafe {
            check((cl.platforms)(1, &mut platform, null_mut()), "no platform")?;
            let found = (cl.devices)(platform, DEVICE_TYPE_ALL, 1, &mut device, null_mut());
            check(found, "no device")?;
            (cl.info)(
                device,
                DEVICE_NAME,
                name.len(),
                name.as_mut_ptr().cast(),
                &mut len,
            );
            let context = (cl.context)(null(), 1, &device, null(), null(), &mut code);
            check(code, "clCreateContext")?;
            let queue = (cl.queue)(context, device, 0, &mut code);
            check(code, "clCreateCommandQueue")?;
            let program = (cl.program)(context, 1, &text, &source.len(), &mut code);
            check(code, "clCreateProgramWithSource")?;
            if (cl.build)(program, 1, &device, options.as_ptr(), null(), null()) != 0 {
                let mut log = vec![0u8; 16384];
                (cl.log)(
                    program,
                    device,
                    PROGRAM_BUILD_LOG,
                    log.len(),
                    log.as_mut_ptr().cast(),
                    &mut len,
                );
                bail!(
                    "the program: {}",
                    String::from_utf8_lossy(&log[..len.min(log.len())])
                );
            }
            Ok(Device {
                cl,
                context,
                queue,
                program,
                name: String::from_utf8_lossy(&name[..len.saturating_sub(1).min(255)]).into_owned(),
            })
        }
    }

    /// Runs a kernel that makes as many words as it is given.
    pub fn run(&self, kernel: &str, words: &[u32], group: usize) -> Result<Vec<u32>> {
        let (cl, bytes) = (&self.cl, size_of_val(words));
        let name = CString::new(kernel)?;
        let mut out = vec![0u32; words.len()];
        let mut code = 0;
        let flags = MEM_READ_WRITE | MEM_COPY_HOST_PTR;
        // SAFETY: All pointers are to values of the size that is told with them; reading waits until all is done.
        unsafe {
            let function = (cl.kernel)(self.program, name.as_ptr(), &mut code);
            check(code, kernel)?;
            let mut last = null_mut();
            for (index, content) in [words, &out].into_iter().enumerate() {
                let at = content.as_ptr().cast();
                last = (cl.buffer)(self.context, flags, bytes, at, &mut code);
                check(code, "clCreateBuffer")?;
                let place = (&raw const last).cast();
                let told = (cl.argument)(function, index as c_uint, size_of::<Handle>(), place);
                check(told, "clSetKernelArg")?;
            }
            let (n, none, end) = (words.len(), null(), null_mut());
            let ran = (cl.run)(self.queue, function, 1, none, &n, &group, 0, null(), end);
            check(ran, kernel)?;
            let to = out.as_mut_ptr().cast();
            let read = (cl.read)(self.queue, last, 1, 0, bytes, to, 0, null(), end);
            check(read, "clEnqueueReadBuffer")?;
        }
        Ok(out)
    }
}
