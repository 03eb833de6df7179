//! A unary call's body: one message. Of a call with more, tonic would read the first and pass
//! over the rest, so that its caller would get a verdict on something else than it meant.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tonic::Status;

use crate::rpc::status::Failure;

/// Fails where a second message begins.
#[derive(Debug)]
pub struct Unary {
    body: Incoming,
    framing: Framing,
}

impl Unary {
    pub fn new(body: Incoming) -> Self {
        Self {
            body,
            framing: Framing::default(),
        }
    }
}

impl Body for Unary {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| Status::from_error(Box::new(error)));
        Poll::Ready(Some(frame.and_then(|frame| {
            match frame.data_ref().is_none_or(|data| self.framing.take(data)) {
                true => Ok(frame),
                false => Err(Failure::SecondMessage.to_status()),
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A message comes after a byte that says whether it is compressed, and four of its length.
const HEAD: usize = 5;

#[derive(Debug, Default)]
struct Framing {
    /// What has come of the first message's head.
    head: Vec<u8>,
    /// All that has come, in bytes.
    taken: u64,
}

impl Framing {
    /// Whether all that has come still belongs to the first message.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let lacking = HEAD - self.head.len();
        self.head.extend(bytes.iter().take(lacking));
        self.taken += bytes.len() as u64;
        let Some(length) = self.head.get(1..).and_then(<[u8]>::first_chunk::<4>) else {
            return true;
        };
        self.taken <= HEAD as u64 + u64::from(u32::from_be_bytes(*length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_is_taken_in_any_pieces_and_not_a_byte_more() {
        let message = [&[0, 0, 0, 0, 3][..], b"abc"].concat();
        for piece in 1..=message.len() {
            let mut framing = Framing::default();
            assert!(message.chunks(piece).all(|bytes| framing.take(bytes)));
            assert!(!framing.take(b"\0"));
        }
        let two = message.repeat(2);
        assert!(!Framing::default().take(&two));
        assert!(Framing::default().take(&[0, 0xff, 0xff, 0xff, 0xff, 1]));
    }
}
