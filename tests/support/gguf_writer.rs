//! Writes small GGUF files, good ones and bad ones.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    reason = "a test that goes wrong here should stop"
)]

use std::path::Path;

/// ggml's type numbers.
pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q8_0: u32 = 8;
pub const I32: u32 = 26;
pub const BF16: u32 = 30;

#[derive(Clone, Debug)]
pub enum Field {
    U16(u16),
    U32(u32),
    F32(f32),
    Bool(bool),
    Str(String),
    Strings(Vec<String>),
    I32s(Vec<i32>),
    /// A type number and the bytes after it, for values that no honest writer makes.
    Raw(u32, Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub name: Vec<u8>,
    pub shape: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// Written in place of the true offset.
    pub offset: Option<u64>,
}

/// A file in the making. Everything is public, so that a test can spoil just one thing.
#[derive(Clone, Debug)]
pub struct GgufWriter {
    pub magic: [u8; 4],
    pub version: u32,
    pub alignment: u64,
    pub fields: Vec<(Vec<u8>, Field)>,
    pub tensors: Vec<Entry>,
    /// Written in place of the true counts.
    pub tensor_count: Option<u64>,
    pub field_count: Option<u64>,
}

impl GgufWriter {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            fields: Vec::new(),
            tensors: Vec::new(),
            tensor_count: None,
            field_count: None,
        }
    }

    /// Adds a field, also where the key is there already.
    pub fn field(&mut self, key: impl AsRef<[u8]>, value: Field) -> &mut Self {
        self.fields.push((key.as_ref().to_vec(), value));
        self
    }

    pub fn str(&mut self, key: &str, value: &str) -> &mut Self {
        self.field(key, Field::Str(value.to_owned()))
    }

    /// Replaces a field in its place, or adds it.
    pub fn set(&mut self, key: &str, value: Field) -> &mut Self {
        let found = self.fields.iter_mut().find(|(k, _)| k == key.as_bytes());
        match found {
            Some((_, old)) => *old = value,
            None => self.fields.push((key.as_bytes().to_vec(), value)),
        }
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.fields.retain(|(k, _)| k != key.as_bytes());
        self
    }

    pub fn tensor(&mut self, name: &str, shape: &[u64], kind: u32, data: Vec<u8>) -> &mut Self {
        self.tensors.push(Entry {
            name: name.as_bytes().to_vec(),
            shape: shape.to_vec(),
            kind,
            data,
            offset: None,
        });
        self
    }

    pub fn f32_tensor(&mut self, name: &str, shape: &[u64], values: &[f32]) -> &mut Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, shape, F32, data)
    }

    pub fn entry(&mut self, name: &str) -> &mut Entry {
        self.tensors
            .iter_mut()
            .find(|entry| entry.name == name.as_bytes())
            .expect("a tensor of this name")
    }

    pub fn remove_tensor(&mut self, name: &str) -> &mut Self {
        self.tensors.retain(|entry| entry.name != name.as_bytes());
        self
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).expect("a writable path");
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        put_u32(&mut out, self.version);
        put_u64(
            &mut out,
            self.tensor_count.unwrap_or(self.tensors.len() as u64),
        );
        put_u64(
            &mut out,
            self.field_count.unwrap_or(self.fields.len() as u64),
        );
        for (key, value) in &self.fields {
            put_bytes(&mut out, key);
            put_field(&mut out, value);
        }
        let mut offset = 0;
        for entry in &self.tensors {
            put_bytes(&mut out, &entry.name);
            put_u32(&mut out, entry.shape.len() as u32);
            entry.shape.iter().for_each(|&n| put_u64(&mut out, n));
            put_u32(&mut out, entry.kind);
            put_u64(&mut out, entry.offset.unwrap_or(offset));
            offset += (entry.data.len() as u64).next_multiple_of(self.alignment);
        }
        for entry in &self.tensors {
            self.pad(&mut out);
            out.extend_from_slice(&entry.data);
        }
        self.pad(&mut out);
        out
    }

    fn pad(&self, out: &mut Vec<u8>) {
        out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_field(out: &mut Vec<u8>, value: &Field) {
    match value {
        Field::U16(value) => {
            put_u32(out, 2);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Field::U32(value) => {
            put_u32(out, 4);
            put_u32(out, *value);
        }
        Field::F32(value) => {
            put_u32(out, 6);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Field::Bool(value) => {
            put_u32(out, 7);
            out.push(u8::from(*value));
        }
        Field::Str(value) => {
            put_u32(out, 8);
            put_bytes(out, value.as_bytes());
        }
        Field::Strings(values) => {
            put_u32(out, 9);
            put_u32(out, 8);
            put_u64(out, values.len() as u64);
            values.iter().for_each(|v| put_bytes(out, v.as_bytes()));
        }
        Field::I32s(values) => {
            put_u32(out, 9);
            put_u32(out, 5);
            put_u64(out, values.len() as u64);
            values
                .iter()
                .for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        }
        Field::Raw(kind, bytes) => {
            put_u32(out, *kind);
            out.extend_from_slice(bytes);
        }
    }
}
