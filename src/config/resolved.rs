//! Where each setting's value comes from: flags over the environment over the file over
//! the defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, parser::ValueSource};
use serde_json::{Map, Value};

use super::{ConfigError, Settings};

/// All settings by name, with their origins.
pub type Resolved = BTreeMap<String, Sourced>;

/// A setting's value, and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment,
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment => f.write_str("environment"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

impl Settings {
    /// Puts the flags and environment over the file over the defaults.
    pub fn resolve(
        &self,
        matches: Option<&ArgMatches>,
        file: Option<&Path>,
    ) -> Result<Resolved, ConfigError> {
        let mut resolved = Resolved::new();
        let mut put = |settings: &Settings, origin: &dyn Fn(&str) -> Origin| {
            for (name, value) in settings.to_map() {
                let origin = origin(&name);
                resolved.insert(name, Sourced { value, origin });
            }
        };
        put(&Settings::defaults(), &|_| Origin::Default);
        if let Some(path) = file {
            put(&read(path)?, &|_| Origin::File(path.to_owned()));
        }
        if matches.is_some() {
            put(&Settings::of_opentelemetry(), &|_| Origin::Environment);
        }
        put(
            self,
            &|name| match matches.and_then(|matches| matches.value_source(name)) {
                Some(ValueSource::EnvVariable) => Origin::Environment,
                _ => Origin::Flag,
            },
        );
        Ok(resolved)
    }

    /// What OpenTelemetry's own variables ask for.
    fn of_opentelemetry() -> Self {
        let variables = [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ];
        let endpoints = variables
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        Self {
            otlp_endpoint: endpoints.into_iter().find(|endpoint| !endpoint.is_empty()),
            ..Self::default()
        }
    }

    pub(super) fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}

fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string(),
    })
}
