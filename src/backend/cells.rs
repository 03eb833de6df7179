//! KV cells of a run of tokens, kept outside of any context.

use std::ops::Range;
use std::sync::Arc;

/// What the layers remember of some tokens. The bytes lie in planes, one after
/// the other: in each plane every token has the same number of bytes, so that a
/// run can be cut, and runs that follow one another can be put together, without
/// knowing what the bytes say.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    tokens: usize,
    /// Bytes of one token in each plane.
    widths: Arc<[usize]>,
    bytes: Vec<u8>,
}

impl Cells {
    /// Gathers the planes of `tokens` tokens; each must be `width * tokens` bytes long.
    pub fn gather<'a>(
        tokens: usize,
        widths: &Arc<[usize]>,
        planes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut bytes = Vec::with_capacity(tokens * widths.iter().sum::<usize>());
        for plane in planes {
            bytes.extend_from_slice(plane);
        }
        debug_assert_eq!(bytes.len(), tokens * widths.iter().sum::<usize>());
        Self {
            tokens,
            widths: Arc::clone(widths),
            bytes,
        }
    }

    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn widths(&self) -> &Arc<[usize]> {
        &self.widths
    }

    /// The planes' bytes of the first `tokens` tokens.
    pub fn planes(&self, tokens: usize) -> impl Iterator<Item = &[u8]> {
        self.planes_of(0..tokens.min(self.tokens))
    }

    /// Cuts off all after the first `at` tokens.
    pub fn split_off(&mut self, at: usize) -> Self {
        let [head, tail] = [0..at, at..self.tokens]
            .map(|range| Self::gather(range.len(), &self.widths, self.planes_of(range)));
        *self = head;
        tail
    }

    fn planes_of(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.widths.iter().map(move |width| {
            let plane = &self.bytes[start..start + width * self.tokens];
            start += plane.len();
            &plane[width * range.start..width * range.end]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Cells {
        let widths: Arc<[usize]> = Arc::new([2, 1]);
        Cells::gather(3, &widths, [&b"aabbcc"[..], &b"xyz"[..]])
    }

    #[test]
    fn a_cut_goes_through_every_plane() {
        let mut head = cells();
        let tail = head.split_off(1);
        assert_eq!((head.tokens(), tail.tokens()), (1, 2));
        assert_eq!(head.planes(1).collect::<Vec<_>>(), [&b"aa"[..], b"x"]);
        assert_eq!(tail.planes(2).collect::<Vec<_>>(), [&b"bbcc"[..], b"yz"]);
    }

    #[test]
    fn fewer_tokens_are_the_first_of_each_plane() {
        assert_eq!(cells().planes(2).collect::<Vec<_>>(), [&b"aabb"[..], b"xy"]);
        assert_eq!(
            cells().planes(9).collect::<Vec<_>>(),
            [&b"aabbcc"[..], b"xyz"]
        );
    }
}
