// SPDX-License-Identifier: MIT OR Apache-2.0

//! `seed CAPTURE JOB FILE`: makes a seed of a captured job.

use std::path::Path;
use std::process::ExitCode;

use vagx_capture::Capture;
use vagx_fuzz::Seed;

fn make(dir: &str, number: &str, file: &str) -> Result<(), Box<dyn std::error::Error>> {
    let number: u64 = number.parse()?;
    let mut capture = Capture::open(Path::new(dir))?;
    let jobs = capture.jobs()?;
    let job = jobs.iter().find(|job| job.number == number);
    let job = job.ok_or("no job of this number")?;
    let (told, memory) = capture.load(job)?.ok_or("the job cannot be run again")?;
    std::fs::write(file, Seed::new(told, &memory)?.store()?)?;
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, number, file] = &args[..] else {
        eprintln!("usage: seed CAPTURE JOB FILE");
        return ExitCode::from(2);
    };
    match make(dir, number, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed: {error}");
            ExitCode::FAILURE
        }
    }
}
