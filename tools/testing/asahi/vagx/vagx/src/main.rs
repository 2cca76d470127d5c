// SPDX-License-Identifier: MIT OR Apache-2.0

//! The virtual AGX.

mod coprocessor;
mod fault;
mod firmware;
mod lines;
mod mailbox;
mod ram;
mod replay;
mod rtkit;
mod serve;
mod sgx;
mod soc;
mod vfio;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use vagx_boot::Machine;

/// A virtual Apple GPU for stock QEMU.
#[derive(Parser)]
#[command(name = "vagx", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Add what a bootloader leaves to the device tree that QEMU dumps
    BootDtb {
        /// The device tree of `-machine dumpdtb=`
        #[arg(long = "in")]
        input: PathBuf,
        /// The device tree for `-dtb`
        #[arg(long = "out")]
        output: PathBuf,
        #[command(flatten)]
        machine: MachineArgs,
    },
    /// Be the device of one virtual machine, until it ends. The exit status is 3 after complaints
    Serve(serve::Args),
    /// Run captured jobs again, without a machine, and compare what they leave in memory
    Replay(replay::Args),
    /// Disassemble shader code: one instruction in hexadecimal a line, up to the first blank. The exit status is 1 if a
    /// line is no known instruction
    Disasm {
        /// Standard input without it
        file: Option<PathBuf>,
    },
}

/// Which machine it is.
#[derive(clap::Args)]
struct MachineArgs {
    /// Chip
    #[arg(long, default_value = "t8103")]
    chip: String,
    /// ABI of the GPU's firmware
    #[arg(long, default_value = "13.5")]
    abi: String,
}

impl MachineArgs {
    fn find(&self) -> Result<Machine> {
        Ok(Machine::find(&self.chip, &self.abi)?)
    }
}

fn disasm(file: Option<PathBuf>) -> Result<ExitCode> {
    let input: Box<dyn BufRead> = match file {
        Some(path) => Box::new(BufReader::new(
            File::open(&path).with_context(|| format!("cannot read {}", path.display()))?,
        )),
        None => Box::new(io::stdin().lock()),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let wrong = vagx_gpu::isa::disasm_lines(input, &mut out, io::stderr().lock())?;
    out.flush()?;
    Ok(match wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::BootDtb {
            input,
            output,
            machine,
        } => {
            let base =
                fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
            let dtb = vagx_boot::boot_dtb(&base, &machine.find()?)
                .with_context(|| format!("cannot use {}", input.display()))?;
            fs::write(&output, dtb)
                .with_context(|| format!("cannot write {}", output.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Serve(args) => serve::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Disasm { file } => disasm(file),
    }
}

fn main() -> ExitCode {
    run(Cli::parse().verb).unwrap_or_else(|e| {
        eprintln!("vagx: {e:#}");
        ExitCode::FAILURE
    })
}
