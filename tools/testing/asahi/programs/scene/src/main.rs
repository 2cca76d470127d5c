// SPDX-License-Identifier: MIT OR Apache-2.0

//! `scene FILE [WIDTHxHEIGHT]`: draws one picture with OpenGL ES 3 and writes it as PNG.
//!
//! There is no window: any Mesa with the surfaceless platform will do, on a GPU or in software, so that two pictures of
//! the same scene can be compared. What is drawn has a bit of everything: a knot with smooth lighting, a floor with a
//! mipmapped texture in perspective, glass that is blended, points and lines, multisampling, depth and stencil.

mod matrix;
mod shapes;
mod surface;

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use glow::HasContext as _;

use matrix::Matrix;
use shapes::Mesh;

const WIDTH: i32 = 640;
const HEIGHT: i32 = 480;
const SAMPLES: i32 = 4;

const VERTEX: &str = "#version 300 es
uniform mat4 view, model;
uniform float size;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 at;
out vec3 facing, place;
out vec2 texel;
void main()
{
	vec4 world = model * vec4(position, 1.0);
	facing = mat3(model) * normal;
	place = world.xyz;
	texel = at;
	gl_Position = view * world;
	gl_PointSize = size;
}
";

const FRAGMENT: &str = "#version 300 es
precision highp float;
uniform sampler2D paint;
uniform vec4 colour;
uniform vec3 eye, light;
uniform float shine;
in vec3 facing, place;
in vec2 texel;
out vec4 pixel;
void main()
{
	vec3 n = normalize(gl_FrontFacing ? facing : -facing);
	vec3 l = normalize(light - place), v = normalize(eye - place);
	float diffuse = max(dot(n, l), 0.0);
	float gloss = shine * pow(max(dot(n, normalize(l + v)), 0.0), 32.0);
	vec4 base = colour * texture(paint, texel);
	pixel = vec4(base.rgb * (0.25 + 0.75 * diffuse) + gloss, base.a);
}
";

/// The program, and where its uniforms are.
struct Painter<'a> {
    gl: &'a glow::Context,
    program: glow::Program,
}

