//! Where `judged judge` has its cases from: flags, a file, or stdin.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::JudgeArgs;
use crate::channel::Channel;

#[derive(Clone, Debug)]
pub struct Case {
    pub name: Option<String>,
    pub request_id: String,
    pub context_json: String,
    pub draft: String,
    pub channel: Option<Channel>,
}

/// Cases, of which the number may not be known yet.
pub struct Cases {
    known: Option<u64>,
    each: Box<dyn Iterator<Item = anyhow::Result<Case>> + Send>,
}

impl Cases {
    pub fn len(&self) -> Option<u64> {
        self.known
    }

    fn all(cases: Vec<Case>) -> Self {
        Self {
            known: u64::try_from(cases.len()).ok(),
            each: Box::new(cases.into_iter().map(Ok)),
        }
    }
}

impl Iterator for Cases {
    type Item = anyhow::Result<Case>;

    fn next(&mut self) -> Option<Self::Item> {
        self.each.next()
    }
}

/// A case as it is written. The context stays as it is: the daemon reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    #[serde(default)]
    request_id: String,
    context: Box<RawValue>,
    draft: String,
    channel: Option<String>,
}

pub fn read(args: &JudgeArgs) -> anyhow::Result<Cases> {
    if let (Some(context), Some(draft)) = (&args.context, &args.draft) {
        let context_json = match context.trim_start().starts_with('{') {
            true => context.clone(),
            false => read_text(Path::new(context))?,
        };
        let draft = match draft.strip_prefix('@') {
            Some(path) => read_text(Path::new(path))?,
            None => draft.clone(),
        };
        return Ok(Cases::all(vec![Case {
            name: None,
            request_id: String::new(),
            context_json,
            draft,
            channel: None,
        }]));
    }
    match args.file.as_deref() {
        None => bail!("no case: give a FILE (`-` for stdin), or --context and --draft"),
        Some(path) if path == Path::new("-") => {
            Ok(lines("stdin", BufReader::new(std::io::stdin())))
        }
        Some(path) => from_file(path),
    }
}

/// One JSON value, or one a line.
fn from_file(path: &Path) -> anyhow::Result<Cases> {
    let name = path.display().to_string();
    let text = read_text(path)?;
    let whole = serde_json::from_str::<Box<RawValue>>(&text);
    if let Ok(value) = whole {
        let cases: Vec<Written> = match value.get().trim_start().starts_with('[') {
            true => serde_json::from_str(value.get()),
            false => serde_json::from_str(value.get()).map(|case| vec![case]),
        }
        .with_context(|| format!("`{name}`"))?;
        let cases = cases.into_iter().map(Case::try_from);
        return Ok(Cases::all(cases.collect::<anyhow::Result<_>>()?));
    }
    let count = text.lines().filter(|line| !line.trim().is_empty()).count();
    let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
    Ok(Cases {
        known: u64::try_from(count).ok(),
        ..lines(&name, BufReader::new(file))
    })
}

fn lines(name: &str, from: impl BufRead + Send + 'static) -> Cases {
    let name = name.to_owned();
    let numbered = (1..).zip(from.lines());
    let each = numbered.filter_map(move |(number, line)| {
        let place = || format!("`{name}`, line {number}");
        match line.with_context(place) {
            Err(error) => Some(Err(error)),
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => {
                let written = serde_json::from_str::<Written>(&line).with_context(place);
                Some(written.and_then(Case::try_from))
            }
        }
    });
    Cases {
        known: None,
        each: Box::new(each),
    }
}

impl TryFrom<Written> for Case {
    type Error = anyhow::Error;

    fn try_from(written: Written) -> anyhow::Result<Self> {
        let channel = written.channel.as_deref().map(str::parse).transpose();
        Ok(Self {
            channel: channel.map_err(|error| anyhow!("`channel`: {error}"))?,
            name: written.name,
            request_id: written.request_id,
            context_json: written.context.get().to_owned(),
            draft: written.draft,
        })
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(text)
}
