// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which tests of a list run.

use crate::cache;

/// A sample of a size by a seed, and of what is left the i-th of n parts, in the list's order.
///
/// A test's luck hangs on its name and the seed alone, so that a list that grew changes a sample only
/// by what came in.
pub fn choose(
    mut names: Vec<String>,
    sample: Option<(usize, u64)>,
    shard: Option<(usize, usize)>,
) -> Vec<String> {
    if let Some((size, seed)) = sample
        && size < names.len()
    {
        let luck = |name: &str| cache::key([&seed.to_le_bytes(), name.as_bytes()]);
        let mut order: Vec<(String, usize)> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (luck(name), at))
            .collect();
        order.sort_unstable();
        let mut chosen: Vec<usize> = order.iter().take(size).map(|(_, at)| *at).collect();
        chosen.sort_unstable();
        names = chosen.into_iter().map(|at| names[at].clone()).collect();
    }
    match shard {
        // Neighbours are alike in what they take: dealt out in turn, parts take about the same time.
        Some((i, n)) => names.into_iter().skip(i - 1).step_by(n).collect(),
        None => names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("spec@test {i:04}")).collect()
    }

    #[test]
    fn parts_make_up_the_whole() {
        let mut all: Vec<String> = (1..=3)
            .flat_map(|i| choose(names(10), None, Some((i, 3))))
            .collect();
        all.sort();
        assert_eq!(all, names(10));
    }

    #[test]
    fn a_seed_means_a_sample() {
        let one = choose(names(1000), Some((100, 7)), None);
        assert_eq!(one.len(), 100);
        assert!(one.is_sorted());
        assert_eq!(one, choose(names(1000), Some((100, 7)), None));
        assert_ne!(one, choose(names(1000), Some((100, 8)), None));
        // A few more tests in the list take few places of the sample.
        let more = choose(names(1010), Some((100, 7)), None);
        assert!(one.iter().filter(|name| more.contains(name)).count() > 90);
    }

    #[test]
    fn a_sample_larger_than_the_list_is_the_list() {
        assert_eq!(choose(names(5), Some((9, 1)), None), names(5));
    }
}
