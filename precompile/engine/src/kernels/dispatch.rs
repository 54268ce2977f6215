//! One generic kernel, compiled once for each instruction set. Results never depend on which one runs.
//!
//! The only `unsafe` of the exact engine is here: a function compiled for AVX, and an instruction of AVX, may be called only
//! where the CPU has it, which is checked right before.

#[cfg(target_arch = "x86_64")]
use std::{
    arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_madd_epi16, _mm256_set1_epi32, _mm512_dpbusd_epi32,
        _mm512_set1_epi32,
    },
    mem::transmute,
};

/// Instruction sets with a path of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512 with its instructions for products of bytes (VNNI: Cascade Lake and later, Zen 4).
    Avx512Vnni,
    /// x86-64 with AVX-512 (F, VL, DQ, BW: Skylake-X and later, Zen 4).
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// Whatever the program was built for; on x86-64, FMA is computed in software: slow and right.
    Portable,
}

impl Isa {
    /// The fastest that this CPU has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// All that this CPU has, fastest first; never empty.
    pub fn available() -> Vec<Self> {
        [Self::Avx512Vnni, Self::Avx512, Self::Avx2, Self::Portable]
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => is_x86_feature_detected!("avx512vnni") && Self::Avx512.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Vnni | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// Whether products of bytes are best summed four at a time.
    pub(crate) fn takes_quads(self) -> bool {
        self == Self::Avx512Vnni
    }
}

/// What instruction sets do in different ways, with the same result.
pub(crate) trait Fma: Copy + Send + Sync + 'static {
    /// Whether vector registers hold 16 lanes.
    const WIDE: bool = false;

    /// `a * b + c` rounded once.
    fn fma(a: f32, b: f32, c: f32) -> f32;

    /// `sums[i] + a[0] * b[2 * i] + a[1] * b[2 * i + 1]`, modulo 2^32.
    #[inline(always)]
    fn add_pairs(sums: Sums<8>, a: [i16; 2], b: &[i16; 16]) -> Sums<8> {
        let (first, second) = (i32::from(a[0]), i32::from(a[1]));
        let mut out = sums.0;
        for i in 0..8 {
            let pair = (first * i32::from(b[2 * i])).wrapping_add(second * i32::from(b[2 * i + 1]));
            out[i] = out[i].wrapping_add(pair);
        }
        Sums(out)
    }

    /// `sums[i]` and the products of `a` and `b[4 * i..4 * i + 4]`, modulo 2^32.
    #[inline(always)]
    fn add_quads(sums: Sums<16>, a: [u8; 4], b: &[i8; 64]) -> Sums<16> {
        let mut out = sums.0;
        for i in 0..16 {
            for j in 0..4 {
                out[i] = out[i].wrapping_add(i32::from(a[j]) * i32::from(b[4 * i + j]));
            }
        }
        Sums(out)
    }
}

/// Sums of integers, a register of them: as a type of its own, and by value, they stay there.
#[derive(Clone, Copy)]
pub(crate) struct Sums<const W: usize>(pub(crate) [i32; W]);

/// Instructions of AVX2 or AVX-512. Nobody but [`run`] can name it: where its functions run, the CPU has them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Hardware<const WIDE: bool>;

/// Instructions of AVX-512 with VNNI, for [`run_on_bytes`] alone.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Vnni;

