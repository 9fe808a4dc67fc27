//! In which order examples are met, and how they are cut into batches.
//!
//! Where a loss looks at pairs within a request, the examples of one stay together: requests are shuffled as a whole, and
//! batches and shards end where a request does.

use perennial_core::{Encoded, Stream};
use std::ops::Range;

/// In which order the examples of an epoch are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// In a random one, another in each epoch.
    Shuffled,
    /// As they are.
    AsGiven,
}

/// All examples in the order of this stream; by request, those of one in order of time.
pub(crate) fn shuffled(data: &Encoded, by_request: bool, stream: &mut Stream) -> Vec<u32> {
    let mut order: Vec<u32> = (0..data.len() as u32).collect();
    if !by_request || data.request.is_empty() {
        stream.shuffle(&mut order);
        return order;
    }
    // Stable, so that the examples of a request stay in order of time; those of none, with key 0, come first.
    order.sort_by_key(|&i| data.request[i as usize]);
    let mut runs = requests(&data.request, &order);
    stream.shuffle(&mut runs);
    runs.into_iter().flat_map(|run| order[run].to_vec()).collect()
}

/// The runs of examples of one request among `index`; an example of none is a run of its own.
pub(crate) fn requests(keys: &[u64], index: &[u32]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in 0..index.len() {
        match runs.last_mut() {
            Some(run) if at > 0 && same_request(keys, index[at - 1], index[at]) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

fn same_request(keys: &[u64], a: u32, b: u32) -> bool {
    let key = |i: u32| keys.get(i as usize).copied().unwrap_or(0);
    key(a) != 0 && key(a) == key(b)
}

/// Where `index` is cut into pieces of `size`: by request, a piece goes on to the end of the request it is in.
pub(crate) fn pieces(data: &Encoded, index: &[u32], size: usize, by_request: bool) -> Vec<Range<usize>> {
    let mut pieces = Vec::with_capacity(index.len().div_ceil(size));
    let mut start = 0;
    while start < index.len() {
        let end = piece(data, index, start, size, by_request);
        pieces.push(start..end);
        start = end;
    }
    pieces
}

/// The end of the piece of `size` that begins at `start`.
pub(crate) fn piece(data: &Encoded, index: &[u32], start: usize, size: usize, by_request: bool) -> usize {
    let mut end = index.len().min(start + size);
    while by_request && end > start && end < index.len() && same_request(&data.request, index[end - 1], index[end]) {
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(request: &[u64]) -> Encoded {
        Encoded { label: vec![0.0; request.len()], request: request.to_vec(), ..Encoded::default() }
    }

    #[test]
    fn requests_stay_together_and_in_order() {
        let data = data(&[7, 0, 8, 7, 0, 8, 7]);
        for seed in 0..20 {
            let order = shuffled(&data, true, &mut Stream::new(&[seed]));
            let runs: Vec<Vec<u32>> =
                requests(&data.request, &order).into_iter().map(|run| order[run].to_vec()).collect();
            let mut sorted = runs.clone();
            sorted.sort();
            assert_eq!(sorted, [vec![0, 3, 6], vec![1], vec![2, 5], vec![4]]);
        }
    }

    #[test]
    fn pieces_end_where_a_request_does() {
        let data = data(&[1, 1, 1, 2, 0, 0, 3, 3]);
        let index: Vec<u32> = (0..8).collect();
        assert_eq!(pieces(&data, &index, 2, true), [0..3, 3..5, 5..8]);
        assert_eq!(pieces(&data, &index, 3, false), [0..3, 3..6, 6..8]);
        assert!(pieces(&data, &[], 3, true).is_empty());
    }

    #[test]
    fn without_requests_the_order_is_that_of_single_examples() {
        let none = Encoded { label: vec![0.0; 9], ..Encoded::default() };
        let order = |by_request| shuffled(&none, by_request, &mut Stream::new(&[3]));
        assert_eq!(order(true), order(false));
    }
}
