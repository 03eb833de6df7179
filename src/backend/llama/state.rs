//! What llama.cpp writes of a sequence (`llama_state_seq_get_data`), taken apart
//! into planes of cells, and put together again from several runs of them.
//!
//! The format, as `llama_kv_cache::state_write` has it: a magic number, a sequence
//! id, the number of streams; for each stream the number of its cells and, unless
//! that is zero, three words for each cell (position, number of sequences, sequence),
//! four words on the whole, each layer's keys (type, bytes of a row, the cells' rows)
//! and each layer's values: likewise, or transposed (type, bytes of an element, rows,
//! and in each row an element of every cell). In our contexts each sequence has a
//! stream of its own. Whatever is otherwise is an error, never a guess.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::{Cells, DecodeError};

/// All of a state but its cells.
#[derive(Debug, PartialEq)]
pub struct Layout {
    magic: u32,
    streams: u32,
    /// The four words before the first layer's keys.
    preamble: Vec<u8>,
    /// The words before each block of planes, and how many planes it has.
    blocks: Vec<(Vec<u8>, usize)>,
    /// Bytes of one token in each plane.
    widths: Arc<[usize]>,
}

impl Layout {
    /// Learns the layout from the state of a sequence of `tokens` tokens.
    pub fn learn(state: &[u8], tokens: usize) -> Result<Self, DecodeError> {
        parse(state, tokens).map(|(layout, _)| layout)
    }

    /// The cells of the tokens in `range`, from the state of a sequence of `tokens`.
    pub fn cells(
        &self,
        state: &[u8],
        tokens: usize,
        range: Range<usize>,
    ) -> Result<Cells, DecodeError> {
        let (layout, planes) = parse(state, tokens)?;
        if layout != *self || range.end > tokens {
            return Err(unknown("a layer that was otherwise before"));
        }
        let planes = planes.into_iter().zip(self.widths.iter());
        let planes = planes.map(|(plane, width)| &plane[width * range.start..width * range.end]);
        Ok(Cells::gather(range.len(), &self.widths, planes))
    }

    /// Writes the state of a sequence that begins with these runs over `state`: of
    /// each the first tokens, as many as stand beside it.
    pub fn write(&self, runs: &[(&Cells, usize)], state: &mut Vec<u8>) -> Result<(), DecodeError> {
        let other = |cells: &Cells| *cells.widths() != self.widths;
        if runs
            .iter()
            .any(|(cells, few)| other(cells) || *few > cells.tokens())
        {
            return Err(unknown("cells of another context"));
        }
        let tokens: usize = runs.iter().map(|(_, few)| few).sum();
        let count = u32::try_from(tokens).map_err(|_| DecodeError::CacheFull)?;
        state.clear();
        let head = [self.magic, 0, self.streams, count].into_iter();
        let words = head.chain((0..count).flat_map(|position| [position, 1, 0]));
        state.extend(words.flat_map(u32::to_ne_bytes));
        state.extend_from_slice(&self.preamble);
        let mut runs: Vec<_> = runs.iter().map(|(cells, few)| cells.planes(*few)).collect();
        for (head, planes) in &self.blocks {
            state.extend_from_slice(head);
            for _ in 0..*planes {
                for run in &mut runs {
                    state.extend_from_slice(run.next().unwrap_or_default());
                }
            }
        }
        // The other streams have none.
        state.resize(state.len() + (self.streams as usize - 1) * WORD, 0);
        Ok(())
    }
}

const WORD: usize = 4;

/// The layout of a state, and its planes.
fn parse(state: &[u8], tokens: usize) -> Result<(Layout, Vec<&[u8]>), DecodeError> {
    let mut reader = Reader(state);
    let [magic, _sequence, streams] = reader.words()?;
    let mut layout = None;
    for _ in 0..streams {
        match reader.words()? {
            [0] => {}
            [cells] if cells as usize == tokens && layout.is_none() => {
                layout = Some(parse_stream(&mut reader, tokens)?);
            }
            [cells] => return Err(unknown(&format!("`{cells}` cells of `{tokens}` tokens"))),
        }
    }
    let (layout, planes) = layout.ok_or_else(|| unknown("no cells"))?;
    if !reader.0.is_empty() {
        return Err(unknown("more bytes than layers"));
    }
    Ok((
        Layout {
            magic,
            streams,
            ..layout
        },
        planes,
    ))
}

