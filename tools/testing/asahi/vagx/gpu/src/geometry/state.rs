// SPDX-License-Identifier: MIT OR Apache-2.0

//! State that the primitive processor takes from records and that stays until it is changed (Mesa,
//! `src/asahi/genxml/cmdbuf.xml`, "PPP state"; names are those of that file).

/// A pair of words whose bits say how fragments are tested; the second is the shader's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentControl {
    /// The words as they are, combined by or.
    pub bits: u32,
}

/// What an occlusion query counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    #[default]
    None,
    /// Samples that pass are added.
    Counting,
    /// One if any sample passes.
    Boolean,
}

impl FragmentControl {
    fn bit(self, bit: u32) -> bool {
        self.bits >> bit & 1 != 0
    }

    pub fn visibility(self) -> Visibility {
        match self.bits >> 14 & 3 {
            2 => Visibility::Counting,
            3 => Visibility::Boolean,
            _ => Visibility::None,
        }
    }

    pub fn scissor_enable(self) -> bool {
        self.bit(16)
    }

    pub fn depth_bias_enable(self) -> bool {
        self.bit(17)
    }

    pub fn stencil_test_enable(self) -> bool {
        self.bit(18)
    }

    /// Back faces have their own stencil state.
    pub fn two_sided_stencil(self) -> bool {
        self.bit(19)
    }

    /// No fragment shader runs.
    pub fn tag_write_disable(self) -> bool {
        self.bit(21)
    }

    pub fn sample_mask_after_depth_stencil(self) -> bool {
        self.bit(25)
    }

    /// Opaque, translucent, punch through, translucent punch through.
    pub fn pass_type(self) -> u32 {
        self.bits >> 29
    }
}

/// How triangles are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolygonMode {
    #[default]
    Fill,
    Line,
    Point,
}

/// What is drawn, and which way point coordinates go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectType {
    #[default]
    Triangle,
    Line,
    /// The point coordinate's t goes from 1 at the upper edge to 0 ("UV=10").
    PointSpriteUv10,
    /// It goes from 0 at the upper edge to 1 ("UV=01").
    PointSpriteUv01,
    /// What Mesa does not name.
    Unknown(u8),
}

/// Fragment face: two words for each face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Face {
    /// "Fragment face".
    pub word: u32,
    /// "Fragment face 2".
    pub word2: u32,
}

impl Face {
    pub fn stencil_reference(self) -> u8 {
        self.word as u8
    }

    /// In pixels: 4.4 fixed point of one less than a sixteenth.
    pub fn line_width(self) -> f32 {
        ((self.word >> 8 & 0xff) + 1) as f32 / 16.0
    }

    pub fn polygon_mode(self) -> PolygonMode {
        match self.word >> 18 & 3 {
            1 => PolygonMode::Line,
            2 => PolygonMode::Point,
            _ => PolygonMode::Fill,
        }
    }

    /// Depth is written unless both words disable that.
    pub fn depth_write(self) -> bool {
        self.word & self.word2 & 1 << 21 == 0
    }

    /// Both comparisons ("ZS Func") must pass.
    pub fn depth_functions(self) -> [u32; 2] {
        [self.word >> 24 & 7, self.word2 >> 24 & 7]
    }

    /// Any, greater, less, unchanged.
    pub fn conservative_depth(self) -> u32 {
        self.word2 >> 22 & 3
    }

    pub fn object_type(self) -> ObjectType {
        match self.word2 >> 28 {
            0 => ObjectType::Triangle,
            1 => ObjectType::Line,
            2 => ObjectType::PointSpriteUv10,
            4 => ObjectType::PointSpriteUv01,
            other => ObjectType::Unknown(other as u8),
        }
    }
}

/// Fragment stencil.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stencil {
    pub word: u32,
}

impl Stencil {
    pub fn write_mask(self) -> u8 {
        self.word as u8
    }

    pub fn read_mask(self) -> u8 {
        (self.word >> 8) as u8
    }

    /// "Stencil Op".
    pub fn depth_pass(self) -> u32 {
        self.word >> 16 & 7
    }

    pub fn depth_fail(self) -> u32 {
        self.word >> 19 & 7
    }

    pub fn stencil_fail(self) -> u32 {
        self.word >> 22 & 7
    }

    /// "ZS Func".
    pub fn compare(self) -> u32 {
        self.word >> 25 & 7
    }
}

/// Tiles of 32 x 32 pixels to draw in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionClip {
    pub enable: bool,
    /// In tiles.
    pub min_x: u32,
    pub min_y: u32,
    /// The first tile past the last.
    pub max_x: u32,
    pub max_y: u32,
}