impl<'a> Painter<'a> {
    fn new(gl: &'a glow::Context) -> Result<Painter<'a>> {
        // SAFETY: A context is current, and all objects are its own.
        unsafe {
            let program = gl.create_program().map_err(|e| anyhow!(e))?;
            for (kind, source) in [
                (glow::VERTEX_SHADER, VERTEX),
                (glow::FRAGMENT_SHADER, FRAGMENT),
            ] {
                let shader = gl.create_shader(kind).map_err(|e| anyhow!(e))?;
                gl.shader_source(shader, source);
                gl.compile_shader(shader);
                if !gl.get_shader_compile_status(shader) {
                    bail!("{}", gl.get_shader_info_log(shader));
                }
                gl.attach_shader(program, shader);
            }
            gl.link_program(program);
            if !gl.get_program_link_status(program) {
                bail!("{}", gl.get_program_info_log(program));
            }
            gl.use_program(Some(program));
            Ok(Painter { gl, program })
        }
    }

    fn set(&self, name: &str, values: &[f32]) {
        // SAFETY: A context is current, and the program is in use.
        unsafe {
            let place = self.gl.get_uniform_location(self.program, name);
            let place = place.as_ref();
            match values.len() {
                1 => self.gl.uniform_1_f32(place, values[0]),
                3 => self.gl.uniform_3_f32_slice(place, values),
                4 => self.gl.uniform_4_f32_slice(place, values),
                _ => self.gl.uniform_matrix_4_f32_slice(place, false, values),
            }
        }
    }

    /// Draws a mesh as triangles, lines or points.
    fn draw(
        &self,
        mesh: &Mesh,
        mode: u32,
        model: &Matrix,
        colour: [f32; 4],
        shine: f32,
    ) -> Result<()> {
        let gl = self.gl;
        self.set("model", model.columns());
        self.set("colour", &colour);
        self.set("shine", &[shine]);
        // SAFETY: A context is current; the buffers have what the attributes and the draw say.
        unsafe {
            let array = gl.create_vertex_array().map_err(|e| anyhow!(e))?;
            gl.bind_vertex_array(Some(array));
            let vertices = gl.create_buffer().map_err(|e| anyhow!(e))?;
            gl.bind_buffer(glow::ARRAY_BUFFER, Some(vertices));
            gl.buffer_data_u8_slice(glow::ARRAY_BUFFER, &mesh.vertices(), glow::STATIC_DRAW);
            for (index, size, offset) in [(0, 3, 0), (1, 3, 12), (2, 2, 24)] {
                gl.enable_vertex_attrib_array(index);
                gl.vertex_attrib_pointer_f32(index, size, glow::FLOAT, false, 32, offset);
            }
            let indices = gl.create_buffer().map_err(|e| anyhow!(e))?;
            gl.bind_buffer(glow::ELEMENT_ARRAY_BUFFER, Some(indices));
            gl.buffer_data_u8_slice(
                glow::ELEMENT_ARRAY_BUFFER,
                &mesh.indices(),
                glow::STATIC_DRAW,
            );
            gl.draw_elements(mode, mesh.count(), glow::UNSIGNED_SHORT, 0);
        }
        Ok(())
    }
}

/// A texture of this size with all its smaller levels.
fn texture(
    gl: &glow::Context,
    size: u32,
    texel: impl Fn(u32, u32) -> [u8; 4],
) -> Result<glow::Texture> {
    let texels: Vec<u8> = (0..size * size)
        .flat_map(|i| texel(i % size, i / size))
        .collect();
    // SAFETY: A context is current; there are as many texels as the size says.
    unsafe {
        let texture = gl.create_texture().map_err(|e| anyhow!(e))?;
        gl.bind_texture(glow::TEXTURE_2D, Some(texture));
        gl.tex_image_2d(
            glow::TEXTURE_2D,
            0,
            glow::RGBA8 as i32,
            size as i32,
            size as i32,
            0,
            glow::RGBA,
            glow::UNSIGNED_BYTE,
            glow::PixelUnpackData::Slice(Some(&texels)),
        );
        gl.generate_mipmap(glow::TEXTURE_2D);
        let filter = glow::LINEAR_MIPMAP_LINEAR as i32;
        gl.tex_parameter_i32(glow::TEXTURE_2D, glow::TEXTURE_MIN_FILTER, filter);
        Ok(texture)
    }
}

/// A framebuffer of this size with colour, depth and stencil.
fn framebuffer(gl: &glow::Context, size: [i32; 2], samples: i32) -> Result<glow::Framebuffer> {
    // SAFETY: A context is current.
    unsafe {
        let framebuffer = gl.create_framebuffer().map_err(|e| anyhow!(e))?;
        gl.bind_framebuffer(glow::FRAMEBUFFER, Some(framebuffer));
        for (attachment, format) in [
            (glow::COLOR_ATTACHMENT0, glow::RGBA8),
            (glow::DEPTH_STENCIL_ATTACHMENT, glow::DEPTH24_STENCIL8),
        ] {
            let buffer = gl.create_renderbuffer().map_err(|e| anyhow!(e))?;
            gl.bind_renderbuffer(glow::RENDERBUFFER, Some(buffer));
            gl.renderbuffer_storage_multisample(
                glow::RENDERBUFFER,
                samples,
                format,
                size[0],
                size[1],
            );
            gl.framebuffer_renderbuffer(
                glow::FRAMEBUFFER,
                attachment,
                glow::RENDERBUFFER,
                Some(buffer),
            );
        }
        match gl.check_framebuffer_status(glow::FRAMEBUFFER) {
            glow::FRAMEBUFFER_COMPLETE => Ok(framebuffer),
            status => bail!("the framebuffer is not complete: {status:#x}"),
        }
    }
}

fn paint(gl: &glow::Context, size: [i32; 2]) -> Result<()> {
    let painter = Painter::new(gl)?;
    let white = texture(gl, 1, |_, _| [255; 4])?;
    let checks = texture(gl, 256, |x, y| match (x / 16 + y / 16) % 2 {
        0 => [230, 220, 200, 255],
        _ => [40, (x / 2) as u8, (y / 2) as u8, 255],
    })?;
    let eye = [0.0, 2.4, 6.0];
    let aspect = size[0] as f32 / size[1] as f32;
    let view =
        Matrix::perspective(0.8, aspect, 0.5, 60.0).times(&Matrix::look(eye, [0.0, 0.6, 0.0]));
    painter.set("view", view.columns());
    painter.set("eye", &eye);
    painter.set("light", &[3.0, 6.0, 4.0]);
    painter.set("size", &[7.0]);
    // SAFETY: A context is current.
    unsafe {
        gl.viewport(0, 0, size[0], size[1]);
        gl.clear_color(0.05, 0.07, 0.15, 1.0);
        gl.clear(glow::COLOR_BUFFER_BIT | glow::DEPTH_BUFFER_BIT | glow::STENCIL_BUFFER_BIT);
        gl.enable(glow::DEPTH_TEST);
        // The floor leaves its mark in the stencil, for the mirror image.
        gl.enable(glow::STENCIL_TEST);
        gl.stencil_func(glow::ALWAYS, 1, 0xff);
        gl.stencil_op(glow::KEEP, glow::KEEP, glow::REPLACE);
        gl.bind_texture(glow::TEXTURE_2D, Some(checks));
    }
    let floor = shapes::floor(12.0, 3.0);
    painter.draw(&floor, glow::TRIANGLES, &Matrix::identity(), [1.0; 4], 0.0)?;
    let knot = shapes::knot(160, 24);
    let turn = Matrix::turn(0.5);
    // SAFETY: A context is current.
    unsafe {
        gl.bind_texture(glow::TEXTURE_2D, Some(white));
        gl.stencil_func(glow::EQUAL, 1, 0xff);
        gl.stencil_op(glow::KEEP, glow::KEEP, glow::KEEP);
        gl.disable(glow::DEPTH_TEST);
        gl.enable(glow::CULL_FACE);
        gl.cull_face(glow::FRONT);
        gl.enable(glow::BLEND);
        gl.blend_func(glow::SRC_ALPHA, glow::ONE_MINUS_SRC_ALPHA);
    }
    let mirrored =
        Matrix::scale([1.0, -1.0, 1.0]).times(&Matrix::shift([0.0, 1.3, 0.0]).times(&turn));
    painter.draw(
        &knot,
        glow::TRIANGLES,
        &mirrored,
        [0.3, 0.2, 0.1, 0.35],
        0.0,
    )?;
    // SAFETY: A context is current.
    unsafe {
        gl.disable(glow::STENCIL_TEST);
        gl.disable(glow::BLEND);
        gl.enable(glow::DEPTH_TEST);
        gl.cull_face(glow::BACK);
    }
    let upright = Matrix::shift([0.0, 1.3, 0.0]).times(&turn);
    painter.draw(&knot, glow::TRIANGLES, &upright, [0.9, 0.5, 0.15, 1.0], 0.6)?;
    // SAFETY: A context is current.
    unsafe {
        gl.disable(glow::CULL_FACE);
        gl.bind_texture(glow::TEXTURE_2D, Some(checks));
    }
    let ball = shapes::ball(32, 20);
    let place = Matrix::shift([-2.2, 0.7, 0.4]).times(&Matrix::scale([0.7; 3]));
    painter.draw(&ball, glow::TRIANGLES, &place, [0.6, 0.9, 1.0, 1.0], 0.8)?;
    // SAFETY: A context is current.
    unsafe { gl.bind_texture(glow::TEXTURE_2D, Some(white)) };
    let cage = Matrix::shift([2.2, 0.9, 0.2]).times(&Matrix::scale([0.9; 3]));
    painter.draw(
        &shapes::ball(16, 9),
        glow::LINES,
        &cage,
        [0.5, 1.0, 0.6, 1.0],
        0.0,
    )?;
    painter.draw(
        &shapes::ball(9, 6),
        glow::POINTS,
        &cage,
        [1.0, 0.9, 0.3, 1.0],
        0.0,
    )?;
    // SAFETY: A context is current.
    unsafe {
        gl.enable(glow::BLEND);
        gl.depth_mask(false);
    }
    let glass = Matrix::shift([1.0, 0.7, 1.9]).times(&Matrix::scale([0.6; 3]));
    painter.draw(&ball, glow::TRIANGLES, &glass, [0.4, 0.6, 1.0, 0.35], 0.7)
}

/// The pixels of the framebuffer that is bound, from the top.
fn read(gl: &glow::Context, size: [i32; 2]) -> Vec<u8> {
    let row = size[0] as usize * 4;
    let mut pixels = vec![0; row * size[1] as usize];
    // SAFETY: A context is current, and the slice has a place for each pixel.
    unsafe {
        let to = glow::PixelPackData::Slice(Some(&mut pixels));
        gl.read_pixels(0, 0, size[0], size[1], glow::RGBA, glow::UNSIGNED_BYTE, to);
    }
    pixels.chunks(row).rev().flatten().copied().collect()
}

fn write(path: &str, size: [i32; 2], pixels: &[u8]) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {path}"))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), size[0] as u32, size[1] as u32);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    Ok(writer.finish()?)
}

