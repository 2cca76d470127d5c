// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a test failed, in words that are the same for all tests that failed of it.

use super::results::Test;

/// What the shim begins its lines with.
const SHIM: &str = "vagx-shim: ";

/// What the model said that it could not do, if it said so: then no other result counts.
pub fn complaint(test: &Test) -> Option<String> {
    // At the process's end it says that there was something; what it was stands before.
    let said = test
        .err()
        .lines()
        .filter_map(|line| line.trim().strip_prefix(SHIM))
        .filter(|line| !line.starts_with("there were jobs"));
    let mut said = said.map(normal);
    said.next().or_else(|| {
        test.err()
            .contains(SHIM)
            .then(|| "a job did not run to its end".to_owned())
    })
}

/// The cause of a result other than pass and skip.
pub fn of(test: &Test) -> String {
    let panicked = test
        .err()
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    if !panicked.is_empty() {
        return format!("panic: {}", normal(&panicked));
    }
    if let Some(what) = complaint(test) {
        return what;
    }
    match test.result.as_str() {
        "timeout" => "out of time".to_owned(),
        "crash" => match test.returncode {
            Some(code @ ..0) => format!("crash: signal {}", -code),
            _ => "crash".to_owned(),
        },
        _ => said(test),
    }
}

/// What a failing test says of itself: a wrong pixel, or its last words.
fn said(test: &Test) -> String {
    const PIXEL: [&str; 4] = ["Probe ", "Expected:", "Observed:", "Got:"];
    let lines = || test.out().lines().chain(test.err().lines());
    if lines().any(|line| PIXEL.iter().any(|mark| line.trim().starts_with(mark))) {
        return "wrong result".to_owned();
    }
    let last = lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.starts_with("PIGLIT:"));
    last.map_or("said nothing".to_owned(), normal)
}

/// Without what differs from test to test: numbers, addresses, the bytes in brackets, and what is very
/// long.
pub fn normal(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '[' {
            while letters.next_if(char::is_ascii_hexdigit).is_some() {}
        }
        // A number: digits, with what makes them hexadecimal. A digit within a word is part of it.
        let in_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !letter.is_ascii_digit() || in_word {
            out.push(letter);
        } else {
            while letters.next_if(char::is_ascii_hexdigit).is_some()
                || (letters.peek() == Some(&'x') && letters.next().is_some())
            {}
            out.push('#');
        }
        if out.len() > 160 {
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(result: &str, err: &str, returncode: i32) -> Test {
        Test {
            result: result.to_owned(),
            err: Some(err.to_owned()),
            out: None,
            returncode: Some(returncode),
        }
    }

    #[test]
    fn numbers_make_no_difference() {
        let one = normal("instruction at 0x1100000a40 [7e01] is not known");
        assert_eq!(one, normal("instruction at 0x11000ff [ae9e] is not known"));
        assert_eq!(normal("r32g32 of 7 layers"), "r32g32 of # layers");
    }

    #[test]
    fn the_models_own_words_come_first() {
        let err = "noise\nvagx-shim: no smpf at 0x10\nvagx-shim: there were jobs that did not run to their end\n";
        assert_eq!(of(&test("fail", err, 3)), "no smpf at #");
        assert!(complaint(&test("pass", "noise", 0)).is_none());
    }

    #[test]
    fn crashes_name_their_signal() {
        assert_eq!(of(&test("crash", "", -11)), "crash: signal 11");
        let err = "thread 'x' panicked at src/lib.rs:7:9:\nindex out of bounds\n";
        assert!(of(&test("crash", err, -6)).starts_with("panic: thread 'x' panicked at"));
    }

    #[test]
    fn wrong_pixels_are_one_group() {
        let mut wrong = test("fail", "", 1);
        wrong.out = Some("Probe color at (3,4)\n  Expected: 1\n  Observed: 0\n".to_owned());
        assert_eq!(of(&wrong), "wrong result");
    }
}