#[cfg(target_arch = "x86_64")]
impl Fma for Vnni {
    const WIDE: bool = true;

    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the compiler finds no other way to this instruction")]
    fn add_quads(sums: Sums<16>, a: [u8; 4], b: &[i8; 64]) -> Sums<16> {
        // SAFETY: `run_on_bytes` checked for VNNI; arrays and registers of the same size hold any bits.
        unsafe {
            let a = _mm512_set1_epi32(i32::from_ne_bytes(a));
            let (sums, b) = (transmute::<[i32; 16], __m512i>(sums.0), transmute::<[i8; 64], __m512i>(*b));
            Sums(transmute::<__m512i, [i32; 16]>(_mm512_dpbusd_epi32(sums, a, b)))
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl<const WIDE: bool> Fma for Hardware<WIDE> {
    const WIDE: bool = WIDE;

    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the compiler finds no other way to this instruction")]
    fn add_pairs(sums: Sums<8>, a: [i16; 2], b: &[i16; 16]) -> Sums<8> {
        // SAFETY: `run` checked for AVX2; arrays and registers of the same size hold any bits.
        unsafe {
            let a = _mm256_set1_epi32(transmute::<[i16; 2], i32>(a));
            let products = _mm256_madd_epi16(a, transmute::<[i16; 16], __m256i>(*b));
            let sums = transmute::<[i32; 8], __m256i>(sums.0);
            Sums(transmute::<__m256i, [i32; 8]>(_mm256_add_epi32(sums, products)))
        }
    }
}

/// An instruction of the processor that the program was built for.
#[cfg(any(target_feature = "fma", target_arch = "aarch64"))]
#[derive(Clone, Copy)]
pub(crate) struct Native;

#[cfg(any(target_feature = "fma", target_arch = "aarch64"))]
impl Fma for Native {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// Without an instruction: the product is exact in binary64, the sum is rounded to odd there, and the rounding to
/// binary32 is then the only one that counts (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
#[derive(Clone, Copy)]
pub(crate) struct Software;

impl Fma for Software {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        let (product, addend) = (f64::from(a) * f64::from(b), f64::from(c));
        let sum = product + addend;
        let part = sum - product;
        let error = (product - (sum - part)) + (addend - part);
        let bits = sum.to_bits() as i64;
        let inexact = i64::from((error > 0.0) | (error < 0.0));
        let away = if (error > 0.0) == (sum > 0.0) { 1 } else { -1 };
        f64::from_bits(bits.wrapping_add((inexact & !bits) * away) as u64) as f32
    }
}

/// What single values are computed with: the bits are the same as those of any other.
#[cfg(any(target_feature = "fma", target_arch = "aarch64"))]
pub(crate) type Scalar = Native;
/// What single values are computed with: the bits are the same as those of any other.
#[cfg(not(any(target_feature = "fma", target_arch = "aarch64")))]
pub(crate) type Scalar = Software;

/// A computation to compile for every instruction set. `run` and what it calls must be `#[inline(always)]`.
pub(crate) trait Work {
    /// What it gives.
    type Output;
    /// Computes.
    fn run<F: Fma>(self) -> Self::Output;
}

/// Runs `work` with `isa`, or portably where the CPU lacks it.
#[inline]
pub(crate) fn run<W: Work>(isa: Isa, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "calls of functions compiled for instruction sets that were detected")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn avx512<W: Work>(work: W) -> W::Output {
            work.run::<Hardware<true>>()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<W: Work>(work: W) -> W::Output {
            work.run::<Hardware<false>>()
        }
        if matches!(isa, Isa::Avx512Vnni | Isa::Avx512) && isa.is_available() {
            // SAFETY: the CPU has these instructions.
            return unsafe { avx512(work) };
        }
        if isa == Isa::Avx2 && isa.is_available() {
            // SAFETY: the CPU has these instructions.
            return unsafe { avx2(work) };
        }
    }
    let _ = isa;
    work.run::<Scalar>()
}

/// As [`run`], for work with sums of four products, and for [`Isa::Avx512Vnni`] alone: others have faster ways.
#[inline]
pub(crate) fn run_on_bytes<W: Work>(isa: Isa, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "a call of a function compiled for an instruction set that was detected")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")]
        fn vnni<W: Work>(work: W) -> W::Output {
            work.run::<Vnni>()
        }
        if isa == Isa::Avx512Vnni && isa.is_available() {
            // SAFETY: the CPU has these instructions.
            return unsafe { vnni(work) };
        }
    }
    let _ = isa;
    work.run::<Scalar>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200_000))]
        #[test]
        fn software_fma_is_the_fma(a: u32, b: u32, c: u32, near in -40i32..40, cancel: bool) {
            let (a, b) = (f32::from_bits(a), f32::from_bits(b));
            // Half of the cases have an addend close to the product, where roundings go wrong.
            let close = f32::from_bits(((a * b).to_bits() as i32).wrapping_add(near) as u32);
            let c = if cancel { -close } else { f32::from_bits(c) };
            let (expected, got) = (a.mul_add(b, c), Software::fma(a, b, c));
            prop_assert!(expected.to_bits() == got.to_bits() || expected.is_nan() && got.is_nan(), "{a:e} {b:e} {c:e}");
        }
    }

    #[test]
    fn software_fma_rounds_subnormals_once() {
        for (a, b, c) in [
            (1e-30f32, 1e-12, 1e-45),
            (1.5e-23, 1.1e-22, -1e-45),
            (f32::MIN_POSITIVE, 0.5, 1e-45),
            (1e-38, -1e-38, 1e-45),
        ] {
            assert_eq!(a.mul_add(b, c).to_bits(), Software::fma(a, b, c).to_bits(), "{a:e} {b:e} {c:e}");
        }
    }
}
