//! `adapter_config.json`: how strong PEFT applies each module, and whether that is all it does.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::PeftProblem;

/// Settings that are read below, that change nothing about what a finished adapter computes, or
/// that name its modules: the tensors do that too.
const UNDERSTOOD: [&str; 26] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Settings that make PEFT compute something else than LoRA, and what that is.
const REFUSED: [(&str, &str); 14] = [
    ("use_dora", "DoRA also scales each row of the base"),
    ("fan_in_fan_out", "the base's matrices are transposed"),
    ("modules_to_save", "whole modules were trained beside it"),
    ("layer_replication", "the base has copies of its layers"),
    ("trainable_token_indices", "it changes embeddings"),
    ("lora_bias", "it has biases"),
    ("target_parameters", "it changes bare parameters"),
    ("alora_invocation_tokens", "it is switched on by tokens"),
    ("use_qalora", "QALoRA pools the inputs"),
    ("use_bdlora", "its matrices are made of blocks"),
    ("arrow_config", "it routes between several adapters"),
    ("kasa_config", "KaSA changes the base"),
    ("monteclora_config", "MonteCLoRA draws its weights"),
    ("megatron_config", "its layers are Megatron's"),
];

/// As `adapter::check` has it.
const ALPHA_LIMIT: f64 = 65_536.0;

/// Keys of a table of patterns. PEFT itself writes one a module at most, of which a layer has seven.
const MOST_PATTERNS: usize = 1024;
/// Bytes of one key: as it is parsed, each class of Unicode in it takes thousands.
const KEY_LIMIT: usize = 1024;
/// Bytes of one compiled pattern, in either direction. A `\w` has some 45,000.
const PATTERN_LIMIT: usize = 1 << 17;

#[derive(Debug)]
pub(super) struct PeftConfig {
    rank: u64,
    alpha: f64,
    rank_stabilised: bool,
    ranks: Vec<Pattern<u64>>,
    alphas: Vec<Pattern<f64>>,
}

/// What PEFT does with one module.
#[derive(Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) rank: u64,
    /// PEFT's scaling over `alpha / rank` with the alpha that is written.
    pub(super) factor: f64,
}

#[derive(Debug)]
struct Pattern<T> {
    key: Regex,
    value: T,
}

impl PeftConfig {
    pub(super) fn parse(text: &[u8]) -> Result<Self, PeftProblem> {
        let settings: Map<String, Value> =
            serde_json::from_slice(text).map_err(PeftProblem::Json)?;
        let mut problems = Vec::new();
        check_kind(&settings, &mut problems);
        check_init(&settings, &mut problems);
        for (key, value) in &settings {
            check_setting(key, value, &mut problems);
        }
        let rank = required(&settings, "r", read_rank, &mut problems);
        let alpha = required(&settings, "lora_alpha", read_alpha, &mut problems);
        let ranks = patterns(&settings, "rank_pattern", read_rank, &mut problems);
        let alphas = patterns(&settings, "alpha_pattern", read_number, &mut problems);
        let rank_stabilised = match settings.get("use_rslora") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(other) => {
                problems.push(format!("`use_rslora` is `{other}`, expected true or false"));
                false
            }
        };
        match (rank, alpha) {
            (Some(rank), Some(alpha)) if problems.is_empty() => {
                let config = Self {
                    rank,
                    alpha,
                    rank_stabilised,
                    ranks,
                    alphas,
                };
                config.check_alpha()
            }
            _ => Err(PeftProblem::Settings(problems)),
        }
    }

    /// llama.cpp multiplies by alpha over the rank of the module at hand.
    pub(super) fn alpha(&self) -> f32 {
        self.written(self.alpha, self.rank) as f32
    }

    pub(super) fn scaling(&self, module: &str) -> Scaling {
        let rank = first_match(&self.ranks, module).unwrap_or(self.rank);
        let alpha = first_match(&self.alphas, module).unwrap_or(self.alpha);
        Scaling {
            rank,
            factor: self.written(alpha, rank) / self.written(self.alpha, self.rank),
        }
    }

    /// PEFT's scaling times the rank.
    fn written(&self, alpha: f64, rank: u64) -> f64 {
        match self.rank_stabilised {
            true => alpha * (rank as f64).sqrt(),
            false => alpha,
        }
    }

    fn check_alpha(self) -> Result<Self, PeftProblem> {
        if f64::from(self.alpha()) <= ALPHA_LIMIT {
            return Ok(self);
        }
        Err(PeftProblem::Settings(vec![format!(
            "`lora_alpha` is `{}` and `r` is `{}`: together over the limit of `{ALPHA_LIMIT}`",
            self.alpha, self.rank
        )]))
    }
}

