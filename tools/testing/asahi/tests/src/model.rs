// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the mappings of a VM ought to be: for each page of a window the page of an object that is
//! mapped there, and for which accesses.

use std::{collections::VecDeque, fmt};

use crate::uapi::*;

/// How many operations are remembered for a report.
const REMEMBERED: usize = 4000;

/// What is mapped at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The object's number.
    pub object: usize,
    /// The page of the object.
    pub page: u64,
    pub read: bool,
    pub write: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match (self.read, self.write) {
            (true, true) => "for reading and writing",
            (true, false) => "for reading",
            (false, true) => "for writing",
            (false, false) => "for nothing",
        };
        write!(f, "page {} of object {} {access}", self.page, self.object)
    }
}

/// Something that was done to a range of pages.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Pages of an object, one after the other.
    Map(Target),
    /// The same page everywhere.
    Repeat(Target),
    Unmap,
    /// The object's handle was closed, which takes out all of its mappings.
    Close(usize),
}

impl Change {
    /// The operation of VM_BIND that does it, if it is one.
    pub fn flags(&self) -> Option<u32> {
        let access = |target: &Target| {
            let read = if target.read { BIND_READ } else { 0 };
            read | if target.write { BIND_WRITE } else { 0 }
        };
        match self {
            Self::Map(target) => Some(access(target)),
            Self::Repeat(target) => Some(access(target) | BIND_SINGLE_PAGE),
            Self::Unmap => Some(BIND_UNBIND),
            Self::Close(_) => None,
        }
    }
}

/// A change, where and when it was.
#[derive(Clone, Copy, Debug)]
struct Done {
    number: u64,
    first: u64,
    count: u64,
    change: Change,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, end) = (self.first, self.first + self.count);
        write!(f, "operation {}: pages {first}..{end}: ", self.number)?;
        match self.change {
            Change::Map(target) => write!(f, "map from {target}"),
            Change::Repeat(target) => write!(f, "map again and again {target}"),
            Change::Unmap => write!(f, "unmap"),
            Change::Close(object) => write!(f, "close object {object}"),
        }
    }
}

/// A window of a VM's addresses.
pub struct Window {
    pages: Vec<Option<Target>>,
    done: VecDeque<Done>,
}

impl Window {
    /// One in which nothing is mapped.
    pub fn new(pages: usize) -> Self {
        Self {
            pages: vec![None; pages],
            done: VecDeque::new(),
        }
    }

    /// What is mapped at each page.
    pub fn pages(&self) -> impl Iterator<Item = Option<Target>> {
        self.pages.iter().copied()
    }

    /// What is mapped at a page.
    pub fn at(&self, page: usize) -> Option<Target> {
        self.pages[page]
    }

    /// Changes `count` pages from `first` on; what lies beyond the window is left to itself.
    pub fn change(&mut self, number: u64, first: u64, count: u64, change: Change) {
        let range = first as usize..((first + count) as usize).min(self.pages.len());
        for (slot, step) in self.pages[range].iter_mut().zip(0..) {
            match change {
                Change::Map(target) => {
                    *slot = Some(Target {
                        page: target.page + step,
                        ..target
                    });
                }
                Change::Repeat(target) => *slot = Some(target),
                Change::Unmap => *slot = None,
                Change::Close(object) => {
                    if slot.is_some_and(|target| target.object == object) {
                        *slot = None;
                    }
                }
            }
        }
        if self.done.len() == REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back(Done {
            number,
            first,
            count,
            change,
        });
    }

    /// What was done to a page, the last first.
    pub fn history(&self, page: u64, most: usize) -> Vec<String> {
        self.done
            .iter()
            .rev()
            .filter(|done| (done.first..done.first + done.count).contains(&page))
            .take(most)
            .map(Done::to_string)
            .collect()
    }
}
