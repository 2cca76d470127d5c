// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a kernel's configuration is what was asked for.

use std::collections::BTreeMap;

/// The symbols that a fragment or a configuration sets. A symbol that is off is `n`, however the file
/// says so; a later line wins.
fn parse(text: &str) -> BTreeMap<&str, &str> {
    let mut symbols = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("# CONFIG_") {
            if let Some(name) = rest.strip_suffix(" is not set") {
                symbols.insert(name, "n");
            }
        } else if let Some((name, value)) = line
            .strip_prefix("CONFIG_")
            .and_then(|rest| rest.split_once('='))
        {
            symbols.insert(name, value);
        }
    }
    symbols
}

/// The lines of `fragment` that `config` does not have.
pub fn missed(fragment: &str, config: &str) -> Vec<String> {
    let got = parse(config);
    parse(fragment)
        .into_iter()
        .filter_map(|(name, wanted)| {
            let is = got.get(name).copied().unwrap_or("n");
            (is != wanted).then(|| format!("CONFIG_{name}={wanted} (it is {is})"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_take_is_named() {
        let fragment =
            "CONFIG_A=y\nCONFIG_B=n\n# CONFIG_C is not set\nCONFIG_D=\"x\"\nCONFIG_E=m\n";
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_D=\"x\"\nCONFIG_E=y\n";
        assert_eq!(missed(fragment, config), ["CONFIG_E=m (it is y)"]);
        assert_eq!(missed("CONFIG_Z=y\n", config), ["CONFIG_Z=y (it is n)"]);
    }

    #[test]
    fn a_later_line_wins() {
        assert!(missed("CONFIG_A=n\nCONFIG_A=y\n", "CONFIG_A=y\n").is_empty());
    }
}
