//! What the daemon's engine did meanwhile, by its own counters.

use serde::Serialize;

use crate::client::Status;

/// Tokens a second of llama.cpp alone, as `judged doctor` measures them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Raw {
    pub prefill: Option<f64>,
    pub decode: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Engine {
    pub prefill: Work,
    pub decode: Work,
    /// Tokens of a decode step: how many rationales moved together.
    pub tokens_per_step: Option<f64>,
    /// Prompt tokens that the KV cache spared.
    pub cached_tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Work {
    pub tokens: u64,
    /// That the engine spent on it.
    pub seconds: f64,
    pub tokens_per_second: Option<f64>,
    /// The rate over llama.cpp's own, where that was given.
    pub of_raw: Option<f64>,
}

impl Engine {
    /// `None` where so many answers are not in the counters: then they are another daemon's.
    pub fn between(before: &Status, after: &Status, answers: u64, raw: Raw) -> Option<Self> {
        let decisions = |status: &Status| status.decisions_by_model + status.decisions_by_rules;
        let counted = decisions(after).checked_sub(decisions(before))?;
        if counted < answers {
            return None;
        }
        let prefill = after.prefill_time.saturating_sub(before.prefill_time);
        let decode = after.decode_time.saturating_sub(before.decode_time);
        let decoded = after.decode_tokens.saturating_sub(before.decode_tokens);
        let steps = after.decode_steps.saturating_sub(before.decode_steps);
        Some(Self {
            prefill: Work::new(
                after.prefill_tokens.saturating_sub(before.prefill_tokens),
                prefill.as_secs_f64(),
                raw.prefill,
            ),
            decode: Work::new(decoded, decode.as_secs_f64(), raw.decode),
            tokens_per_step: (steps > 0).then(|| decoded as f64 / steps as f64),
            cached_tokens: after.cached_tokens.saturating_sub(before.cached_tokens),
        })
    }
}

impl Work {
    pub fn new(tokens: u64, seconds: f64, raw: Option<f64>) -> Self {
        let rate = (seconds > 0.0).then(|| tokens as f64 / seconds);
        Self {
            tokens,
            seconds,
            tokens_per_second: rate,
            of_raw: rate.zip(raw).map(|(rate, raw)| rate / raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_held_against_the_raw_one_where_that_is_known() {
        let work = Work::new(190, 2.0, Some(100.0));
        assert_eq!(
            (work.tokens_per_second, work.of_raw),
            (Some(95.0), Some(0.95))
        );
        assert_eq!(Work::new(190, 2.0, None).of_raw, None);
        assert_eq!(Work::new(0, 0.0, Some(100.0)).tokens_per_second, None);
    }
}
