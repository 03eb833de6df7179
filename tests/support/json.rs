//! What a context must be, said once more and apart from the daemon's reader: a grammar of
//! JSON, walked by hand.

#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::HashSet;

/// Levels of nesting, the outermost counted.
const DEEPEST: usize = 32;
const RESERVED: &str = "$serde_json::private::";

/// One object, no key twice in one of its objects, none that is reserved, nested no deeper
/// than 32 levels.
pub fn is_context(text: &str) -> bool {
    let mut walk = Walk(text.as_bytes());
    walk.space();
    let whole = walk.0.first() == Some(&b'{') && walk.value(1).is_some();
    walk.space();
    whole && walk.0.is_empty()
}

/// What is still unread; `None` where it goes on as no JSON does.
struct Walk<'t>(&'t [u8]);

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Option<()> {
        self.space();
        match *self.0.first()? {
            b'{' => self.list(depth, b'}', Self::member),
            b'[' => self.list(depth, b']', |walk, depth, _| walk.value(depth)),
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn list(
        &mut self,
        depth: usize,
        end: u8,
        mut item: impl FnMut(&mut Self, usize, &mut HashSet<String>) -> Option<()>,
    ) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.0 = &self.0[1..];
        let mut keys = HashSet::new();
        self.space();
        if self.eat(end).is_some() {
            return Some(());
        }
        loop {
            item(self, depth + 1, &mut keys)?;
            self.space();
            if self.eat(end).is_some() {
                return Some(());
            }
            self.eat(b',')?;
        }
    }

    fn member(&mut self, depth: usize, keys: &mut HashSet<String>) -> Option<()> {
        self.space();
        let key = self.string()?;
        if key.starts_with(RESERVED) || !keys.insert(key) {
            return None;
        }
        self.space();
        self.eat(b':')?;
        self.value(depth)
    }

    fn string(&mut self) -> Option<String> {
        self.eat(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let byte = self.next()?;
            match byte {
                b'"' => return String::from_utf8(bytes).ok(),
                b'\\' => {
                    let letter = self.escape()?;
                    bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                }
                0..0x20 => return None,
                _ => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                let mut units = vec![unit];
                if (0xd800..0xdc00).contains(&unit) {
                    self.word(b"\\u")?;
                    units.push(self.unit()?);
                }
                char::decode_utf16(units).next()?.ok()?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.0.split_at_checked(4)?;
        let hex = digits.iter().all(u8::is_ascii_hexdigit);
        self.0 = rest;
        let digits = str::from_utf8(digits).ok().filter(|_| hex)?;
        u16::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.eat(b'-');
        if self.eat(b'0').is_none() {
            self.digits()?;
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if self.eat(b'e').or_else(|| self.eat(b'E')).is_some() {
            let _ = self.eat(b'+').or_else(|| self.eat(b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// One at least.
    fn digits(&mut self) -> Option<()> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let count = count.count();
        self.0 = &self.0[count..];
        (count > 0).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }

    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}
