// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make compare`: frames of programs that know nothing of it, drawn by the GPU model in the shim and by
//! what the same Debian draws with on a CPU, laid over each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::bench::scenes;
use crate::context::Context;
use crate::host::Host;
use crate::picture::{Difference, Picture};
use crate::proc::{self, Guarded};
use crate::progress::Progress;
use crate::results;
use crate::vagx;
use crate::verbs;

/// How long one program may take with all its scenes.
const LIMIT: Duration = Duration::from_secs(600);

/// Draws one frame of each scene that is named, as DIR/0.png and so on.
const VKMARK: &str = r#"
n=0
for scene in "$@"; do
	FRAMES_FILE=$DIR/$n.png LD_PRELOAD="$LD_PRELOAD $FRAMES/libframes.so" \
		vkmark --winsys headless -s 800x600 -b "$scene:duration=0.1" || exit
	n=$((n + 1))
done
"#;
const GLMARK2: &str = r#"
n=0
for scene in "$@"; do
	FRAMES_FILE=$DIR/$n.png LD_LIBRARY_PATH=$FRAMES \
		glmark2-es2-wayland -s 800x600 -b "$scene:duration=0.1" || exit
	n=$((n + 1))
done
"#;
const SCENE: &str = r#"LD_LIBRARY_PATH= exec "$SCENE" "$DIR/0.png""#;

/// A program, and what of it is compared.
struct Subject {
    name: &'static str,
    script: &'static str,
    wayland: bool,
    scenes: &'static [&'static str],
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "scene",
        script: SCENE,
        wayland: false,
        scenes: &["all"],
    },
    Subject {
        name: "vkmark",
        script: VKMARK,
        wayland: false,
        scenes: &scenes::VKMARK,
    },
    Subject {
        name: "glmark2",
        script: GLMARK2,
        wayland: true,
        scenes: &scenes::GLMARK2,
    },
];

/// Scenes that differ by more than others, by how many pixels in a thousand, and why. Where softpipe is named, Mesa's
/// two CPU renderers drew the same frame, and the number is how many of 480,000 pixels they do not agree on.
const EXPLAINED: [(&str, u64, &str); 5] = [
    (
        "glmark2:texture:texture-filter=nearest",
        5,
        "every 25th column of pixels falls on the edge between two texels, where the last bit chooses",
    ),
    (
        "glmark2:shading:shading=phong",
        3,
        "highlights are high powers, which both approximate in their own way (softpipe: 1,065)",
    ),
    (
        "glmark2:terrain",
        200,
        "its noise takes remainders of products: the last bit of a division moves a grain (softpipe: 339,720)",
    ),
    (
        "glmark2:refract",
        20,
        "what is behind glass depends on the last bits of normals and of stored depth (softpipe: 10,985)",
    ),
    (
        "glmark2:function:fragment-complexity=medium",
        60,
        "squares, roots and fractions in turn magnify an error each time (softpipe: 77,111)",
    ),
];

/// What `make test` compares: each kind once, and textures.
pub const SELECTION: [&str; 6] = [
    "scene",
    "vkmark:cube",
    "vkmark:texture:anisotropy=16",
    "glmark2:build:use-vbo=true",
    "glmark2:texture:texture-filter=mipmap",
    "glmark2:shadow",
];

/// How a scene came out.
#[derive(Debug, Serialize)]
pub struct Compared {
    pub name: String,
    pub model: PathBuf,
    pub software: PathBuf,
    pub differences: PathBuf,
    pub difference: Difference,
}

impl Compared {
    /// Why the pictures differ, if they differ no more than that explains.
    pub fn explanation(&self) -> Option<&'static str> {
        let known = EXPLAINED
            .iter()
            .find(|(name, ..)| self.name.starts_with(name));
        let Difference {
            different, pixels, ..
        } = self.difference;
        known
            .filter(|(_, most, _)| different * 1000 <= pixels * most)
            .map(|(.., why)| *why)
    }

    /// Whether they are alike, but for what is explained.
    pub fn alike(&self) -> bool {
        self.difference.small() || self.explanation().is_some()
    }
}

