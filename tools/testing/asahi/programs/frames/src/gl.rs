// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames of EGL surfaces.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

const EGL_WIDTH: c_int = 0x3057;
const EGL_HEIGHT: c_int = 0x3056;
const GL_RGBA: c_uint = 0x1908;
const GL_UNSIGNED_BYTE: c_uint = 0x1401;
const GL_PACK_ALIGNMENT: c_uint = 0x0d05;

type GetProcAddress = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type SwapBuffers = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_uint;
type QuerySurface = unsafe extern "C" fn(*mut c_void, *mut c_void, c_int, *mut c_int) -> c_uint;
type PixelStorei = unsafe extern "C" fn(c_uint, c_int);
type ReadPixels = unsafe extern "C" fn(c_int, c_int, c_int, c_int, c_uint, c_uint, *mut c_void);

/// The real library's function.
fn real() -> Option<GetProcAddress> {
    static REAL: OnceLock<Option<GetProcAddress>> = OnceLock::new();
    *REAL.get_or_init(|| {
        let path = CString::new(std::env::var("FRAMES_EGL").ok()?).ok()?;
        // SAFETY: Both names are C strings, and the function of this name is of this type.
        unsafe {
            let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            if library.is_null() {
                return None;
            }
            let function = libc::dlsym(library, c"eglGetProcAddress".as_ptr());
            (!function.is_null())
                .then(|| std::mem::transmute::<*mut c_void, GetProcAddress>(function))
        }
    })
}

/// A function of the real library's.
///
/// # Safety
///
/// `T` is the type of a pointer to the function of this name.
unsafe fn find<T: Copy>(name: &CStr) -> Option<T> {
    const { assert!(size_of::<T>() == size_of::<*mut c_void>()) };
    // SAFETY: The name is a C string.
    let function = unsafe { real()?(name.as_ptr()) };
    // SAFETY: By this function's contract; the sizes are the same.
    (!function.is_null()).then(|| unsafe { std::mem::transmute_copy(&function) })
}

/// Gives all functions of EGL and OpenGL.
///
/// # Safety
///
/// As for EGL's: `name` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn eglGetProcAddress(name: *const c_char) -> *mut c_void {
    // SAFETY: By this function's contract.
    let (text, real) = unsafe { (CStr::from_ptr(name), real()) };
    match real {
        Some(_) if text == c"eglSwapBuffers" => eglSwapBuffers as *mut c_void,
        // SAFETY: Passed on as it came.
        Some(real) => unsafe { real(name) },
        None => std::ptr::null_mut(),
    }
}

/// Keeps the frame.
///
/// # Safety
///
/// As for EGL's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn eglSwapBuffers(display: *mut c_void, surface: *mut c_void) -> c_uint {
    if crate::wanted() {
        // SAFETY: The caller has a context that draws to this surface.
        unsafe { keep(display, surface) };
    }
    // SAFETY: The function of this name is of this type, and the arguments are passed on as they came.
    unsafe {
        match find::<SwapBuffers>(c"eglSwapBuffers") {
            Some(real) => real(display, surface),
            None => 0,
        }
    }
}

macro_rules! forward {
    ($($name:ident)*) => {$(
        /// Passes a call on. All functions of EGL have at most six arguments, none of them a float.
        ///
        /// # Safety
        ///
        /// As for EGL's.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> usize {
            type Any = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;
            let name = concat!(stringify!($name), "\0");
            let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default();
            // SAFETY: Registers are passed on as they came; the function takes those that it knows.
            unsafe { find::<Any>(name).map_or(0, |function| function(a, b, c, d, e, f)) }
        }
    )*};
}

forward! {
    eglBindAPI eglBindTexImage eglChooseConfig eglClientWaitSync eglCopyBuffers eglCreateContext
    eglCreateImage eglCreatePbufferFromClientBuffer eglCreatePbufferSurface eglCreatePixmapSurface
    eglCreatePlatformPixmapSurface eglCreatePlatformWindowSurface eglCreateSync
    eglCreateWindowSurface eglDestroyContext eglDestroyImage eglDestroySurface eglDestroySync
    eglGetConfigAttrib eglGetConfigs eglGetCurrentContext eglGetCurrentDisplay eglGetCurrentSurface
    eglGetDisplay eglGetError eglGetPlatformDisplay eglGetSyncAttrib eglInitialize eglMakeCurrent
    eglQueryAPI eglQueryContext eglQueryString eglQuerySurface eglReleaseTexImage eglReleaseThread
    eglSurfaceAttrib eglSwapInterval eglTerminate eglWaitClient eglWaitGL eglWaitNative eglWaitSync
}

/// # Safety
///
/// A context is current, and draws to the surface.
unsafe fn keep(display: *mut c_void, surface: *mut c_void) -> Option<()> {
    let (mut width, mut height) = (0, 0);
    // SAFETY: The functions of these names are of these types; there is room for so many pixels.
    let rows = unsafe {
        let query: QuerySurface = find(c"eglQuerySurface")?;
        query(display, surface, EGL_WIDTH, &mut width);
        query(display, surface, EGL_HEIGHT, &mut height);
        let (w, h) = (usize::try_from(width).ok()?, usize::try_from(height).ok()?);
        let mut pixels = vec![0u8; w * h * 4];
        find::<PixelStorei>(c"glPixelStorei")?(GL_PACK_ALIGNMENT, 1);
        let read: ReadPixels = find(c"glReadPixels")?;
        read(
            0,
            0,
            width,
            height,
            GL_RGBA,
            GL_UNSIGNED_BYTE,
            pixels.as_mut_ptr().cast(),
        );
        pixels
    };
    // The lowest row comes first.
    let pixels = rows
        .chunks_exact(4 * width as usize)
        .rev()
        .flatten()
        .copied();
    crate::write(width as u32, height as u32, pixels.collect());
    Some(())
}
