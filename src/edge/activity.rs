//! Whether a connection has calls under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::body::Body;

/// The calls of one connection.
#[derive(Clone, Debug)]
pub struct Activity {
    calls: Arc<watch::Sender<usize>>,
    /// Places of calls that need no token.
    strangers: Arc<Semaphore>,
}

/// Far more than a prober has under way, a watch included. They are the connection's own: else
/// a stranger could take them all, and the daemon would be taken for dead.
const STRANGERS_CALLS: usize = 32;

impl Activity {
    pub fn new() -> Self {
        Self {
            calls: Arc::new(watch::channel(0).0),
            strangers: Arc::new(Semaphore::new(STRANGERS_CALLS)),
        }
    }

    /// For a call that needs no token, if one is left.
    pub fn strangers_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.strangers).try_acquire_owned().ok()
    }

    /// One more call, until that is dropped.
    pub fn call(&self, place: Option<OwnedSemaphorePermit>) -> Call {
        self.calls.send_modify(|calls| *calls += 1);
        Call {
            activity: self.clone(),
            _place: place,
        }
    }

    /// Returns once no call was under way for so long.
    pub async fn idle(&self, limit: Duration) {
        let mut calls = self.calls.subscribe();
        loop {
            // It fails without a sender alone, which we are.
            let _ = calls.wait_for(|calls| *calls == 0).await;
            tokio::select! {
                () = tokio::time::sleep(limit) => return,
                _ = calls.changed() => {}
            }
        }
    }
}

/// A call under way, with its place among those of the listener, or of the connection.
#[derive(Debug)]
pub struct Call {
    activity: Activity,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.activity.calls.send_modify(|calls| *calls -= 1);
    }
}

/// An answer, whose call is under way until the last byte is on its way.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    _call: Call,
}

impl Answer {
    pub fn new(body: Body, call: Call) -> Self {
        Self { body, _call: call }
    }
}

impl http_body::Body for Answer {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    async fn is_idle(activity: &Activity) -> bool {
        tokio::time::timeout(LIMIT * 4, activity.idle(LIMIT))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_connection_is_idle_once_its_last_call_has_ended() {
        let activity = Activity::new();
        assert!(is_idle(&activity).await);
        let (one, other) = (activity.call(None), activity.call(None));
        assert!(!is_idle(&activity).await);
        drop(one);
        assert!(!is_idle(&activity).await);
        drop(other);
        assert!(is_idle(&activity).await);
    }
}
