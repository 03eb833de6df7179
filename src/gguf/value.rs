//! Metadata values.

use std::fmt;

use super::Problem;
use super::source::Source;

/// Longer arrays keep only their kind, length and place: a vocabulary has 150,000 elements that
/// nobody asks for.
pub const ARRAY_KEPT: u64 = 4_096;
const STRING_LIMIT: u64 = 1024 * 1024;
/// llama.cpp's own.
const ARRAY_LIMIT: u64 = 1 << 30;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub kind: ValueKind,
    pub len: u64,
    /// Absent when the array has more than [`ARRAY_KEPT`] elements.
    pub values: Option<Vec<Value>>,
    /// Of the first element, from the beginning of the file.
    start: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

/// A type that a metadata value can be read as. Nothing is converted: llama.cpp does not either.
pub trait Scalar<'a>: Sized {
    const KIND: ValueKind;
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! scalars {
    ($($kind:ident: $type:ty = $value:ident => $result:expr;)*) => {
        $(impl<'a> Scalar<'a> for $type {
            const KIND: ValueKind = ValueKind::$kind;

            fn from_value(value: &'a Value) -> Option<Self> {
                match value {
                    Value::$kind($value) => Some($result),
                    _ => None,
                }
            }
        })*
    };
}

scalars! {
    U16: u16 = value => *value;
    U32: u32 = value => *value;
    F32: f32 = value => *value;
    String: &'a str = value => value.as_str();
    Array: &'a Array = value => value;
}

impl Value {
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::U8(_) => ValueKind::U8,
            Self::I8(_) => ValueKind::I8,
            Self::U16(_) => ValueKind::U16,
            Self::I16(_) => ValueKind::I16,
            Self::U32(_) => ValueKind::U32,
            Self::I32(_) => ValueKind::I32,
            Self::F32(_) => ValueKind::F32,
            Self::Bool(_) => ValueKind::Bool,
            Self::String(_) => ValueKind::String,
            Self::Array(_) => ValueKind::Array,
            Self::U64(_) => ValueKind::U64,
            Self::I64(_) => ValueKind::I64,
            Self::F64(_) => ValueKind::F64,
        }
    }
}

impl ValueKind {
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// What an element takes in the file at the least; for a string that is its length alone.
    fn least_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            Self::Array => 12,
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

pub(super) fn read(source: &mut Source, key: &str) -> Result<Value, Problem> {
    match read_kind(source, key)? {
        ValueKind::Array => read_array(source, key).map(Value::Array),
        kind => read_scalar(source, key, kind),
    }
}

/// Shows each string of an array to `visit`, with one buffer for all.
pub(super) fn visit_strings(
    source: &mut Source,
    array: &Array,
    mut visit: impl FnMut(&str),
) -> Result<(), Problem> {
    source.seek(array.start)?;
    let mut bytes = Vec::new();
    for _ in 0..array.len {
        source.bytes_into(&mut bytes, "the length of a string", STRING_LIMIT)?;
        // Checked when the array was read; a file changed since then shows up as lossy text.
        visit(&String::from_utf8_lossy(&bytes));
    }
    Ok(())
}

fn read_kind(source: &mut Source, key: &str) -> Result<ValueKind, Problem> {
    let number = source.u32()?;
    ValueKind::from_number(number).ok_or_else(|| Problem::UnknownValueKind {
        key: key.to_owned(),
        number,
    })
}

fn read_scalar(source: &mut Source, key: &str, kind: ValueKind) -> Result<Value, Problem> {
    source.keep(size_of::<Value>() as u64)?;
    Ok(match kind {
        ValueKind::U8 => Value::U8(u8::from_le_bytes(source.array()?)),
        ValueKind::I8 => Value::I8(i8::from_le_bytes(source.array()?)),
        ValueKind::U16 => Value::U16(u16::from_le_bytes(source.array()?)),
        ValueKind::I16 => Value::I16(i16::from_le_bytes(source.array()?)),
        ValueKind::U32 => Value::U32(source.u32()?),
        ValueKind::I32 => Value::I32(i32::from_le_bytes(source.array()?)),
        ValueKind::F32 => Value::F32(f32::from_le_bytes(source.array()?)),
        ValueKind::Bool => Value::Bool(source.array()? != [0_u8]),
        ValueKind::U64 => Value::U64(source.u64()?),
        ValueKind::I64 => Value::I64(i64::from_le_bytes(source.array()?)),
        ValueKind::F64 => Value::F64(f64::from_le_bytes(source.array()?)),
        ValueKind::String => {
            let bytes = source.bytes("the length of a string", STRING_LIMIT)?;
            source.keep(bytes.len() as u64)?;
            Value::String(utf8(bytes, key)?)
        }
        ValueKind::Array => {
            return Err(Problem::NestedArray {
                key: key.to_owned(),
            });
        }
    })
}

fn read_array(source: &mut Source, key: &str) -> Result<Array, Problem> {
    let kind = read_kind(source, key)?;
    if kind == ValueKind::Array {
        // llama.cpp refuses them too; nothing here has to recurse.
        return Err(Problem::NestedArray {
            key: key.to_owned(),
        });
    }
    let len = source.u64()?;
    source.check_count(
        "the length of an array",
        len,
        ARRAY_LIMIT,
        kind.least_bytes(),
    )?;
    let start = source.position();
    let values = if len <= ARRAY_KEPT {
        let values = (0..len).map(|_| read_scalar(source, key, kind));
        Some(values.collect::<Result<_, _>>()?)
    } else {
        pass_over(source, key, kind, len)?;
        None
    };
    Ok(Array {
        kind,
        len,
        values,
        start,
    })
}

fn pass_over(source: &mut Source, key: &str, kind: ValueKind, len: u64) -> Result<(), Problem> {
    if kind != ValueKind::String {
        return source.skip(len.saturating_mul(kind.least_bytes()));
    }
    let mut bytes = Vec::new();
    for _ in 0..len {
        source.bytes_into(&mut bytes, "the length of a string", STRING_LIMIT)?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Problem::NotUtf8 {
                key: key.to_owned(),
            });
        }
    }
    Ok(())
}

fn utf8(bytes: Vec<u8>, key: &str) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|_| Problem::NotUtf8 {
        key: key.to_owned(),
    })
}
