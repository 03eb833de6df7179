//! The file of tokens: TOML, a table each.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Entry, Scope, Tokens, TokensError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    sha256: String,
    scopes: Vec<String>,
}

pub fn parse(text: &str) -> Result<Tokens, TokensError> {
    let file: File =
        toml::from_str(text).map_err(|error| TokensError::Syntax(error.to_string()))?;
    let mut entries: Vec<Entry> = Vec::new();
    for table in file.token {
        let entry = entry(table)?;
        let name = || entry.name.to_string();
        if entries.iter().any(|other| other.name == entry.name) {
            return Err(TokensError::NameTwice(name()));
        }
        if entries.iter().any(|other| other.sha256 == entry.sha256) {
            return Err(TokensError::HashTwice { name: name() });
        }
        entries.push(entry);
    }
    Ok(Tokens { entries })
}

fn entry(table: Table) -> Result<Entry, TokensError> {
    let Table {
        name,
        sha256,
        scopes,
    } = table;
    check_name(&name)?;
    let mut hash = [0; 32];
    let right_length = sha256.len() == 64;
    if !right_length || const_hex::decode_to_slice(&sha256, &mut hash).is_err() {
        return Err(TokensError::Sha256 { name });
    }
    let scopes: Result<BTreeSet<Scope>, _> = scopes.iter().map(|scope| scope.parse()).collect();
    match scopes {
        Ok(scopes) if scopes.is_empty() => Err(TokensError::NoScope { name }),
        Ok(scopes) => Ok(Entry {
            name: Arc::from(name),
            sha256: hash,
            scopes,
        }),
        Err(source) => Err(TokensError::Scope { name, source }),
    }
}

fn check_name(name: &str) -> Result<(), TokensError> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    match (1..=64).contains(&name.len()) && name.chars().all(plain) {
        true => Ok(()),
        false => Err(TokensError::Name(name.to_owned())),
    }
}

/// The table of a token, as it goes into the file.
pub fn entry_text(
    name: &str,
    token: &str,
    scopes: &BTreeSet<Scope>,
) -> Result<String, TokensError> {
    check_name(name)?;
    let hash = const_hex::encode(Sha256::digest(token));
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let scopes = scopes.join(", ");
    Ok(format!(
        "[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nscopes = [{scopes}]\n"
    ))
}
