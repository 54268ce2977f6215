//! What cargo-fuzz does on nightly, on every run: `fuzz/entry.rs` gets each model of the repository after thousands of
//! changes, and an allocator counts that memory stays under the stated bound.

#[path = "../fuzz/entry.rs"]
mod entry;
mod net;
mod random;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use foreblock_engine::onnx::proto::{ModelProto, NodeProto};
use foreblock_engine::ops;
use prost::Message;
use random::Random;

/// Changed files handed to each of the three entries.
const TRIALS: usize = 2500;
/// No file may keep a run busy for longer; generous, since CI machines stall.
const TRIAL_SECONDS_MAX: u64 = 20;

/// Counts live bytes and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The models of the repository that have their weights, and a network of most kinds of kernels.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["models/digits", "models/fee", "models/risk", "models/volatility", "tests/data/ml/models"] {
        let mut paths: Vec<_> = root.join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        files.extend(paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "onnx")));
    }
    let mut seeds: Vec<_> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    seeds.push(net::network().encode_to_vec());
    assert!(seeds.len() > 20, "the models are part of the repository");
    seeds
}

/// Flips bits, cuts, repeats or overwrites a part.
fn change_bytes(file: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(file.len());
        match random.below(5) {
            0 | 1 => file[at] ^= 1 << random.below(8),
            2 => file.truncate(at.max(1)),
            3 => {
                let part: Vec<u8> = file[at..file.len().min(at + random.below(64))].to_vec();
                let to = random.below(file.len());
                file.splice(to..to, part);
            }
            // Lengths and counts at their ends.
            _ => {
                let end = file.len().min(at + 1 + random.below(9));
                file[at..end].fill(random.pick(&[0x00, 0x7f, 0x80, 0xff]));
            }
        }
    }
}

/// Changes what decodes: operators, names, attributes, dimensions.
fn change_fields(model: &mut ModelProto, random: &mut Random) {
    let operators: Vec<_> = ops::all().collect();
    let Some(graph) = &mut model.graph else { return };
    const INTS: [i64; 8] = [0, -1, 1, 2, 7, i64::MAX, i64::MIN, 1 << 31];
    for _ in 0..1 + random.below(3) {
        if graph.node.is_empty() {
            return;
        }
        let (at, other) = (random.below(graph.node.len()), random.below(graph.node.len()));
        let stolen = graph.node[other].output.first().cloned();
        let node: &mut NodeProto = &mut graph.node[at];
        match random.below(6) {
            0 => node.op_type = Some(random.pick(&operators).name.into()),
            // An output of a later node makes a cycle.
            1 => node.input.iter_mut().zip(stolen).for_each(|(input, name)| *input = name),
            2 => drop(node.input.pop()),
            3 => {
                for attribute in &mut node.attribute {
                    let value = random.pick(&INTS);
                    attribute.i = attribute.i.map(|_| value);
                    if let Some(last) = attribute.ints.last_mut() {
                        *last = value;
                    }
                }
            }
            4 if !graph.initializer.is_empty() => {
                let at = random.below(graph.initializer.len());
                if let Some(dim) = graph.initializer[at].dims.first_mut() {
                    *dim = random.pick(&INTS);
                }
            }
            _ => node.attribute.truncate(1),
        }
    }
}

/// Bytes that loading and running a file may take at their peak: its constants as they are and packed, what a run may
/// use, and the file itself in a few forms.
fn bytes_max(file: &[u8]) -> usize {
    let limits = entry::limits();
    2 * (limits.weights_bytes_max + limits.run_bytes_max) as usize + 64 * file.len() + (8 << 20)
}

fn replay(entry: fn(&[u8]), header: usize, seed: u64) {
    let seeds = seeds();
    let mut random = Random(seed);
    for trial in 0..TRIALS {
        let mut file = seeds[trial % seeds.len()].clone();
        if trial % 3 == 0 {
            change_bytes(&mut file, &mut random);
        } else if let Ok(mut model) = ModelProto::decode(file.as_slice()) {
            change_fields(&mut model, &mut random);
            file = model.encode_to_vec();
        }
        let mut bytes: Vec<u8> = (0..header).map(|_| random.next() as u8).collect();
        bytes.extend(file);
        let (before, started) = (LIVE.load(Relaxed), Instant::now());
        PEAK.store(before, Relaxed);
        entry(&bytes);
        let (grown, took) = (PEAK.load(Relaxed) - before, started.elapsed());
        assert!(grown <= bytes_max(&bytes), "trial {trial} of seed {seed} took {grown} bytes of memory");
        assert!(took < Duration::from_secs(TRIAL_SECONDS_MAX), "trial {trial} of seed {seed} took {took:?}");
    }
}

/// One test, so that nothing else allocates while it counts.
#[test]
fn changed_files_neither_panic_nor_hang_nor_exceed_their_memory() {
    replay(entry::load, 0, 1);
    replay(entry::shapes, entry::HEADER, 2);
    replay(entry::run, entry::HEADER, 3);
}
