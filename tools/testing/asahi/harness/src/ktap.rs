// SPDX-License-Identifier: MIT OR Apache-2.0

//! Results in the kernel's test format, from a kernel log or a program.

/// One test case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Suite and case.
    pub name: String,
    pub passed: bool,
    pub skipped: bool,
    /// What was said before a failed case.
    pub why: Vec<String>,
}

/// Takes the time stamp off a line of the kernel log.
fn without_stamp(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stamp, rest))
            if stamp
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'.' || b == b' ') =>
        {
            rest
        }
        _ => line,
    }
}

/// `ok 3 name # SKIP why`
fn result(line: &str) -> Option<(bool, &str, bool)> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ')?;
    number.parse::<u32>().ok()?;
    let name = rest.trim_start_matches("- ");
    let (name, directive) = name.split_once(" # ").unwrap_or((name, ""));
    Some((passed, name.trim(), directive.starts_with("SKIP")))
}

/// The cases in a text. A suite is a group of results indented by one level, or, of a flat list, the
/// list itself; parameters of a case count as one case.
pub fn cases(text: &str) -> Vec<Case> {
    let mut all = Vec::new();
    let mut suite: Option<String> = None;
    let mut of_suite: Vec<Case> = Vec::new();
    let mut said: Vec<String> = Vec::new();
    for line in text.lines().map(without_stamp) {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if let Some(name) = body.strip_prefix("# Subtest: ") {
            if indent == 4 {
                suite = Some(name.trim().to_owned());
                of_suite.clear();
            }
            said.clear();
            continue;
        }
        let Some((passed, name, skipped)) = result(body) else {
            if body.starts_with("# ") && said.len() < 10 {
                said.push(body.to_owned());
            }
            continue;
        };
        let why = if passed { Vec::new() } else { said.clone() };
        match (indent, &suite) {
            (4, Some(suite)) => {
                of_suite.push(Case {
                    name: format!("{suite}.{name}"),
                    passed,
                    skipped,
                    why,
                });
                said.clear();
            }
            (0, Some(open)) if open == name => {
                // A suite that fails without a failed case failed in its own start or end.
                if !passed && of_suite.iter().all(|c| c.passed) {
                    of_suite.push(Case {
                        name: name.to_owned(),
                        passed,
                        skipped,
                        why,
                    });
                }
                all.append(&mut of_suite);
                suite = None;
                said.clear();
            }
            (0, _) => {
                // In a list, what is said names the case.
                let about = format!("# {name}: ");
                let why = why.iter().filter_map(|line| line.strip_prefix(&about));
                all.push(Case {
                    name: name.to_owned(),
                    passed,
                    skipped,
                    why: why.map(str::to_owned).collect(),
                });
                said.clear();
            }
            _ => {}
        }
    }
    // A suite that never ended: what it was at is a failure.
    if let Some(name) = suite {
        all.append(&mut of_suite);
        all.push(Case {
            name: format!("{name} (did not end)"),
            passed: false,
            skipped: false,
            why: said,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[    0.100000] KTAP version 1
[    0.100000] 1..2
[    0.100000]     KTAP version 1
[    0.100000]     # Subtest: one
[    0.100000]     1..2
[    0.100000]     ok 1 good
[    0.100000]     # bad: EXPECTATION FAILED at x.c:3
[    0.100000]     not ok 2 bad
[    0.100000] # one: pass:1 fail:1 skip:0 total:2
[    0.100000] not ok 1 one
[    0.100000]     KTAP version 1
[    0.100000]     # Subtest: two
[    0.100000]         # Subtest: many
[    0.100000]         ok 1 first
[    0.100000]     ok 1 many
[    0.100000] ok 2 two
[    0.200000] something else
";

    #[test]
    fn suites_and_cases() {
        let cases = cases(LOG);
        let names: Vec<&str> = cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["one.good", "one.bad", "two.many"]);
        assert!(!cases[1].passed && cases[1].why[0].contains("x.c:3"));
    }

    #[test]
    fn a_flat_list() {
        let cases = cases("KTAP version 1\n1..2\nok 1 a\n# b: no\nnot ok 2 b\n");
        assert_eq!(cases.len(), 2);
        assert!(cases[0].passed && !cases[1].passed);
        assert_eq!(cases[1].why, ["no"]);
    }

    #[test]
    fn a_suite_that_does_not_end_fails() {
        let cases = cases("    # Subtest: x\n    ok 1 a\n");
        assert_eq!(cases.len(), 2);
        assert!(!cases[1].passed);
    }
}
