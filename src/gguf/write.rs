//! Writes a GGUF file of version 3 from front to back, a tensor at a time.

use std::io::{self, Write};

use super::{DEFAULT_ALIGNMENT, MAGIC, TensorKind};

/// A metadata value of the kinds that we write.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    U32(u32),
    F32(f32),
    String(String),
}

/// A tensor to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTensor {
    pub name: String,
    /// In ggml's order: innermost first.
    pub shape: Vec<u64>,
    pub kind: TensorKind,
}

/// A file whose header is written and whose tensors follow in the header's order.
pub struct Writer<W> {
    out: W,
    written: u64,
    sizes: std::vec::IntoIter<u64>,
}

impl NewTensor {
    /// In bytes, without padding.
    pub fn size(&self) -> u64 {
        let (elements, bytes) = self.kind.block();
        self.shape.iter().product::<u64>() / elements * bytes
    }
}

impl<W: Write> Writer<W> {
    /// Writes the header. Names and keys are the caller's own: they are not checked.
    pub fn new(out: W, fields: &[(&str, Field)], tensors: &[NewTensor]) -> io::Result<Self> {
        let mut header = MAGIC.to_vec();
        put_u32(&mut header, 3);
        put_u64(&mut header, tensors.len() as u64);
        put_u64(&mut header, fields.len() as u64);
        for (key, value) in fields {
            put_string(&mut header, key);
            put_field(&mut header, value);
        }
        let mut offset = 0;
        for tensor in tensors {
            put_string(&mut header, &tensor.name);
            put_u32(&mut header, tensor.shape.len() as u32);
            tensor.shape.iter().for_each(|&n| put_u64(&mut header, n));
            put_u32(&mut header, tensor.kind as u32);
            put_u64(&mut header, offset);
            offset += tensor.size().next_multiple_of(DEFAULT_ALIGNMENT.into());
        }
        let sizes: Vec<u64> = tensors.iter().map(NewTensor::size).collect();
        let mut writer = Self {
            out,
            written: 0,
            sizes: sizes.into_iter(),
        };
        writer.put_padded(&header)?;
        Ok(writer)
    }

    /// Writes the next tensor's data; of another size than its shape asks for is an error.
    pub fn tensor(&mut self, data: &[u8]) -> io::Result<()> {
        match self.sizes.next() {
            Some(size) if size == data.len() as u64 => self.put_padded(data),
            expected => Err(io::Error::other(format!(
                "a tensor has `{}` bytes, expected `{}`",
                data.len(),
                expected.unwrap_or_default()
            ))),
        }
    }

    /// Gives back what was written to, once all tensors are there.
    pub fn finish(self) -> io::Result<W> {
        match self.sizes.len() {
            0 => Ok(self.out),
            missing => Err(io::Error::other(format!("`{missing}` tensors are missing"))),
        }
    }

    fn put_padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        const ZEROS: [u8; DEFAULT_ALIGNMENT as usize] = [0; DEFAULT_ALIGNMENT as usize];
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let padded = self.written.next_multiple_of(DEFAULT_ALIGNMENT.into());
        self.out
            .write_all(&ZEROS[..(padded - self.written) as usize])?;
        self.written = padded;
        Ok(())
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_field(out: &mut Vec<u8>, value: &Field) {
    match value {
        Field::U32(value) => {
            put_u32(out, 4);
            put_u32(out, *value);
        }
        Field::F32(value) => {
            put_u32(out, 6);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Field::String(value) => {
            put_u32(out, 8);
            put_string(out, value);
        }
    }
}
