// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the GPU finds, and whether that is what ought to be mapped.

use anyhow::{Result, bail};

use crate::device::{Commands, PAGE};

use super::{NAME, Run, WINDOW};

impl Run<'_> {
    /// Lets the GPU look, and compares.
    pub(super) fn look(&mut self) -> Result<()> {
        self.looks += 1;
        for client in &self.clients {
            client.tag.write(0, self.looks.into());
            for at in (0..WINDOW as usize * 4).step_by(8) {
                client.found.write(at, u64::MAX);
            }
            client
                .queue
                .run(&Commands::default().compute(&client.look))?;
        }
        for index in 0..2 {
            self.compare_names(index)?;
        }
        self.compare_words()
    }

    /// What the GPU read.
    fn compare_names(&self, index: usize) -> Result<()> {
        let client = &self.clients[index];
        for page in 0..WINDOW {
            let target = client.window.at(page as usize);
            let due = target.filter(|target| target.read).map_or(0, |target| {
                let object = &self.objects[target.object];
                (object.words[((target.page * PAGE + NAME) / 8) as usize] >> 32) as u32
            });
            let found = client.found(page);
            if found != due {
                return self.wrong(index, page, &format!("it reads {}", self.whose(found)));
            }
        }
        Ok(())
    }

    /// What the GPU wrote.
    fn compare_words(&mut self) -> Result<()> {
        for client in &self.clients {
            for (page, target) in client.window.pages().enumerate() {
                let Some(target) = target.filter(|target| target.write) else {
                    continue;
                };
                let place = client.place as usize + page;
                let word = &mut self.objects[target.object].words
                    [(target.page * PAGE) as usize / 8 + place / 2];
                let shift = place % 2 * 32;
                *word = *word & !(0xffff_ffff << shift) | u64::from(self.looks) << shift;
            }
        }
        for (slot, object) in self.objects.iter().enumerate() {
            for (at, &due) in object.words.iter().enumerate() {
                let found = object.map.read(at * 8);
                if found == due {
                    continue;
                }
                let half = usize::from(found as u32 == due as u32);
                let page = at as u64 * 8 / PAGE;
                let place = (at * 2 + half) as u64 % (PAGE / 4);
                let what = format!(
                    "page {page} of object {slot} has {:#x}, not {:#x}, at word {place}",
                    (found >> (half * 32)) as u32,
                    (due >> (half * 32)) as u32,
                );
                if place >= 2 * WINDOW {
                    bail!("{what}, where nothing is written");
                }
                return self.wrong((place / WINDOW) as usize, place % WINDOW, &what);
            }
        }
        Ok(())
    }

    /// The page that a word is the name of.
    fn whose(&self, found: u32) -> String {
        if found == 0 {
            return "nothing".to_owned();
        }
        for (slot, object) in self.objects.iter().enumerate() {
            for page in 0..object.pages {
                if (object.words[((page * PAGE + NAME) / 8) as usize] >> 32) as u32 == found {
                    return format!("page {page} of object {slot}");
                }
            }
        }
        format!("{found:#x}, which is no page's name any more")
    }

    /// Reports a page that is not as it ought to be.
    fn wrong(&self, index: usize, page: u64, what: &str) -> Result<()> {
        let client = &self.clients[index];
        let due = client
            .window
            .at(page as usize)
            .map_or_else(|| "nothing".to_owned(), |target| target.to_string());
        let mut text = format!(
            "after operation {}: page {page} of client {index} (address {:#x}) ought to be {due}, but {what}",
            self.number,
            client.base + page * PAGE,
        );
        for done in client.window.history(page, 8) {
            text += &format!("\n#   {done}");
        }
        bail!(text)
    }
}