/// From normalised coordinates to pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Viewport {
    pub translate: [f32; 3],
    pub scale: [f32; 3],
}

/// Numbers of varyings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VaryingCounts {
    pub smooth: u8,
    pub flat: u8,
    pub linear: u8,
}

impl VaryingCounts {
    pub fn total(self) -> usize {
        usize::from(self.smooth) + usize::from(self.flat) + usize::from(self.linear)
    }
}

/// What the vertex shader writes besides the position, and what the coefficients have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputSelect {
    pub word: u32,
}

impl OutputSelect {
    fn bit(self, bit: u32) -> bool {
        self.word >> bit & 1 != 0
    }

    /// A bit for each plane.
    pub fn clip_distances(self) -> u16 {
        self.word as u16
    }

    pub fn varyings(self) -> bool {
        self.bit(16)
    }

    pub fn point_size(self) -> bool {
        self.bit(18)
    }

    pub fn viewport_target(self) -> bool {
        self.bit(19)
    }

    pub fn render_target(self) -> bool {
        self.bit(20)
    }

    /// Slot 1 is depth, and varyings begin with slot 2.
    pub fn frag_coord_z(self) -> bool {
        self.bit(21)
    }

    pub fn barycentric_coordinates(self) -> bool {
        self.bit(22)
    }
}

/// "Cull" and "Cull 2".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cull {
    pub word: u32,
    pub word2: u32,
}

impl Cull {
    fn bit(self, bit: u32) -> bool {
        self.word >> bit & 1 != 0
    }

    pub fn front(self) -> bool {
        self.bit(0)
    }

    pub fn back(self) -> bool {
        self.bit(1)
    }

    pub fn depth_clip(self) -> bool {
        self.bit(10)
    }

    /// Depths are clamped to what the scissor says.
    pub fn depth_clamp(self) -> bool {
        self.bit(11)
    }

    /// Lines and points are rasterised as multisampled ones.
    pub fn primitive_msaa(self) -> bool {
        self.bit(15)
    }

    pub fn front_face_ccw(self) -> bool {
        self.bit(16)
    }

    pub fn rasterizer_discard(self) -> bool {
        (self.word | self.word2) >> 17 & 1 != 0
    }

    pub fn clamp_w(self) -> bool {
        self.word2 >> 5 & 1 != 0
    }
}

/// "Fragment shader", four words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentShader {
    pub words: [u32; 4],
}

impl FragmentShader {
    /// Sampler states carry border colours.
    pub fn extended_samplers(self) -> bool {
        matches!(self.words[0] >> 9 & 7, 6 | 7)
    }

    pub fn cf_binding_count(self) -> usize {
        (self.words[0] >> 16 & 0x7f) as usize
    }

    /// Address of the state words, relative to `usc_exec_base`.
    pub fn pipeline(self) -> u32 {
        self.words[1] & !0x3f
    }

    /// Address of the coefficient bindings, relative to `usc_exec_base`. Zero without any.
    pub fn cf_bindings(self) -> u32 {
        self.words[2] & !3
    }
}

/// All state that the fragment half needs of a draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrawState {
    pub fragment_control: FragmentControl,
    pub front_face: Face,
    pub back_face: Face,
    pub front_stencil: Stencil,
    pub back_stencil: Stencil,
    /// Entry of the scissor array.
    pub scissor: u16,
    /// Entry of the depth bias array.
    pub depth_bias: u16,
    /// One for each viewport.
    pub region_clips: Vec<RegionClip>,
    pub viewports: Vec<Viewport>,
    pub w_clamp: f32,
    pub output_select: OutputSelect,
    pub varying_counts_32: VaryingCounts,
    pub varying_counts_16: VaryingCounts,
    pub cull: Cull,
    pub fragment_shader: FragmentShader,
    /// Entry of the array of occlusion counts.
    pub occlusion_query: u16,
    /// Words that the vertex shader writes for each vertex.
    pub output_size: u32,
}

impl DrawState {
    /// The state of the face that a primitive shows.
    pub fn face(&self, back_facing: bool) -> Face {
        match back_facing {
            false => self.front_face,
            true => self.back_face,
        }
    }

    /// Stencil state of the face that a primitive shows.
    pub fn stencil(&self, back_facing: bool) -> Stencil {
        match back_facing && self.fragment_control.two_sided_stencil() {
            false => self.front_stencil,
            true => self.back_stencil,
        }
    }
}
