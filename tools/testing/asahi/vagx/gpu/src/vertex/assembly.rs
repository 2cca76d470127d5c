// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a sequence of vertices to points, lines and triangles.

/// What a sequence of vertices makes (Mesa, `src/asahi/genxml/cmdbuf.xml`, "Primitive"). Quads are named there too, but
/// Mesa never draws any, so that the order of their vertices is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Points,
    Lines,
    LineStrip,
    LineLoop,
    Triangles,
    TriangleStrip,
    TriangleFan,
}

impl Topology {
    pub(crate) fn new(primitive: u32) -> Option<Self> {
        Some(match primitive {
            0 => Topology::Points,
            1 => Topology::Lines,
            3 => Topology::LineStrip,
            5 => Topology::LineLoop,
            6 => Topology::Triangles,
            9 => Topology::TriangleStrip,
            11 => Topology::TriangleFan,
            _ => return None,
        })
    }
}

/// A primitive before it is clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    /// How many of the vertices count: 1, 2 or 3. The others repeat the last one.
    pub(crate) corners: u8,
    pub(crate) vertices: [u32; 3],
    /// Its number in its instance.
    pub(crate) id: u32,
}

/// Puts primitives together.
pub(crate) struct Assembler {
    topology: Topology,
    /// The first vertex is the one that matters for flat shading.
    first_matters: bool,
    /// Vertices since the last restart.
    count: u64,
    first: u32,
    /// The last two vertices, the younger one last.
    last: [u32; 2],
    id: u32,
}

impl Assembler {
    /// `flat_vertex` is the vertex that gives flat varyings their values, 0 to 2: it decides in which order the vertices
    /// of every second triangle of a strip come, which must neither change the winding nor the number of this vertex.
    pub(crate) fn new(topology: Topology, flat_vertex: u32) -> Self {
        Assembler {
            topology,
            first_matters: flat_vertex == 0,
            count: 0,
            first: 0,
            last: [0; 2],
            id: 0,
        }
    }

    /// The next vertex.
    #[inline]
    pub(crate) fn push(&mut self, v: u32) -> Option<Assembled> {
        let n = self.count;
        self.count += 1;
        if n == 0 {
            self.first = v;
        }
        let [b, a] = [self.last[0], self.last[1]];
        self.last = [a, v];
        match self.topology {
            Topology::Points => self.made(1, [v; 3]),
            Topology::Lines if n % 2 == 1 => self.made(2, [a, v, v]),
            Topology::LineStrip | Topology::LineLoop if n > 0 => self.made(2, [a, v, v]),
            Topology::Triangles if n % 3 == 2 => self.made(3, [b, a, v]),
            Topology::TriangleStrip if n >= 2 => {
                let even = n.is_multiple_of(2);
                let vertices = match (even, self.first_matters) {
                    (true, _) => [b, a, v],
                    (false, true) => [b, v, a],
                    (false, false) => [a, b, v],
                };
                self.made(3, vertices)
            }
            Topology::TriangleFan if n >= 2 => self.made(3, [self.first, a, v]),
            _ => None,
        }
    }

    /// A restart: what comes next begins anew. Loops are closed.
    pub(crate) fn restart(&mut self) -> Option<Assembled> {
        let n = std::mem::take(&mut self.count);
        if self.topology == Topology::LineLoop && n >= 2 {
            let last = self.last[1];
            return self.made(2, [last, self.first, self.first]);
        }
        None
    }

    /// The next instance. The one before must have been ended by a restart.
    pub(crate) fn next_instance(&mut self) {
        self.id = 0;
    }

    fn made(&mut self, corners: u8, vertices: [u32; 3]) -> Option<Assembled> {
        let id = self.id;
        self.id = id.wrapping_add(1);
        Some(Assembled {
            corners,
            vertices,
            id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What vertices 0 to `count - 1` make.
    fn assemble(topology: Topology, flat_vertex: u32, count: u32) -> Vec<Vec<u32>> {
        let mut assembler = Assembler::new(topology, flat_vertex);
        let mut all: Vec<Assembled> = (0..count).filter_map(|v| assembler.push(v)).collect();
        all.extend(assembler.restart());
        for (id, made) in (0..).zip(&all) {
            assert_eq!(made.id, id);
        }
        all.iter()
            .map(|made| made.vertices[..usize::from(made.corners)].to_vec())
            .collect()
    }

    #[test]
    fn lists() {
        assert_eq!(assemble(Topology::Points, 2, 2), [[0], [1]]);
        assert_eq!(assemble(Topology::Lines, 2, 5), [[0, 1], [2, 3]]);
        let triangles = assemble(Topology::Triangles, 2, 8);
        assert_eq!(triangles, [[0, 1, 2], [3, 4, 5]]);
    }

    #[test]
    fn strips_and_loops_of_lines() {
        assert_eq!(assemble(Topology::LineStrip, 2, 3), [[0, 1], [1, 2]]);
        let closed = assemble(Topology::LineLoop, 2, 3);
        assert_eq!(closed, [[0, 1], [1, 2], [2, 0]]);
        assert!(assemble(Topology::LineLoop, 2, 1).is_empty());
    }

    #[test]
    fn strips_keep_their_winding_and_the_flat_vertex() {
        let last = assemble(Topology::TriangleStrip, 2, 5);
        assert_eq!(last, [[0, 1, 2], [2, 1, 3], [2, 3, 4]]);
        let first = assemble(Topology::TriangleStrip, 0, 5);
        assert_eq!(first, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]);
    }

    #[test]
    fn fans() {
        let fan = assemble(Topology::TriangleFan, 2, 5);
        assert_eq!(fan, [[0, 1, 2], [0, 2, 3], [0, 3, 4]]);
    }

    #[test]
    fn restarts_begin_anew_and_instances_count_anew() {
        let mut assembler = Assembler::new(Topology::TriangleStrip, 2);
        for v in 0..4 {
            assembler.push(v);
        }
        assert_eq!(assembler.restart(), None);
        assert_eq!(assembler.push(7), None);
        assert_eq!(assembler.push(8), None);
        let made = assembler.push(9).unwrap();
        assert_eq!((made.vertices, made.id), ([7, 8, 9], 2));
        assembler.restart();
        assembler.next_instance();
        let made = [1, 2, 3].map(|v| assembler.push(v))[2].unwrap();
        assert_eq!((made.vertices, made.id), ([1, 2, 3], 0));
    }
}
