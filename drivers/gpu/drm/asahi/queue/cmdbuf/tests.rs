// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Tests of the parser.

use super::*;

const NONE: u16 = 0xffff;
const RENDER: u16 = 0;
const COMPUTE: u16 = 1;
const VERTEX_ATTACHMENTS: u16 = 2;
const FRAGMENT_ATTACHMENTS: u16 = 3;
const COMPUTE_ATTACHMENTS: u16 = 4;

/// A command buffer being written.
struct Writer(KVec<u8>);

impl Writer {
    fn new() -> Self {
        Self(KVec::new())
    }

    fn command(mut self, kind: u16, vdm: u16, cdm: u16, payload: &[u8]) -> Self {
        for half in [kind, payload.len() as u16, vdm, cdm] {
            self.0
                .extend_from_slice(&half.to_le_bytes(), GFP_KERNEL)
                .unwrap();
        }
        self.0.extend_from_slice(payload, GFP_KERNEL).unwrap();
        self
    }

    fn compute(self, vdm: u16, cdm: u16) -> Self {
        self.command(COMPUTE, vdm, cdm, &compute_payload())
    }

    fn render(self, vdm: u16, cdm: u16) -> Self {
        self.command(RENDER, vdm, cdm, &render_payload())
    }

    fn parse(&self) -> Result<CommandBuffer> {
        CommandBuffer::parse(&self.0)
    }

    fn error(&self) -> Option<Error> {
        self.parse().err()
    }
}

/// Writes a little-endian number of `N` bytes.
fn put<const N: usize>(payload: &mut [u8], offset: usize, value: u64) {
    payload[offset..offset + N].copy_from_slice(&value.to_le_bytes()[..N]);
}

fn compute_payload() -> [u8; 64] {
    let mut payload = [0u8; 64];
    put::<4>(&mut payload, 4, 5);
    put::<8>(&mut payload, 8, 0x11_0000_4000);
    put::<4>(&mut payload, 48, 3);
    put::<4>(&mut payload, 52, 8);
    payload
}

/// A small render. The offsets are those of `struct drm_asahi_cmd_render`.
fn render_payload() -> [u8; 240] {
    let mut payload = [0u8; 240];
    put::<2>(&mut payload, 148, 640);
    put::<2>(&mut payload, 150, 480);
    put::<2>(&mut payload, 152, 1);
    put::<1>(&mut payload, 156, 32);
    put::<1>(&mut payload, 157, 32);
    put::<1>(&mut payload, 158, 1);
    put::<1>(&mut payload, 159, 4);
    payload
}

fn first_compute(buffer: &CommandBuffer) -> &Compute {
    match &buffer.commands()[0] {
        Command::Compute(compute) => compute,
        Command::Render(_) => panic!("not a compute command"),
    }
}

fn first_render(buffer: &CommandBuffer) -> &Render {
    match &buffer.commands()[0] {
        Command::Render(render) => render,
        Command::Compute(_) => panic!("not a render command"),
    }
}

/// What comes of a render in which one field of `N` bytes has another value.
fn render_with<const N: usize>(offset: usize, value: u64) -> Result<CommandBuffer> {
    let mut payload = render_payload();
    put::<N>(&mut payload, offset, value);
    Writer::new().command(RENDER, 0, 0, &payload).parse()
}

#[kunit_tests(asahi_cmdbuf)]
mod parser {
    use super::*;

    #[test]
    fn compute_fields() {
        let buffer = Writer::new().compute(NONE, 0).parse().unwrap();
        assert_eq!(buffer.computes(), 1);
        assert_eq!(buffer.renders(), 0);
        let compute = first_compute(&buffer);
        assert!(compute.vdm_barrier == Barrier::None);
        assert!(compute.cdm_barrier == Barrier::Previous);
        assert_eq!(compute.stream_base, 0x11_0000_4000);
        assert_eq!(compute.sampler_count, 5);
        assert!(
            compute.timestamps.start
                == Some(Timestamp {
                    object: 3,
                    offset: 8
                })
        );
        assert!(compute.timestamps.end.is_none());
    }

