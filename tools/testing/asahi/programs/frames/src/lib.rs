// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps a frame of a program that knows nothing of it, to be compared with another renderer's.
//!
//! Preloaded, it replaces some functions of the Vulkan loader. Found by the name `libEGL.so.1`, it is a library of EGL
//! that has everything from the real one, which `FRAMES_EGL` names. The frame `FRAMES_AT`, counted from zero, is
//! written to `FRAMES_FILE` as PNG when it is presented.
//!
//! Programs that move things by the clock show the same in their first frame, whatever draws it.

mod gl;
mod vulkan;

use std::ffi::CStr;
use std::fs::File;
use std::io::BufWriter;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A function of the libraries behind this one, or null.
fn next(name: &CStr) -> *mut libc::c_void {
    // SAFETY: The name is a C string.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// Whether the frame that is about to be presented is the one.
fn wanted() -> bool {
    static FRAME: AtomicU64 = AtomicU64::new(0);
    static AT: OnceLock<u64> = OnceLock::new();
    let at = *AT.get_or_init(|| {
        let text = std::env::var("FRAMES_AT").unwrap_or_default();
        text.parse().unwrap_or(0)
    });
    FRAME.fetch_add(1, Relaxed) == at
}

/// Writes pixels of four bytes, opaque.
fn write(width: u32, height: u32, mut pixels: Vec<u8>) {
    let Some(path) = std::env::var_os("FRAMES_FILE") else {
        return;
    };
    for pixel in pixels.as_chunks_mut::<4>().0 {
        pixel[3] = 255;
    }
    let written = File::create(&path)
        .map_err(png::EncodingError::from)
        .and_then(|file| {
            let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
            encoder.set_color(png::ColorType::Rgba);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&pixels)?;
            writer.finish()
        });
    if let Err(error) = written {
        eprintln!("frames: {}: {error}", path.display());
    }
}
