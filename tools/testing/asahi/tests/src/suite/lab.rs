// SPDX-License-Identifier: MIT OR Apache-2.0

//! What tests of submissions are done with: commands that show when and whether they have run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    device::{Bo, HEAP, Mapping, PAGE, Queue, Vm},
    gpu::{self, Gpu},
    uapi::*,
};

/// Where the data is.
const DATA: u64 = HEAP + 0x1_0000 * PAGE;

/// Its pages; the first half is for tables.
const PAGES: u64 = 16;

/// A VM with data that the GPU works on, and commands that do so.
pub struct Lab<'a> {
    pub gpu: Gpu<'a>,
    pub queue: Queue<'a>,
    /// A command that does nothing.
    pub nothing: CmdCompute,
    map: Mapping,
    tables: u64,
    words: u64,
    gates: Vec<Word>,
    _data: Bo<'a>,
}

/// A 32-bit word that both the CPU and the GPU can see.
#[derive(Clone, Copy, Debug)]
pub struct Word(u64);

impl Word {
    /// Its address for the GPU.
    pub fn address(self) -> u64 {
        DATA + self.0
    }
}

impl<'a> Lab<'a> {
    pub fn new(vm: &'a Vm<'a>) -> Result<Self> {
        let data = vm.device.bo(PAGES * PAGE, GEM_WRITEBACK, 0)?;
        vm.map(&data, DATA)?;
        let mut gpu = Gpu::new(vm)?;
        Ok(Self {
            // CDM Stream Terminate.
            nothing: gpu.stream(&u64::to_le_bytes(2 << 29))?,
            gpu,
            queue: vm.queue()?,
            map: data.mmap()?,
            tables: 0,
            words: PAGES / 2 * PAGE,
            gates: Vec::new(),
            _data: data,
        })
    }

    /// A word, with this in it.
    pub fn word(&mut self, value: u32) -> Result<Word> {
        ensure!(self.words < PAGES * PAGE, "no room for words");
        let word = Word(self.words);
        self.words += 8;
        self.set(word, value);
        Ok(word)
    }

    pub fn set(&self, word: Word, value: u32) {
        self.map.write(word.0 as usize, value.into());
    }

    pub fn get(&self, word: Word) -> u32 {
        self.map.read(word.0 as usize) as u32
    }

    /// A command that copies words from addresses to addresses, all at once.
    pub fn moves(&mut self, pairs: &[(u64, u64)]) -> Result<CmdCompute> {
        let table = self.tables;
        self.tables += (pairs.len() as u64 * 16).next_multiple_of(64);
        ensure!(self.tables <= PAGES / 2 * PAGE, "no room for tables");
        for (at, (from, to)) in (table as usize..).step_by(16).zip(pairs) {
            self.map.write(at, *from);
            self.map.write(at + 8, *to);
        }
        self.gpu
            .command(&[gpu::moves(DATA + table, pairs.len() as u32)])
    }

    /// A command that copies one word to another.
    pub fn copy(&mut self, from: Word, to: Word) -> Result<CmdCompute> {
        self.moves(&[(from.address(), to.address())])
    }

    /// A command that goes on until a word is not zero, and the word.
    pub fn gate(&mut self) -> Result<(CmdCompute, Word)> {
        let word = self.word(0)?;
        self.gates.push(word);
        let command = self.gpu.command(&[gpu::wait(word.address())])?;
        Ok((command, word))
    }
}

impl Drop for Lab<'_> {
    /// A test that fails must not leave the GPU to the others with a program that does not end.
    fn drop(&mut self) {
        for &gate in &self.gates {
            self.set(gate, 1);
        }
    }
}

/// Long enough for what the GPU has been given to show an effect.
pub const A_WHILE: Duration = Duration::from_millis(150);

/// Waits until something is so.
pub fn until(what: &str, is: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is() {
        ensure!(
            start.elapsed() < Duration::from_secs(30),
            "it takes too long until {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Memory for timestamps.
pub struct Stamps<'a> {
    pub handle: u32,
    pub map: Mapping,
    bo: Bo<'a>,
}

impl<'a> Stamps<'a> {
    pub fn new(vm: &Vm<'a>, pages: u64) -> Result<Self> {
        let bo = vm.device.bo(pages * PAGE, GEM_WRITEBACK, 0)?;
        let mut bind = GemBindObject {
            flags: OBJECT_TIMESTAMPS,
            handle: bo.handle,
            range: bo.size,
            ..Default::default()
        };
        vm.device.ioctl(&mut bind).context("GEM_BIND_OBJECT")?;
        Ok(Self {
            handle: bind.object_handle,
            map: bo.mmap()?,
            bo,
        })
    }

    /// The number `index` of them, for a command.
    pub fn at(&self, index: u32) -> Timestamp {
        Timestamp {
            handle: self.handle,
            offset: index * 8,
        }
    }

    /// What has been written there.
    pub fn read(&self, index: u32) -> u64 {
        self.map.read(index as usize * 8)
    }
}

impl Drop for Stamps<'_> {
    fn drop(&mut self) {
        let _ = self.bo.device.ioctl(&mut GemBindObject {
            op: OBJECT_UNBIND,
            object_handle: self.handle,
            ..Default::default()
        });
    }
}