/// The programs of this tree that run here.
pub struct Programs {
    /// A folder with `libframes.so`, also by the name of the library that it stands for.
    frames: PathBuf,
    scene: PathBuf,
    kernels: PathBuf,
}

impl Programs {
    pub fn build(ctx: &Context, progress: &mut Progress) -> Result<Programs> {
        let log = proc::fresh(&ctx.build.join("logs"), "cargo-host.log")?;
        progress.step("programs", || {
            let mut cargo = proc::command("cargo");
            cargo.current_dir(ctx.asahi()).args([
                "build",
                "--locked",
                "--release",
                "-p",
                "asahi-frames",
                "-p",
                "asahi-scene",
                "-p",
                "asahi-kernels",
            ]);
            proc::run_logged(cargo, &log, "the build of what draws here")
        })?;
        let release = vagx::target(ctx).join("release");
        let frames = ctx.build.join("frames");
        fs::create_dir_all(&frames)?;
        for name in ["libframes.so", "libEGL.so", "libEGL.so.1"] {
            fs::copy(release.join("libframes.so"), frames.join(name))?;
        }
        Ok(Programs {
            frames,
            scene: release.join("scene"),
            kernels: release.join("kernels"),
        })
    }
}

/// Has a program draw some of its scenes into a folder.
fn draw(
    ctx: &Context,
    host: &Host,
    programs: &Programs,
    subject: &Subject,
    scenes: &[&str],
    mut command: Command,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    let name = format!("compare-{}.log", subject.name);
    let log = proc::fresh(&ctx.build.join("logs"), &name)?;
    let file = fs::File::create(&log)?;
    command
        .args(["-c", subject.script, subject.name])
        .args(scenes)
        .env("DIR", dir)
        .env("FRAMES", &programs.frames)
        .env("FRAMES_EGL", host.library("libEGL.so.1"))
        .env("SCENE", &programs.scene)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let ended = Guarded::spawn(command, "the program")?.wait_for(LIMIT)?;
    match ended {
        Some(status) if status.success() => {}
        Some(status) => bail!(
            "{}: {status}: {} (log: {})",
            subject.name,
            proc::telling_lines(&proc::tail_of(&log, 1 << 16), 4).join("; "),
            log.display()
        ),
        None => bail!("{}: still at it after {} s", subject.name, LIMIT.as_secs()),
    }
    Ok((0..scenes.len())
        .map(|n| dir.join(format!("{n}.png")))
        .collect())
}

/// Compares what the names select, which begin as scenes do, and gives each scene's outcome to `tell`.
pub fn compare(
    ctx: &Context,
    host: &Host,
    programs: &Programs,
    names: &[&str],
    mut tell: impl FnMut(&str, Result<Compared>),
) -> Result<()> {
    let to = ctx.build.join("results/compare");
    fs::create_dir_all(&to)?;
    for subject in &SUBJECTS {
        let full = |scene: &str| match subject.scenes.len() {
            1 => subject.name.to_owned(),
            _ => format!("{}:{scene}", subject.name),
        };
        let wanted = |scene: &&&str| {
            names.is_empty() || names.iter().any(|name| full(scene).starts_with(name))
        };
        let scenes: Vec<&str> = subject.scenes.iter().filter(wanted).copied().collect();
        if scenes.is_empty() {
            continue;
        }
        let commands = match subject.wayland {
            true => [host.wayland("/bin/sh"), host.software_wayland("/bin/sh")],
            false => [host.command("/bin/sh"), host.software("/bin/sh")],
        };
        let mut drawn = Vec::new();
        for (command, kind) in commands.into_iter().zip(["model", "software"]) {
            let dir = ctx.build.join("compare").join(subject.name).join(kind);
            drawn.push(draw(ctx, host, programs, subject, &scenes, command, &dir));
        }
        let both: Result<Vec<_>> = drawn.into_iter().collect();
        let [model, software] = match both.map(<[Vec<PathBuf>; 2]>::try_from) {
            Ok(Ok(both)) => both,
            Ok(Err(_)) => bail!("not two sets of pictures"),
            Err(error) => {
                tell(subject.name, Err(error));
                continue;
            }
        };
        for ((scene, model), software) in scenes.iter().zip(model).zip(software) {
            let name = full(scene);
            let result = one(&to, &name, &model, &software);
            tell(&name, result);
        }
    }
    Ok(())
}

