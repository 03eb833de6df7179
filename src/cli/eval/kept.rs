//! The answers that are there, and the file that keeps them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::dataset::case::Case;
use crate::eval::record::{Answer, Record, Setup};
use crate::eval::results::Results;

/// By case.
pub(super) struct Kept {
    pub(super) records: HashMap<String, Record>,
    file: Option<Results>,
}

impl Kept {
    /// What the file holds of the same cases and the same setup.
    pub(super) fn open(path: Option<&Path>, cases: &[Case], setup: &Setup) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self {
                records: HashMap::new(),
                file: None,
            });
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("`{}`", folder.display()))?;
        }
        let (file, records) = Results::open(path)?;
        let hashes: HashMap<&str, String> = cases
            .iter()
            .map(|case| (case.id.as_str(), case.hash()))
            .collect();
        let same = records.into_iter().filter(|record| {
            record.setup == *setup && hashes.get(record.id.as_str()) == Some(&record.hash)
        });
        Ok(Self {
            records: same.map(|record| (record.id.clone(), record)).collect(),
            file: Some(file),
        })
    }

    pub(super) fn add(&mut self, record: Record) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.append(&record)?;
        }
        self.records.insert(record.id.clone(), record);
        Ok(())
    }

    /// In the order of the cases.
    pub(super) fn answers<'c>(mut self, cases: &'c [Case]) -> Vec<Answer<'c>> {
        let answer = |case: &'c Case| {
            let record = self.records.remove(&case.id)?;
            Some(Answer { case, record })
        };
        cases.iter().filter_map(answer).collect()
    }
}