    #[test]
    fn nothing_to_run() {
        assert!(Writer::new().error() == Some(EINVAL));
        let only_software = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &[]);
        assert!(only_software.error() == Some(EINVAL));
    }

    #[test]
    fn truncated() {
        for whole in [Writer::new().compute(0, 0), Writer::new().render(0, 0)] {
            for len in 1..whole.0.len() {
                assert!(CommandBuffer::parse(&whole.0[..len]).is_err());
            }
        }
    }

    #[test]
    fn short_and_long_commands() {
        let short = Writer::new().command(COMPUTE, 0, 0, &compute_payload()[..16]);
        assert_eq!(first_compute(&short.parse().unwrap()).sampler_heap, 0);
        // Without the timestamps at its end.
        let short = Writer::new().command(RENDER, 0, 0, &render_payload()[..208]);
        assert_eq!(first_render(&short.parse().unwrap()).width, 640);
        // Without its dimensions, which must not be zero.
        let shorter = Writer::new().command(RENDER, 0, 0, &render_payload()[..144]);
        assert!(shorter.error() == Some(EINVAL));

        let mut payload = [0u8; 72];
        payload[..64].copy_from_slice(&compute_payload());
        let long = Writer::new().command(COMPUTE, 0, 0, &payload);
        assert!(long.parse().is_ok());
        payload[71] = 1;
        let longer = Writer::new().command(COMPUTE, 0, 0, &payload);
        assert!(longer.error() == Some(E2BIG));

        let mut payload = [0u8; 241];
        payload[..240].copy_from_slice(&render_payload());
        let long = Writer::new().command(RENDER, 0, 0, &payload);
        assert!(long.parse().is_ok());
        payload[240] = 0x80;
        let longer = Writer::new().command(RENDER, 0, 0, &payload);
        assert!(longer.error() == Some(E2BIG));
    }

    #[test]
    fn barriers() {
        assert!(Writer::new().compute(0, 1).error() == Some(EINVAL));
        assert!(Writer::new().compute(1, 0).error() == Some(EINVAL));
        assert!(Writer::new().render(1, 0).error() == Some(EINVAL));
        assert!(Writer::new().render(0, 1).error() == Some(EINVAL));

        let buffer = Writer::new()
            .compute(0, 0)
            .render(NONE, 1)
            .render(1, 1)
            .compute(2, NONE)
            .parse()
            .unwrap();
        assert_eq!((buffer.renders(), buffer.computes()), (2, 2));
        let barriers = |index: usize| match &buffer.commands()[index] {
            Command::Render(render) => (render.vdm_barrier, render.cdm_barrier),
            Command::Compute(compute) => (compute.vdm_barrier, compute.cdm_barrier),
        };
        assert!(barriers(0) == (Barrier::Previous, Barrier::Previous));
        assert!(barriers(1) == (Barrier::None, Barrier::Command(1)));
        assert!(barriers(2) == (Barrier::Command(1), Barrier::Command(1)));
        assert!(barriers(3) == (Barrier::Command(2), Barrier::None));

        assert!(Writer::new().compute(0, 0).compute(0, 2).error() == Some(EINVAL));
        assert!(Writer::new().render(0, 0).compute(2, 0).error() == Some(EINVAL));
        assert!(Writer::new().compute(0, 0).render(1, 1).error() == Some(EINVAL));
    }

    #[test]
    fn flags_and_types() {
        let mut payload = compute_payload();
        payload[0] = 1;
        let flagged = Writer::new().command(COMPUTE, 0, 0, &payload);
        assert!(flagged.error() == Some(EINVAL));
        let unknown = Writer::new().command(5, NONE, NONE, &[]);
        assert!(unknown.error() == Some(EINVAL));
        let unknown = Writer::new().command(0xffff, 0, 0, &[0; 240]);
        assert!(unknown.error() == Some(EINVAL));
    }

    #[test]
    fn attachments() {
        let mut payload = [0u8; 48];
        put::<8>(&mut payload, 0, 0x1234_0000);
        put::<8>(&mut payload, 8, 129);
        let buffer = Writer::new()
            .command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload)
            .compute(0, 0)
            .parse()
            .unwrap();
        let list = first_compute(&buffer).attachments.as_slice();
        assert_eq!(list.len(), 2);
        assert!(
            list[0]
                == Attachment {
                    address: 0x1234_0000,
                    lines: 2
                }
        );

        let waits = Writer::new().command(COMPUTE_ATTACHMENTS, 0, NONE, &payload);
        assert!(waits.compute(0, 0).error() == Some(EINVAL));
        let waits = Writer::new().command(VERTEX_ATTACHMENTS, NONE, 0, &payload);
        assert!(waits.render(0, 0).error() == Some(EINVAL));
        let odd = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload[..47]);
        assert!(odd.compute(0, 0).error() == Some(EINVAL));
        let many = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &[0; 24 * 17]);
        assert!(many.compute(0, 0).error() == Some(EINVAL));
        let full = Writer::new().command(FRAGMENT_ATTACHMENTS, NONE, NONE, &[0; 24 * 16]);
        assert!(full.render(0, 0).parse().is_ok());
        payload[16] = 1;
        let padded = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload);
        assert!(padded.compute(0, 0).error() == Some(EINVAL));
        payload[16] = 0;
        payload[20] = 1;
        let flagged = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload);
        assert!(flagged.compute(0, 0).error() == Some(EINVAL));
    }

    #[test]
    fn attachments_go_to_their_stage() {
        let list = [0u8; 24 * 3];
        let buffer = Writer::new()
            .command(VERTEX_ATTACHMENTS, NONE, NONE, &list[..24])
            .command(FRAGMENT_ATTACHMENTS, NONE, NONE, &list[..48])
            .command(COMPUTE_ATTACHMENTS, NONE, NONE, &list)
            .render(0, 0)
            .compute(0, 0)
            .command(FRAGMENT_ATTACHMENTS, NONE, NONE, &[])
            .render(0, 0)
            .parse()
            .unwrap();
        let count = |index: usize| match &buffer.commands()[index] {
            Command::Render(render) => (
                render.vertex_attachments.as_slice().len(),
                render.fragment_attachments.as_slice().len(),
            ),
            Command::Compute(compute) => (compute.attachments.as_slice().len(), 0),
        };
        assert_eq!(count(0), (1, 2));
        assert_eq!(count(1), (3, 0));
        assert_eq!(count(2), (1, 0));
    }

    #[test]
    fn too_many_commands() {
        let mut writer = Writer::new();
        for _ in 0..MAX_COMMANDS / 2 {
            writer = writer.compute(NONE, NONE).render(NONE, NONE);
        }
        let buffer = writer.parse().unwrap();
        assert_eq!((buffer.renders(), buffer.computes()), (32, 32));
        assert!(writer.compute(NONE, NONE).error() == Some(EINVAL));
    }
}

