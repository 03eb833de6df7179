//! The number formats of tensors: how many elements make a block, and how many bytes it takes.

use std::fmt;

macro_rules! kinds {
    ($($kind:ident = $number:literal $name:literal $block:literal in $bytes:literal;)*) => {
        /// A ggml tensor type that a file can hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(non_camel_case_types, reason = "these are ggml's own names")]
        pub enum TensorKind {
            $($kind = $number,)*
        }

        impl TensorKind {
            /// `None` for numbers that ggml has withdrawn or not given out.
            pub fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind),)*
                    _ => None,
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// Elements of a block and the bytes that they take together.
            pub fn block(self) -> (u64, u64) {
                match self {
                    $(Self::$kind => ($block, $bytes),)*
                }
            }
        }
    };
}

kinds! {
    F32 = 0 "f32" 1 in 4;
    F16 = 1 "f16" 1 in 2;
    Q4_0 = 2 "q4_0" 32 in 18;
    Q4_1 = 3 "q4_1" 32 in 20;
    Q5_0 = 6 "q5_0" 32 in 22;
    Q5_1 = 7 "q5_1" 32 in 24;
    Q8_0 = 8 "q8_0" 32 in 34;
    Q8_1 = 9 "q8_1" 32 in 36;
    Q2_K = 10 "q2_K" 256 in 84;
    Q3_K = 11 "q3_K" 256 in 110;
    Q4_K = 12 "q4_K" 256 in 144;
    Q5_K = 13 "q5_K" 256 in 176;
    Q6_K = 14 "q6_K" 256 in 210;
    Q8_K = 15 "q8_K" 256 in 292;
    IQ2_XXS = 16 "iq2_xxs" 256 in 66;
    IQ2_XS = 17 "iq2_xs" 256 in 74;
    IQ3_XXS = 18 "iq3_xxs" 256 in 98;
    IQ1_S = 19 "iq1_s" 256 in 50;
    IQ4_NL = 20 "iq4_nl" 32 in 18;
    IQ3_S = 21 "iq3_s" 256 in 110;
    IQ2_S = 22 "iq2_s" 256 in 82;
    IQ4_XS = 23 "iq4_xs" 256 in 136;
    I8 = 24 "i8" 1 in 1;
    I16 = 25 "i16" 1 in 2;
    I32 = 26 "i32" 1 in 4;
    I64 = 27 "i64" 1 in 8;
    F64 = 28 "f64" 1 in 8;
    IQ1_M = 29 "iq1_m" 256 in 56;
    BF16 = 30 "bf16" 1 in 2;
    TQ1_0 = 34 "tq1_0" 256 in 54;
    TQ2_0 = 35 "tq2_0" 256 in 66;
    MXFP4 = 39 "mxfp4" 32 in 17;
    NVFP4 = 40 "nvfp4" 64 in 36;
    Q1_0 = 41 "q1_0" 128 in 18;
    Q2_0 = 42 "q2_0" 64 in 18;
}

impl TensorKind {
    /// Whether ggml can multiply a matrix of this kind. For the others it has no dot product, and
    /// its CPU backend says yes all the same when asked.
    pub fn multiplies(self) -> bool {
        !matches!(
            self,
            Self::I8 | Self::I16 | Self::I32 | Self::I64 | Self::F64 | Self::Q8_1 | Self::Q8_K
        )
    }
}

impl fmt::Display for TensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
