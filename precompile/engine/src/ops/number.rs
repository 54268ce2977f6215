//! Arithmetic over element types, the same on every machine.

use half::{bf16, f16};

use crate::narrow::to_f16;
use crate::tensor::Element;

/// Element types that can be calculated with. Integers wrap; 16-bit floats are calculated in `f32` and rounded back.
pub(crate) trait Number: Element + Copy + PartialOrd {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Whether division by zero is undefined.
    const INTEGER: bool;
    /// Sum.
    fn plus(self, other: Self) -> Self;
    /// Difference.
    fn minus(self, other: Self) -> Self;
    /// Product.
    fn times(self, other: Self) -> Self;
    /// Quotient, rounded towards zero for integers, whose divisor must not be zero.
    fn over(self, other: Self) -> Self;
    /// From `f64`: rounded to nearest for floats; truncated and saturated for integers, NaN to 0.
    fn from_f64(value: f64) -> Self;
    /// From `i64`: rounded to nearest for floats, wrapped for integers.
    fn from_i64(value: i64) -> Self;
    /// From `u64`, as [`Number::from_i64`].
    fn from_u64(value: u64) -> Self;
    /// As `f64`, rounded to nearest.
    fn to_f64(self) -> f64;
    /// As `i64`, as [`Number::from_f64`] converts.
    fn to_i64(self) -> i64;
    /// Converts to another type.
    fn cast<T: Number>(self) -> T;
}

macro_rules! integer {
    ($($t:ident),*) => {$(
        impl Number for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const INTEGER: bool = true;
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn over(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as Self }
            #[inline(always)]
            fn from_i64(value: i64) -> Self { value as Self }
            #[inline(always)]
            fn from_u64(value: u64) -> Self { value as Self }
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn cast<T: Number>(self) -> T {
                if Self::MAX as u64 > i64::MAX as u64 { T::from_u64(self as u64) } else { T::from_i64(self as i64) }
            }
        }
    )*};
}
integer!(u8, i8, u16, i16, u32, i32, u64, i64);

macro_rules! float {
    ($($t:ident: $from:expr, $to:expr, $calculate:ident, $back:expr, $forth:expr;)*) => {$(
        impl Number for $t {
            const ZERO: Self = $from(0.0);
            const ONE: Self = $from(1.0);
            const INTEGER: bool = false;
            #[inline(always)]
            fn plus(self, other: Self) -> Self { $back($forth(self) + $forth(other)) }
            #[inline(always)]
            fn minus(self, other: Self) -> Self { $back($forth(self) - $forth(other)) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { $back($forth(self) * $forth(other)) }
            #[inline(always)]
            fn over(self, other: Self) -> Self { $back($forth(self) / $forth(other)) }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { $from(value) }
            #[inline(always)]
            fn from_i64(value: i64) -> Self { $back(value as $calculate) }
            #[inline(always)]
            fn from_u64(value: u64) -> Self { $back(value as $calculate) }
            #[inline(always)]
            fn to_f64(self) -> f64 { $to(self) }
            #[inline(always)]
            fn to_i64(self) -> i64 { $to(self) as i64 }
            #[inline(always)]
            fn cast<T: Number>(self) -> T { T::from_f64($to(self)) }
        }
    )*};
}

const fn narrow(value: f64) -> f32 {
    value as f32
}

const fn wide(value: f32) -> f64 {
    value as f64
}

const fn same<T: Copy>(value: T) -> T {
    value
}

float! {
    f32: narrow, wide, f32, same, same;
    f64: same, same, f64, same, same;
    f16: to_f16, f16::to_f64_const, f32, f16::from_f32, f16::to_f32;
    bf16: bf16::from_f64_const, bf16::to_f64_const, f32, bf16::from_f32, bf16::to_f32;
}

/// Runs `$body` with `$t` standing for the Rust type of `$kind`, if it is a number; else `$other`.
macro_rules! numeric {
    ($kind:expr, $t:ident => $body:expr, else $other:expr) => {{
        use $crate::tensor::ElementType as Kind;
        macro_rules! with {
            ($rust:ty) => {{
                type $t = $rust;
                $body
            }};
        }
        match $kind {
            Kind::F32 => with!(f32),
            Kind::F64 => with!(f64),
            Kind::I64 => with!(i64),
            Kind::I32 => with!(i32),
            Kind::U8 => with!(u8),
            Kind::I8 => with!(i8),
            Kind::U16 => with!(u16),
            Kind::I16 => with!(i16),
            Kind::U32 => with!(u32),
            Kind::U64 => with!(u64),
            Kind::F16 => with!(half::f16),
            Kind::Bf16 => with!(half::bf16),
            Kind::Bool | Kind::String => $other,
        }
    }};
}
pub(crate) use numeric;