fn run(path: &str, size: [i32; 2]) -> Result<()> {
    let surface = surface::Surface::open()?;
    let gl = &surface.gl;
    // SAFETY: A context is current.
    println!("renderer: {}", unsafe {
        gl.get_parameter_string(glow::RENDERER)
    });
    let sampled = framebuffer(gl, size, SAMPLES)?;
    paint(gl, size)?;
    let resolved = framebuffer(gl, size, 0)?;
    // SAFETY: A context is current, and both framebuffers are complete.
    unsafe {
        gl.bind_framebuffer(glow::READ_FRAMEBUFFER, Some(sampled));
        gl.bind_framebuffer(glow::DRAW_FRAMEBUFFER, Some(resolved));
        let [w, h] = size;
        gl.blit_framebuffer(
            0,
            0,
            w,
            h,
            0,
            0,
            w,
            h,
            glow::COLOR_BUFFER_BIT,
            glow::NEAREST,
        );
        gl.bind_framebuffer(glow::READ_FRAMEBUFFER, Some(resolved));
    }
    let pixels = read(gl, size);
    // SAFETY: A context is current.
    match unsafe { gl.get_error() } {
        glow::NO_ERROR => write(path, size, &pixels),
        error => bail!("OpenGL error {error:#x}"),
    }
}

/// A size such as 640x480.
fn parse(text: &str) -> Option<[i32; 2]> {
    let (width, height) = text.split_once('x')?;
    let size = [width.parse().ok()?, height.parse().ok()?];
    size.iter().all(|n| (1..=4096).contains(n)).then_some(size)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (path, size) = match &args[..] {
        [path] => (path, Some([WIDTH, HEIGHT])),
        [path, size] => (path, parse(size)),
        _ => (&String::new(), None),
    };
    let Some(size) = size else {
        eprintln!("usage: scene FILE [WIDTHxHEIGHT]");
        return ExitCode::from(2);
    };
    match run(path, size) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scene: {error:#}");
            ExitCode::FAILURE
        }
    }
}
