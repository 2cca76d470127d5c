// SPDX-License-Identifier: MIT OR Apache-2.0

//! An OpenGL ES context without a window.

use std::ffi::c_void;

use anyhow::{Context as _, Result, anyhow, bail};
use khronos_egl as egl;

/// EGL_PLATFORM_SURFACELESS_MESA.
const PLATFORM_SURFACELESS: egl::Enum = 0x31dd;

/// A context that is current on this thread.
pub struct Surface {
    pub gl: glow::Context,
    /// Keeps the library loaded.
    _egl: egl::DynamicInstance<egl::EGL1_5>,
}

impl Surface {
    /// Opens whichever GPU Mesa takes first.
    pub fn open() -> Result<Surface> {
        // SAFETY: The library is EGL by its name.
        let egl = unsafe { egl::DynamicInstance::<egl::EGL1_5>::load_required() }
            .map_err(|e| anyhow!("no EGL: {e}"))?;
        // SAFETY: This platform has no native display.
        let display = unsafe {
            let none = egl::DEFAULT_DISPLAY;
            egl.get_platform_display(PLATFORM_SURFACELESS, none, &[egl::ATTRIB_NONE])
        };
        let display = display.context("no surfaceless display")?;
        egl.initialize(display)?;
        egl.bind_api(egl::OPENGL_ES_API)?;
        let wanted = [
            egl::RENDERABLE_TYPE,
            egl::OPENGL_ES3_BIT,
            egl::SURFACE_TYPE,
            0,
            egl::NONE,
        ];
        let Some(config) = egl.choose_first_config(display, &wanted)? else {
            bail!("no configuration with OpenGL ES 3");
        };
        let version = [egl::CONTEXT_MAJOR_VERSION, 3, egl::NONE];
        let context = egl.create_context(display, config, None, &version)?;
        egl.make_current(display, None, None, Some(context))?;
        let find = |name: &str| {
            egl.get_proc_address(name)
                .map_or(std::ptr::null(), |function| function as *const c_void)
        };
        // SAFETY: The functions are those of the context that is current.
        let gl = unsafe { glow::Context::from_loader_function(find) };
        Ok(Surface { gl, _egl: egl })
    }
}
