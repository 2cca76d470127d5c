// SPDX-License-Identifier: MIT OR Apache-2.0

//! A guest session of several steps: its script, and what came of each step.

use crate::vm::Outcome;

/// What the scripts are written with.
pub const LIBRARY: &str = include_str!("../guest/session");

/// One step as it ended in the guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub name: String,
    /// None: the guest did not get to its end.
    pub status: Option<i32>,
    pub seconds: f64,
    pub text: String,
}

impl Step {
    pub fn passed(&self) -> bool {
        self.status == Some(0)
    }

    /// What follows `label` and a separator on the first line that has it.
    pub fn value(&self, label: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let rest = line.trim().strip_prefix(label)?;
            Some(rest.trim_start_matches([' ', '\t', ':', '=']).trim()).filter(|v| !v.is_empty())
        })
    }

    /// The last line that says something, for a report of a failure.
    pub fn last_line(&self) -> &str {
        self.text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("it said nothing")
    }
}

/// The script that does `steps`, each a name and a command, one after the other.
pub fn script(steps: &[(&str, &str)]) -> String {
    let mut text = LIBRARY.to_owned();
    for (name, command) in steps {
        text += &format!("step {name} {command}\n");
    }
    text
}

/// The steps in what a session printed.
pub fn parse(output: &[u8]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut begun: Option<(Step, f64)> = None;
    for line in String::from_utf8_lossy(output).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["@@", "begin", name, at] => {
                if let Some((step, _)) = begun.take() {
                    steps.push(step);
                }
                let step = Step {
                    name: (*name).to_owned(),
                    status: None,
                    seconds: 0.0,
                    text: String::new(),
                };
                begun = Some((step, at.parse().unwrap_or(0.0)));
            }
            ["@@", "end", _, status, at] => {
                if let Some((mut step, from)) = begun.take() {
                    step.status = status.parse().ok();
                    step.seconds = at.parse().map_or(0.0, |at: f64| at - from);
                    steps.push(step);
                }
            }
            _ => {
                if let Some((step, _)) = &mut begun {
                    step.text.push_str(line);
                    step.text.push('\n');
                }
            }
        }
    }
    steps.extend(begun.map(|(step, _)| step));
    steps
}

/// The steps of a run, and the named one of them.
pub fn steps_of(outcome: &Outcome) -> Vec<Step> {
    parse(&outcome.stdout)
}

pub fn find<'a>(steps: &'a [Step], name: &str) -> Option<&'a Step> {
    steps.iter().find(|step| step.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_apart() {
        let out = b"noise\n@@ begin a 1.50\nName: x\n\n@@ end a 0 2.00\n@@ begin b 2.00\nhalf";
        let steps = parse(out);
        assert_eq!(steps.len(), 2);
        assert!(steps[0].passed() && steps[0].seconds == 0.5);
        assert_eq!(steps[0].value("Name"), Some("x"));
        assert_eq!(steps[1].status, None);
        assert_eq!(steps[1].last_line(), "half");
    }

    #[test]
    fn a_script_has_its_steps() {
        assert!(script(&[("a", "true")]).ends_with("step a true\n"));
    }
}
