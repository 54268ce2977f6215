//! Every path gives the bits of the chain as the specification writes it.

use super::gemm::{BLOCK, Operand, Packed, Product, Strided, cuts, multiply};
use super::{Isa, gemm};
use crate::Pool;

/// Numbers in (-1, 1), the same each time.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The specification, element by element.
fn specified(a: &[f32], b: &[f32], rows: usize, columns: usize, k: usize) -> Vec<f32> {
    let element = |row: usize, column: usize| {
        let sum = |k0: usize| {
            (k0..k.min(k0 + BLOCK)).fold(0.0f32, |sum, i| a[row * k + i].mul_add(b[i * columns + column], sum))
        };
        let mut sums = (0..k).step_by(BLOCK).map(sum);
        let first = sums.next().unwrap_or(0.0);
        sums.fold(first, |y, p| y + p)
    };
    (0..rows * columns).map(|i| element(i / columns, i % columns)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn products_are_the_specified_chains() {
    let sizes = [
        (1, 1, 1),
        (1, 70, 5),
        (2, 16, 256),
        (3, 17, 257),
        (5, 130, 40),
        (6, 33, 600),
        (7, 16, 512),
        (13, 65, 300),
        (100, 150, 70),
        (5, 4, 0),
        // Enough work to be divided: along columns, and along rows.
        (100, 300, 290),
        (700, 40, 300),
    ];
    for (rows, columns, k) in sizes {
        let (a, b) = (numbers(rows * k, 1), numbers(k * columns, 2));
        let expected = bits(&specified(&a, &b, rows, columns, k));
        let left = Strided { data: &a, line_stride: k, k_stride: 1 };
        let right = Strided { data: &b, line_stride: 1, k_stride: columns };
        for isa in Isa::available() {
            let (packed_left, packed_right) = (Packed::left(&left, rows, k, isa), Packed::right(&right, columns, k));
            let lefts = [Operand::Source(&left), Operand::Packed(&packed_left)];
            let rights = [Operand::Source(&right), Operand::Packed(&packed_right)];
            for threads in [1, 2, 7] {
                let pool = Pool::new(threads);
                for (left, right) in lefts.iter().flat_map(|l| rights.iter().map(move |r| (*l, *r))) {
                    let mut out = vec![f32::NAN; rows * columns];
                    let product = Product { left, right, rows, columns, k, finish: None };
                    pool.run(|| multiply(isa, &[product], &mut out));
                    assert_eq!(bits(&out), expected, "{rows}x{k}x{columns} {isa:?} {threads} threads");
                }
            }
        }
    }
}

#[test]
fn parts_are_whole_units_and_about_equal() {
    for (length, unit, parts) in [(128, 1, 6), (256, 16, 6), (130, 12, 4), (7, 16, 3), (5, 1, 9), (1, 1, 1)] {
        let cuts = cuts(length, unit, parts);
        assert_eq!((cuts[0], *cuts.last().unwrap()), (0, length));
        let sizes: Vec<usize> = cuts.windows(2).map(|cut| cut[1] - cut[0]).collect();
        assert_eq!(sizes.len(), parts.min(length.div_ceil(unit)));
        assert!(cuts[..cuts.len() - 1].iter().all(|cut| cut.is_multiple_of(unit)), "{cuts:?}");
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least < 2 * unit, "{sizes:?}");
    }
}

#[test]
fn finishing_sees_each_element_once() {
    let (rows, columns, k) = (37, 211, 300);
    let (a, b) = (numbers(rows * k, 3), numbers(k * columns, 4));
    let left = Strided { data: &a, line_stride: k, k_stride: 1 };
    let right = Strided { data: &b, line_stride: 1, k_stride: columns };
    let expected: Vec<f32> =
        specified(&a, &b, rows, columns, k).iter().enumerate().map(|(i, x)| x + i as f32).collect();
    let finish = |row: usize, column: usize, values: &mut [f32]| {
        values.iter_mut().enumerate().for_each(|(i, x)| *x += (row * columns + column + i) as f32);
    };
    for right in [Operand::Source(&right), Operand::Packed(&Packed::right(&right, columns, k))] {
        let product = Product { left: Operand::Source(&left), right, rows, columns, k, finish: Some(&finish) };
        let mut out = vec![f32::NAN; rows * columns];
        multiply(Isa::best(), &[product], &mut out);
        assert_eq!(bits(&out), bits(&expected));
    }
}

#[test]
fn transposed_operands_are_packed_alike() {
    let (rows, columns, k) = (9, 21, 33);
    let (a, b) = (numbers(rows * k, 5), numbers(k * columns, 6));
    let a_t: Vec<f32> = (0..rows * k).map(|i| a[i % rows * k + i / rows]).collect();
    let b_t: Vec<f32> = (0..columns * k).map(|i| b[i % k * columns + i / k]).collect();
    let left = Strided { data: &a_t, line_stride: 1, k_stride: rows };
    let right = Strided { data: &b_t, line_stride: k, k_stride: 1 };
    let mut out = vec![0.0; rows * columns];
    let product =
        Product { left: Operand::Source(&left), right: Operand::Source(&right), rows, columns, k, finish: None };
    gemm::multiply(Isa::best(), &[product], &mut out);
    assert_eq!(bits(&out), bits(&specified(&a, &b, rows, columns, k)));
}

/// Speed, by `cargo test --release -p foreblock-engine --lib gemm_speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures, checks nothing"]
fn gemm_speed() {
    for (rows, k, columns) in [(512, 512, 512), (384, 384, 1536), (32, 384, 1536), (1, 384, 1536), (64, 576, 3136)] {
        let (a, b) = (numbers(rows * k, 1), numbers(k * columns, 2));
        let left = Strided { data: &a, line_stride: k, k_stride: 1 };
        let right = Strided { data: &b, line_stride: 1, k_stride: columns };
        let (packed, packed_left) = (Packed::right(&right, columns, k), Packed::left(&left, rows, k, Isa::best()));
        let mut out = vec![0.0; rows * columns];
        for (name, left, right) in [
            ("dense", Operand::Source(&left), Operand::Packed(&packed)),
            ("conv", Operand::Packed(&packed_left), Operand::Source(&right)),
        ] {
            let product = Product { left, right, rows, columns, k, finish: None };
            let mut best = f64::INFINITY;
            for _ in 0..30 {
                let start = std::time::Instant::now();
                multiply(Isa::best(), &[product], &mut out);
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{rows}x{k}x{columns} {name} {:.1} GFLOP/s", 2e-9 * (rows * k * columns) as f64 / best);
        }
    }
}
