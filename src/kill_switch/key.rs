//! Names as the switch remembers them: eight bytes, and nothing of the name.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Of a hundred thousand names two are one with a chance of one in 10^9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Key(u64);

impl Key {
    pub fn of(name: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = u64::from_str_radix(&text, 16).ok().filter(|_| digits);
        key.map(Self)
            .ok_or_else(|| format!("`{}` is no hash of 16 digits", text.escape_debug()))
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        format!("{:016x}", key.0)
    }
}
