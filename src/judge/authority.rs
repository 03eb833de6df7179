//! Who may decide now: the mode that the operator asked for, and the kill
//! switch over it. Both are kept in the decision log's file, so that a restart
//! changes nothing.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::decision_log::{DecisionLog, LogError};
use crate::engine::Engine;
use crate::kill_switch::{
    Distance, Effect, Event, KillSwitch, Rearm, Refusal, State, Thresholds, UnixMicros,
};
use crate::verdict::Mode;

const MODE: &str = "mode";
const KILL_SWITCH: &str = "kill_switch";

pub struct Authority {
    log: DecisionLog,
    engine: Engine,
    inner: Mutex<Inner>,
    standing: watch::Sender<Standing>,
    /// The version of the switch that the file holds; whoever writes one has it.
    kept: tokio::sync::Mutex<u64>,
}

struct Inner {
    asked: Mode,
    configured: Mode,
    switch: KillSwitch,
    /// Counts what the switch was told.
    version: u64,
}

/// What holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub mode: Mode,
    /// What the kill switch has to do with it.
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
    #[error("the kill switch has met another condition meanwhile: {0}")]
    Overtaken(State),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Authority {
    /// What held when the last daemon ended, however it did. The engine's adapter
    /// is on or off from now on as the switch says.
    pub async fn load(
        log: DecisionLog,
        engine: Engine,
        configured: Mode,
        thresholds: Thresholds,
    ) -> Result<Self, LogError> {
        let asked = match log.state(MODE).await {
            Err(error @ LogError::Unreadable { .. }) => {
                tracing::warn!(%error, "the mode that was set at run time is lost");
                None
            }
            asked => asked?,
        };
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
        let kept = log.state(KILL_SWITCH).await;
        let lost = |error: &dyn Error, reason: String| {
            tracing::error!(%error, "the kill switch counts as tripped");
            KillSwitch::lost(thresholds, reason, now())
        };
        let switch = match kept {
            Ok(None) => {
                tracing::info!("the decision log knows of no kill switch yet: it begins armed");
                KillSwitch::new(thresholds)
            }
            Ok(Some(kept)) => {
                let restored = KillSwitch::restore(&kept.to_string(), thresholds);
                restored.unwrap_or_else(|error| {
                    let reason = error
                        .source()
                        .map_or(error.to_string(), ToString::to_string);
                    lost(&error, reason)
                })
            }
            Err(ref error @ LogError::Unreadable { ref reason, .. }) => {
                lost(error, reason.to_string())
            }
            Err(error) => return Err(error),
        };
        if switch.state().is_tripped() {
            tracing::error!(reason = %switch.state(), "the kill switch is tripped: rules decide");
        }
        let inner = Inner {
            asked,
            configured,
            switch,
            version: 0,
        };
        let standing = inner.standing();
        engine.set_adapter(!standing.tripped);
        Ok(Self {
            log,
            engine,
            standing: watch::Sender::new(standing),
            inner: Mutex::new(inner),
            kept: tokio::sync::Mutex::default(),
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
        inner.version += 1;
        self.announce(&inner);
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

    /// Makes durable what the switch knows. Given up half-way, the next call does it.
    pub async fn keep(&self) -> Result<(), LogError> {
        let mut kept = self.kept.lock().await;
        let (version, json) = {
            let inner = self.lock();
            if inner.version == *kept {
                return Ok(());
            }
            (inner.version, inner.switch.to_json())
        };
        self.put(KILL_SWITCH, &json).await?;
        *kept = version;
        Ok(())
    }

    /// Sets the mode, durably; the one before. Not to be given up half-way.
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
        let _turn = self.kept.lock().await;
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
        self.announce(&inner);
        drop(inner);
        tracing::warn!(%mode, %previous, by, reason, "the mode was set");
        Ok(previous)
    }

    /// Ends a trip, or the time in SHADOW after it, durably. Not to be given up
    /// half-way.
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
        let turn = self.kept.lock().await;
        // Tried on a copy: it holds only once it is kept.
        let (before, mut switch) = {
            let mut inner = self.lock();
            // What the file gets now is not what the switch knows, or will know.
            inner.version += 1;
            (inner.switch.state().clone(), inner.switch.clone())
        };
        switch.rearm(rearm.clone(), via_shadow)?;
        self.put(KILL_SWITCH, &switch.to_json()).await?;
        let meanwhile = {
            let mut inner = self.lock();
            let meanwhile = inner.switch.state().clone();
            if meanwhile == before {
                inner.switch.rearm(rearm, via_shadow)?;
                self.announce(&inner);
            }
            meanwhile
        };
        if meanwhile != before {
            drop(turn);
            self.keep().await?;
            return Err(AuthorityError::Overtaken(meanwhile));
        }
        tracing::warn!(by, reason, via_shadow, "the kill switch was re-armed");
        Ok(())
    }

    /// Tells all who watch, and the engine, in the order in which it happened.
    fn announce(&self, inner: &Inner) {
        let new = inner.standing();
        self.engine.set_adapter(!new.tripped);
        self.standing.send_if_modified(|standing| {
            let changed = *standing != new;
            *standing = new;
            changed
        });
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
        let tripped = self.switch.state().is_tripped();
        Standing {
            mode,
            reason: (tripped || mode != self.asked).then(|| self.switch.state().to_string()),
            tripped,
        }
    }
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        UnixMicros::try_from(since.as_micros()).unwrap_or(UnixMicros::MAX)
    })
}
