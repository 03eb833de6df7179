//! Who may decide now: the mode that the operator asked for, and the kill
//! switch over it. Both are kept in the decision log's file, so that a restart
//! changes nothing.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::decision_log::{DecisionLog, LogError};
use crate::kill_switch::{
    Distance, Effect, Event, KillSwitch, Rearm, Refusal, State, Thresholds, UnixMicros,
};
use crate::verdict::Mode;

const MODE: &str = "mode";
const KILL_SWITCH: &str = "kill_switch";

pub struct Authority {
    log: DecisionLog,
    inner: Mutex<Inner>,
    standing: watch::Sender<Standing>,
    /// The switch knows more than the file.
    stale: AtomicBool,
    /// One document after the other.
    keeping: tokio::sync::Mutex<()>,
}

struct Inner {
    asked: Mode,
    configured: Mode,
    switch: KillSwitch,
}

/// What holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub mode: Mode,
    /// Why it is not the mode that was asked for.
    pub reason: Option<String>,
    pub tripped: bool,
}

/// The last word of an operator at run time. It counts after a restart unless
/// the settings have been changed since.
#[derive(Deserialize, Serialize)]
struct Asked {
    mode: Mode,
    configured: Mode,
    by: String,
    reason: String,
    at: UnixMicros,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("`{0}` is empty: say who wants it, and why")]
    Empty(&'static str),
    #[error("mode {mode} is not possible while {standing}")]
    Overruled { mode: Mode, standing: String },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Authority {
    /// What held when the last daemon ended, however it did.
    pub async fn load(
        log: DecisionLog,
        configured: Mode,
        thresholds: Thresholds,
    ) -> Result<Self, LogError> {
        let asked = log.state(MODE).await?;
        let asked = asked.and_then(|asked| serde_json::from_value::<Asked>(asked).ok());
        let asked = match asked {
            Some(asked) if asked.configured == configured => {
                let Asked {
                    mode, by, reason, ..
                } = asked;
                tracing::info!(%mode, by, reason, "the mode that was set at run time still holds");
                mode
            }
            _ => configured,
        };
        let switch = match log.state(KILL_SWITCH).await? {
            None => KillSwitch::new(thresholds),
            Some(kept) => {
                let restored = KillSwitch::restore(&kept.to_string(), thresholds);
                restored.unwrap_or_else(|error| {
                    tracing::error!(%error, "the kill switch counts as tripped");
                    let reason = error
                        .source()
                        .map_or(error.to_string(), ToString::to_string);
                    KillSwitch::lost(thresholds, reason, now())
                })
            }
        };
        if switch.state().is_tripped() {
            tracing::error!(reason = %switch.state(), "the kill switch is tripped: rules decide");
        }
        let inner = Inner {
            asked,
            configured,
            switch,
        };
        Ok(Self {
            log,
            standing: watch::Sender::new(inner.standing()),
            inner: Mutex::new(inner),
            stale: AtomicBool::new(false),
            keeping: tokio::sync::Mutex::default(),
        })
    }

    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub fn state(&self) -> State {
        self.lock().switch.state().clone()
    }

    pub fn distance(&self) -> Distance {
        self.lock().switch.distance()
    }

    /// Takes in one event; whether it has tripped the switch. Holds at once, and
    /// is kept with the next [`Authority::keep`].
    pub fn note(&self, event: Event) -> bool {
        let mut inner = self.lock();
        let effects = inner.switch.step(event, now());
        self.stale.store(true, Relaxed);
        self.standing.send_if_modified(|standing| {
            let new = inner.standing();
            let changed = *standing != new;
            *standing = new;
            changed
        });
        drop(inner);
        let mut tripped = false;
        for effect in effects {
            match effect {
                Effect::Trip(trip) => {
                    tripped = true;
                    tracing::error!(
                        condition = trip.condition.name(),
                        reason = %trip.condition,
                        "the kill switch has tripped: the adapter is off, and rules decide"
                    );
                }
                Effect::AlsoMet(trip) => {
                    tracing::warn!(reason = %trip.condition, "another condition of the kill switch holds too");
                }
            }
        }
        tripped
    }

    /// Makes durable what the switch knows.
    pub async fn keep(&self) -> Result<(), LogError> {
        let _turn = self.keeping.lock().await;
        if !self.stale.swap(false, Relaxed) {
            return Ok(());
        }
        let json = self.lock().switch.to_json();
        let kept = self.put(KILL_SWITCH, &json).await;
        if kept.is_err() {
            self.stale.store(true, Relaxed);
        }
        kept
    }

    /// Sets the mode, durably; the one before.
    pub async fn set_mode(
        &self,
        mode: Mode,
        by: &str,
        reason: &str,
    ) -> Result<Mode, AuthorityError> {
        for (name, text) in [("by", by), ("reason", reason)] {
            if text.trim().is_empty() {
                return Err(AuthorityError::Empty(name));
            }
        }
        let (previous, asked) = {
            let inner = self.lock();
            let allowed = inner.switch.mode(mode);
            if allowed != mode {
                let standing = inner.switch.state().to_string();
                return Err(AuthorityError::Overruled { mode, standing });
            }
            let asked = Asked {
                mode,
                configured: inner.configured,
                by: by.trim().to_owned(),
                reason: reason.trim().to_owned(),
                at: now(),
            };
            (inner.standing().mode, asked)
        };
        let text = serde_json::to_string(&asked).unwrap_or_default();
        self.put(MODE, &text).await?;
        let mut inner = self.lock();
        inner.asked = mode;
        self.standing.send_replace(inner.standing());
        drop(inner);
        tracing::warn!(%mode, %previous, by, reason, "the mode was set");
        Ok(previous)
    }

    /// Ends a trip, or the time in SHADOW after it, durably.
    pub async fn re_arm(
        &self,
        by: &str,
        reason: &str,
        via_shadow: bool,
    ) -> Result<(), AuthorityError> {
        let rearm = Rearm {
            by: by.to_owned(),
            reason: reason.to_owned(),
            at: now(),
        };
        let _turn = self.keeping.lock().await;
        // Tried on a copy: it holds only once it is kept.
        let mut switch = self.lock().switch.clone();
        switch.rearm(rearm.clone(), via_shadow)?;
        self.put(KILL_SWITCH, &switch.to_json()).await?;
        let mut inner = self.lock();
        inner.switch.rearm(rearm, via_shadow)?;
        self.stale.store(true, Relaxed);
        self.standing.send_replace(inner.standing());
        drop(inner);
        tracing::warn!(by, reason, via_shadow, "the kill switch was re-armed");
        Ok(())
    }

    async fn put(&self, key: &str, json: &str) -> Result<(), LogError> {
        let value: Value = serde_json::from_str(json).unwrap_or_default();
        self.log.put_state(key, &value).await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn standing(&self) -> Standing {
        let mode = self.switch.mode(self.asked);
        Standing {
            mode,
            reason: (mode != self.asked).then(|| self.switch.state().to_string()),
            tripped: self.switch.state().is_tripped(),
        }
    }
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        UnixMicros::try_from(since.as_micros()).unwrap_or(UnixMicros::MAX)
    })
}