fn check_kind(settings: &Map<String, Value>, problems: &mut Vec<String>) {
    match settings.get("peft_type") {
        Some(Value::String(kind)) if kind == "LORA" => {}
        Some(other) => problems.push(format!("`peft_type` is `{other}`, expected `\"LORA\"`")),
        None => problems.push("`peft_type` is missing, expected `\"LORA\"`".to_owned()),
    }
}

/// Some ways to begin a training change the base too: the adapter is for that other base.
fn check_init(settings: &Map<String, Value>, problems: &mut Vec<String>) {
    match settings.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(Value::String(name)) if matches!(name.as_str(), "gaussian" | "eva" | "orthogonal") => {
        }
        Some(other) => problems.push(format!(
            "`init_lora_weights` is `{other}`, which changes the base: convert it to plain LoRA \
             with PEFT's `path_initial_model_for_weight_conversion`"
        )),
    }
}

fn check_setting(key: &str, value: &Value, problems: &mut Vec<String>) {
    let off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    };
    if off || UNDERSTOOD.contains(&key) || (key == "bias" && value == "none") {
        return;
    }
    let reason = REFUSED.iter().find(|(name, _)| *name == key);
    problems.push(match reason {
        Some((_, reason)) => format!("`{key}` is set: {reason}, which LoRA in GGUF cannot say"),
        None if key == "bias" => {
            format!("`bias` is `{value}`, expected `\"none\"`: LoRA in GGUF has no biases")
        }
        None => format!(
            "the setting `{}` is not known here and not off: it may change what the adapter does",
            key.escape_debug()
        ),
    });
}

fn required<T>(
    settings: &Map<String, Value>,
    key: &str,
    read: impl Fn(&Value) -> Result<T, &'static str>,
    problems: &mut Vec<String>,
) -> Option<T> {
    let Some(value) = settings.get(key) else {
        problems.push(format!("`{key}` is missing"));
        return None;
    };
    match read(value) {
        Ok(read) => Some(read),
        Err(expected) => {
            problems.push(format!("`{key}` is `{value}`, expected {expected}"));
            None
        }
    }
}

fn read_rank(value: &Value) -> Result<u64, &'static str> {
    match value.as_u64() {
        Some(rank) if rank > 0 => Ok(rank),
        _ => Err("a whole number over `0`"),
    }
}

fn read_alpha(value: &Value) -> Result<f64, &'static str> {
    match value.as_f64() {
        // To llama.cpp alpha 0 means another formula, and one below it is refused at load.
        Some(alpha) if alpha as f32 > 0.0 && alpha <= ALPHA_LIMIT => Ok(alpha),
        _ => Err("a number over `0` and at most `65536`"),
    }
}

fn read_number(value: &Value) -> Result<f64, &'static str> {
    match value.as_f64() {
        Some(number) if number.is_finite() => Ok(number),
        _ => Err("a number"),
    }
}

/// In the file's order, since PEFT takes the first key that matches.
fn patterns<T>(
    settings: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Result<T, &'static str>,
    problems: &mut Vec<String>,
) -> Vec<Pattern<T>> {
    let table = match settings.get(name) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Object(table)) if table.len() > MOST_PATTERNS => {
            let count = table.len();
            problems.push(format!(
                "`{name}` has `{count}` keys, expected at most `{MOST_PATTERNS}`"
            ));
            return Vec::new();
        }
        Some(Value::Object(table)) => table,
        Some(other) => {
            problems.push(format!("`{name}` is `{other}`, expected an object"));
            return Vec::new();
        }
    };
    let mut patterns = Vec::new();
    for (key, value) in table {
        let shown = key.escape_debug();
        match (pattern(key), read(value)) {
            (Ok(key), Ok(value)) => patterns.push(Pattern { key, value }),
            (Err(error), _) => problems.push(format!(
                "`{name}` has the key `{shown}`, which is no pattern that can be read: {error}"
            )),
            (_, Err(expected)) => problems.push(format!(
                "`{name}` has `{value}` for `{shown}`, expected {expected}"
            )),
        }
    }
    patterns
}

/// PEFT's own: the key, a regular expression, must match the module's name or what follows a full
/// stop of it.
fn pattern(key: &str) -> Result<Regex, String> {
    if key.len() > KEY_LIMIT {
        return Err(format!("it has more than `{KEY_LIMIT}` bytes"));
    }
    let compiled = |text: &str| {
        let built = RegexBuilder::new(text).size_limit(PATTERN_LIMIT).build();
        built.map_err(|error| error.to_string())
    };
    // Alone first, so that a key cannot close the group that it is put in.
    compiled(key)?;
    compiled(&format!(r"^(?:.*\.)?(?:{key})$"))
}

fn first_match<T: Copy>(patterns: &[Pattern<T>], module: &str) -> Option<T> {
    let found = patterns.iter().find(|pattern| pattern.key.is_match(module));
    found.map(|pattern| pattern.value)
}