#[kunit_tests(asahi_cmdbuf_render)]
mod render {
    use super::*;

    #[test]
    fn fields() {
        let mut payload = render_payload();
        put::<4>(&mut payload, 0, 1 << 18 | 7);
        put::<4>(&mut payload, 4, 0x1001);
        put::<8>(&mut payload, 8, 0x1002);
        put::<8>(&mut payload, 24, 0x1003);
        put::<4>(&mut payload, 32, 0x1004);
        put::<4>(&mut payload, 36, 0x1005);
        put::<8>(&mut payload, 48, 0x1006);
        put::<8>(&mut payload, 56, 0x1007);
        put::<8>(&mut payload, 64, 0x1008);
        put::<8>(&mut payload, 72, 0x1009);
        put::<4>(&mut payload, 92, 0x100a);
        put::<8>(&mut payload, 104, 0x100b);
        put::<4>(&mut payload, 112, 0x100c);
        put::<8>(&mut payload, 120, 0x100d);
        put::<8>(&mut payload, 128, 0x100e);
        put::<8>(&mut payload, 136, 0x100f);
        put::<4>(&mut payload, 144, 0x1010);
        put::<2>(&mut payload, 154, 0xffff);
        put::<4>(&mut payload, 160, 0x1012);
        put::<4>(&mut payload, 164, 0x1013);
        put::<4>(&mut payload, 168, 0x1014);
        put::<4>(&mut payload, 180, 0x1015);
        put::<4>(&mut payload, 184, 0x1016);
        put::<4>(&mut payload, 196, 0x1017);
        put::<4>(&mut payload, 200, 0x1018);
        put::<4>(&mut payload, 204, 0x1019);
        put::<4>(&mut payload, 208, 1);
        put::<4>(&mut payload, 216, 2);
        put::<4>(&mut payload, 224, 3);
        put::<4>(&mut payload, 232, 4);
        put::<4>(&mut payload, 236, 0x40);

        let buffer = Writer::new()
            .command(RENDER, 0, 0, &payload)
            .parse()
            .unwrap();
        let render = first_render(&buffer);
        assert!(render.vertex_scratch && render.process_empty_tiles);
        assert!(render.no_vertex_clustering && render.dbias_is_int);
        assert_eq!(render.isp_zls_pixels, 0x1001);
        assert_eq!(render.vdm_ctrl_stream_base, 0x1002);
        assert_eq!(render.vertex_helper.data, 0x1003);
        assert_eq!(render.fragment_helper.binary, 0x1004);
        assert_eq!(render.fragment_helper.cfg, 0x1005);
        assert_eq!(render.isp_scissor_base, 0x1006);
        assert_eq!(render.isp_dbias_base, 0x1007);
        assert_eq!(render.isp_oclqry_base, 0x1008);
        assert_eq!(render.depth.base, 0x1009);
        assert_eq!(render.depth.comp_stride, 0x100a);
        assert_eq!(render.stencil.comp_base, 0x100b);
        assert_eq!(render.stencil.stride, 0x100c);
        assert_eq!(render.zls_ctrl, 0x100d);
        assert_eq!(render.ppp_multisamplectl, 0x100e);
        assert_eq!(render.sampler_heap, 0x100f);
        assert_eq!(render.ppp_ctrl, 0x1010);
        assert_eq!((render.width, render.height), (640, 480));
        assert_eq!(render.sampler_count, 0xffff);
        assert_eq!(render.sample_size, 4);
        assert_eq!(render.isp_merge_upper_x, 0x1012);
        assert_eq!(render.isp_merge_upper_y, 0x1013);
        assert_eq!(render.bg.usc, 0x1014);
        assert_eq!(render.eot.rsrc_spec, 0x1015);
        assert_eq!(render.partial_bg.usc, 0x1016);
        assert_eq!(render.partial_eot.rsrc_spec, 0x1017);
        assert_eq!(render.isp_bgobjdepth, 0x1018);
        assert_eq!(render.isp_bgobjvals, 0x1019);
        let object = |timestamp: Option<Timestamp>| timestamp.map(|timestamp| timestamp.object);
        assert_eq!(object(render.vertex_timestamps.start), Some(1));
        assert_eq!(object(render.vertex_timestamps.end), Some(2));
        assert_eq!(object(render.fragment_timestamps.start), Some(3));
        let end = render.fragment_timestamps.end.unwrap();
        assert_eq!((end.object, end.offset), (4, 0x40));
    }