fn parse_stream<'s>(
    reader: &mut Reader<'s>,
    tokens: usize,
) -> Result<(Layout, Vec<&'s [u8]>), DecodeError> {
    for index in 0..tokens {
        let [position, sequences, _sequence] = reader.words()?;
        if (position as usize, sequences) != (index, 1) {
            return Err(unknown(&format!("position `{position}` in cell `{index}`")));
        }
    }
    let preamble = reader.take(4 * WORD)?;
    let [transposed, layers] = Reader(preamble).words()?;
    let (mut blocks, mut widths, mut planes) = (Vec::new(), Vec::new(), Vec::new());
    for block in 0..2 * u64::from(layers) {
        let values = block >= u64::from(layers);
        let head = reader.take(3 * WORD)?;
        // After the type: two words, or one of 64 bits.
        let [_, width, rows] = Reader(head).words()?;
        let (width, rows) = match (values && transposed == 1, rows) {
            (true, rows) => (width as usize, rows as usize),
            (false, 0) => (width as usize, 1),
            (false, _) => return Err(unknown("a row of so many bytes")),
        };
        for _ in 0..rows {
            planes.push(reader.take(width.saturating_mul(tokens))?);
            widths.push(width);
        }
        blocks.push((head.to_vec(), rows));
    }
    let layout = Layout {
        magic: 0,
        streams: 0,
        preamble: preamble.to_vec(),
        blocks,
        widths: widths.into(),
    };
    Ok((layout, planes))
}

struct Reader<'s>(&'s [u8]);

impl<'s> Reader<'s> {
    fn take(&mut self, bytes: usize) -> Result<&'s [u8], DecodeError> {
        let (taken, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or_else(|| unknown("its end"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn words<const N: usize>(&mut self) -> Result<[u32; N], DecodeError> {
        let mut words = [0; N];
        for (word, bytes) in words
            .iter_mut()
            .zip(self.take(N * WORD)?.chunks_exact(WORD))
        {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(words)
    }
}

fn unknown(what: &str) -> DecodeError {
    DecodeError::Runtime(format!("llama.cpp's state of a sequence has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two layers with keys of 4 bytes and two rows of values of 2 bytes; the
    /// second of three streams has the cells.
    fn state(tokens: u32, streams: [bool; 3]) -> Vec<u8> {
        let mut words = vec![0xfeed, 7, 3];
        let mut bytes = Vec::new();
        let mut byte = 0_u8;
        for full in streams {
            words.push(if full { tokens } else { 0 });
            if full {
                (0..tokens).for_each(|position| words.extend([position, 1, 7]));
                words.extend([1, 2, 0, 0]);
                for (head, size) in [
                    ([9, 4, 0], 4),
                    ([9, 4, 0], 4),
                    ([9, 2, 2], 4),
                    ([9, 2, 2], 4),
                ] {
                    words.extend(head);
                    flush(&mut words, &mut bytes);
                    for _ in 0..size * tokens {
                        byte = byte.wrapping_add(1);
                        bytes.push(byte);
                    }
                }
            }
            flush(&mut words, &mut bytes);
        }
        bytes
    }

    fn flush(words: &mut Vec<u32>, bytes: &mut Vec<u8>) {
        bytes.extend(words.drain(..).flat_map(u32::to_ne_bytes));
    }

    #[test]
    fn runs_that_were_cut_from_a_state_give_its_cells_again() {
        let whole = state(5, [false, true, false]);
        let layout = Layout::learn(&whole, 5).unwrap();
        let cells = |range| layout.cells(&whole, 5, range).unwrap();
        let (mut written, mut again) = (Vec::new(), Vec::new());
        layout.write(&[(&cells(0..5), 5)], &mut written).unwrap();
        layout
            .write(
                &[(&cells(0..2), 2), (&cells(2..3), 1), (&cells(3..5), 2)],
                &mut again,
            )
            .unwrap();
        assert_eq!(written, again);
        assert_eq!(layout.cells(&written, 5, 0..5).unwrap(), cells(0..5));
        // A run may be taken in part.
        layout.write(&[(&cells(0..5), 2)], &mut again).unwrap();
        assert_eq!(layout.cells(&again, 2, 0..2).unwrap(), cells(0..2));
    }

    #[test]
    fn a_state_that_is_otherwise_is_refused_and_never_guessed() {
        let whole = state(5, [false, true, false]);
        let layout = Layout::learn(&whole, 5).unwrap();
        assert!(Layout::learn(&whole, 4).is_err());
        assert!(Layout::learn(&state(5, [true, true, false]), 5).is_err());
        assert!(Layout::learn(&state(5, [false; 3]), 5).is_err());
        assert!((0..whole.len()).all(|end| Layout::learn(&whole[..end], 5).is_err()));
        assert!(Layout::learn(&[&whole[..], &[0]].concat(), 5).is_err());
        assert!(layout.cells(&whole, 5, 3..6).is_err());
        let narrow: Arc<[usize]> = Arc::new([4]);
        let foreign = Cells::gather(1, &narrow, [&[0; 4][..]]);
        assert!(layout.write(&[(&foreign, 1)], &mut Vec::new()).is_err());
    }
}
