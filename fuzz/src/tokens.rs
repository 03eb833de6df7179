//! The file of bearer tokens.

use std::sync::Arc;

use judged::tokens::{Pass, Scope, Tokens};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// The file's text; a caller comes and shows the empty token, one that any file may hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Ok(tokens) = Tokens::parse(text) else {
        return;
    };
    let (_sender, current) = watch::channel(Some(Arc::new(tokens)));
    let known = const_hex::encode(Sha256::digest(b""));
    // A letter of the hash may be written as an escape.
    let known = text.to_lowercase().contains(&known) || text.contains('\\');
    for scope in [None].into_iter().chain(Scope::ALL.map(Some)) {
        let admitted = Pass::new(current.clone(), b"", scope).check();
        assert!(known || admitted.is_err(), "a stranger is let in");
    }
}