/// Compares two pictures and puts them beside each other.
fn one(to: &Path, name: &str, model: &Path, software: &Path) -> Result<Compared> {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let place = |kind: &str| to.join(format!("{plain}-{kind}.png"));
    let (difference, picture) = Picture::read(model)?.compare(&Picture::read(software)?)?;
    let compared = Compared {
        name: name.to_owned(),
        model: place("model"),
        software: place("software"),
        differences: place("differences"),
        difference,
    };
    fs::copy(model, &compared.model)?;
    fs::copy(software, &compared.software)?;
    picture.write(&compared.differences)?;
    Ok(compared)
}

/// Compares what OpenCL kernels make of the same words: all of it is to be the same.
pub fn kernels(host: &Host, programs: &Programs) -> Result<()> {
    let program = programs.kernels.display().to_string();
    let model = proc::output(host.command(&program), "kernels on the model")?;
    let software = proc::output(host.software(&program), "kernels with pocl")?;
    let differ: Vec<&str> = model
        .lines()
        .zip(software.lines())
        .filter(|(a, b)| a != b)
        .filter_map(|(a, _)| a.split(' ').next())
        .collect();
    if model.lines().count() != software.lines().count() || !differ.is_empty() {
        bail!("pocl has other results of {}", differ.join(", "));
    }
    Ok(())
}

pub fn run(ctx: &Context) -> Result<u8> {
    let mut progress = verbs::progress(ctx);
    let host = Host::make(ctx, &mut progress, false)?;
    let programs = Programs::build(ctx, &mut progress)?;
    let names: Vec<&str> = ctx.params.test.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    let mut bad = 0;
    if names.is_empty() || names.iter().any(|name| "kernels".starts_with(name)) {
        match kernels(&host, &programs) {
            Ok(()) => println!("ok   kernels: the same as with pocl"),
            Err(error) => {
                bad += 1;
                println!("FAIL kernels: {error:#}");
            }
        }
        if names == ["kernels"] {
            return Ok(u8::from(bad != 0));
        }
    }
    compare(ctx, &host, &programs, &names, |name, result| match result {
        Ok(compared) => {
            let mark = if compared.alike() { "ok  " } else { "OFF " };
            bad += u32::from(!compared.alike());
            println!("{mark} {name}: {}", compared.difference);
            if let (false, Some(why)) = (compared.difference.small(), compared.explanation()) {
                println!("       {why}");
            }
            all.push(compared);
        }
        Err(error) => {
            bad += 1;
            println!("FAIL {name}: {error:#}");
        }
    })?;
    if all.is_empty() && bad == 0 {
        bail!("TEST: no scene's name begins so, such as vkmark:cube");
    }
    results::write(ctx, "compare", &all)?;
    let dir = ctx.build.join("results/compare");
    println!("pictures  {}", dir.display());
    Ok(u8::from(bad != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_is_of_scenes() {
        for name in SELECTION {
            let known = SUBJECTS.iter().any(|subject| {
                let scene = |scene: &&str| format!("{}:{scene}", subject.name).starts_with(name);
                subject.scenes.iter().any(scene)
            });
            assert!(known, "{name}");
        }
    }

    #[test]
    fn pictures_are_put_beside_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |value: u8| Picture {
            width: 2,
            height: 1,
            pixels: vec![[value; 4]; 2],
        };
        let [a, b] = ["a.png", "b.png"].map(|name| dir.path().join(name));
        picture(10).write(&a).unwrap();
        picture(12).write(&b).unwrap();
        let compared = one(dir.path(), "x:y", &a, &b).unwrap();
        assert_eq!(compared.difference.maximum, 2);
        assert!(compared.differences.ends_with("x-y-differences.png"));
        assert!(compared.differences.exists() && compared.difference.small());
    }
}
