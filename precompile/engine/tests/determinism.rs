//! The same bytes for every batch, thread count and instruction set.

mod net;

use foreblock_engine::{ExactModel, Isa, LoadOptions, Pool, Tensor};

const IMAGE: usize = 3 * 24 * 24;

fn images(count: usize) -> Vec<f32> {
    (0..count * IMAGE).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

fn run(model: &ExactModel, images: &[f32], threads: usize) -> Vec<u32> {
    let input = Tensor::new([images.len() / IMAGE, 3, 24, 24], images.to_vec()).unwrap();
    let outputs = model.run(vec![input], &Pool::new(threads)).unwrap();
    outputs[0].values::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn answers_do_not_depend_on_batch_threads_or_instruction_set() {
    let all = images(32);
    let mut expected: Option<Vec<u32>> = None;
    for isa in Isa::available() {
        let model =
            ExactModel::from_proto(&net::network(), &LoadOptions { isa: Some(isa), ..Default::default() }).unwrap();
        for (batch, threads) in [(1, 1), (2, 1), (7, 2), (32, 1), (32, 2), (32, 16), (1, 16)] {
            let rows: Vec<u32> = all.chunks(batch * IMAGE).flat_map(|part| run(&model, part, threads)).collect();
            assert!(rows.iter().any(|x| *x != rows[0]), "the network answers something");
            let expected = expected.get_or_insert_with(|| rows.clone());
            assert_eq!(*expected, rows, "{isa:?}, batch {batch}, {threads} threads");
        }
    }
}

#[test]
fn cost_is_the_same_for_equal_shapes_and_memory_is_bounded() {
    let model = ExactModel::from_proto(&net::network(), &LoadOptions::default()).unwrap();
    let zeros = model.cost(&[vec![2, 3, 24, 24]], &Pool::new(1)).unwrap();
    let input = Tensor::new([2, 3, 24, 24], images(2)).unwrap();
    let (_, cost) = model.run_measured(vec![input.clone()], &Pool::new(2)).unwrap();
    assert_eq!(zeros, cost);
    let mut options = LoadOptions::default();
    options.limits.run_bytes_max = cost.peak_bytes;
    let enough = ExactModel::from_proto(&net::network(), &options).unwrap();
    assert!(enough.run(vec![input.clone()], &Pool::new(1)).is_ok());
    options.limits.run_bytes_max -= 1;
    let short = ExactModel::from_proto(&net::network(), &options).unwrap();
    let failure = short.run(vec![input], &Pool::new(1)).unwrap_err();
    assert_eq!(failure.code, foreblock_engine::FailureCode::OutOfMemory);
}

#[test]
fn inputs_that_do_not_fit_are_failures() {
    let model = ExactModel::from_proto(&net::network(), &LoadOptions::default()).unwrap();
    let pool = Pool::new(1);
    let cases = [
        vec![],
        vec![Tensor::new([1, 3, 24, 23], vec![0.0f32; 3 * 24 * 23]).unwrap()],
        vec![Tensor::new([1, 3, 24, 24], vec![0i64; IMAGE]).unwrap()],
        vec![Tensor::new([1, 3, 24, 24], vec![3e38f32; IMAGE]).unwrap()],
    ];
    use foreblock_engine::FailureCode::*;
    let codes: Vec<_> = cases.into_iter().map(|inputs| model.run(inputs, &pool).unwrap_err().code).collect();
    assert_eq!(codes, [WrongArity, WrongShape, WrongType, NotFinite]);
    // `Reshape` cannot tell the free dimension of no elements.
    let none = model.run(vec![Tensor::new([0, 3, 24, 24], Vec::<f32>::new()).unwrap()], &pool);
    assert_eq!(none.unwrap_err().code, WrongShape);
}
