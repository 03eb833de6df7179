//! Who wants a daemon to end: a signal, or its supervisor.

use super::{Link, Signals};

pub struct Ending {
    signals: Signals,
    link: Option<Link>,
    by_supervisor: bool,
}

impl Ending {
    /// Needs a runtime of tokio.
    pub fn new(link: Option<Link>) -> std::io::Result<Self> {
        Ok(Self {
            signals: Signals::new()?,
            link,
            by_supervisor: false,
        })
    }

    /// Until somebody wants it.
    pub async fn wanted(&mut self) {
        let link = self.link.take();
        let closed = async {
            match link {
                Some(link) => link.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.signals.next() => {}
            () = closed => self.by_supervisor = true,
        }
    }

    /// Until somebody wants it once more, at once.
    pub async fn urged(&mut self) {
        // What went to the supervisor may have come to us too: a terminal and systemd signal all
        // processes. That is one wish.
        if self.by_supervisor {
            self.signals.next().await;
        }
        self.signals.next().await;
    }
}