    #[test]
    fn flags() {
        for bit in 0..32 {
            let known = matches!(bit, 0..=2 | 18);
            assert_eq!(render_with::<4>(0, 1 << bit).is_ok(), known);
        }
    }

    #[test]
    fn dimensions() {
        for offset in [148, 150] {
            for good in [1, 31, 32, 33, 16384] {
                assert!(render_with::<2>(offset, good).is_ok());
            }
            for bad in [0, 16385, 65535] {
                assert!(render_with::<2>(offset, bad).err() == Some(EINVAL));
            }
        }
        for good in [1, 2, 2048] {
            assert!(render_with::<2>(152, good).is_ok());
        }
        for bad in [0, 2049, 65535] {
            assert!(render_with::<2>(152, bad).err() == Some(EINVAL));
        }
    }

    #[test]
    fn tiles() {
        for width in 0..=255u8 {
            for height in [0, 8, 16, 24, 32, 64, 255u8] {
                let mut payload = render_payload();
                payload[156] = width;
                payload[157] = height;
                let good = matches!((width, height), (32, 32) | (32, 16) | (16, 16));
                let result = Writer::new().command(RENDER, 0, 0, &payload).parse();
                assert_eq!(result.is_ok(), good);
            }
        }
    }

    #[test]
    fn samples() {
        for samples in 0..=255u8 {
            let result = render_with::<1>(158, samples.into());
            match samples {
                1 | 2 | 4 => {
                    let buffer = result.unwrap();
                    let log2 = first_render(&buffer).samples_log2;
                    assert_eq!(1 << log2, u32::from(samples));
                }
                _ => assert!(result.err() == Some(EINVAL)),
            }
        }
    }
}
