//! Which instruction set computes. Results never depend on it.

/// Instruction sets with a path of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64 with AVX-512F.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// Whatever the program was built for; on x86-64 without FMA, FMA is computed in software.
    Portable,
}

impl Isa {
    /// The fastest that this CPU has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// All that this CPU has, fastest first; never empty.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                sets.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self::Avx2);
            }
        }
        sets.push(Self::Portable);
        sets
    }
}
