//! ONNX Runtime's library, and for CUDA the libraries that it needs, from the wheels of the Python package index.

use std::{
    env::consts::{ARCH, OS},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;

use super::{FetchError, Package, fetch};

/// What ONNX Runtime is to compute on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardware {
    /// The processor.
    Cpu,
    /// NVIDIA devices, with a driver for CUDA 13. Falls back to the processor where there is none.
    Cuda,
}

/// Version of ONNX Runtime; the bindings are made for this one.
const VERSION: &str = "1.31.1";

/// A wheel as it stands in the tables: package, version, file name, SHA-256, size in bytes.
type Row = (&'static str, &'static str, &'static str, &'static str, u64);

const CPU: [(&str, &str, Row); 3] = [
    (
        "linux",
        "x86_64",
        (
            "onnxruntime",
            VERSION,
            "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
            "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
            23_753_652,
        ),
    ),
    (
        "linux",
        "aarch64",
        (
            "onnxruntime",
            VERSION,
            "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_aarch64.whl",
            "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
            21_413_526,
        ),
    ),
    (
        "macos",
        "aarch64",
        (
            "onnxruntime",
            VERSION,
            "onnxruntime-1.31.1-cp311-cp311-macosx_14_0_arm64.whl",
            "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
            20_871_676,
        ),
    ),
];

/// For Linux on x86-64. The NVIDIA packages are the oldest of CUDA 13, which every driver for CUDA 13 serves.
const CUDA: [Row; 8] = [
    (
        "onnxruntime-gpu",
        VERSION,
        "onnxruntime_gpu-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
        "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
        255_560_985,
    ),
    (
        "nvidia-cuda-runtime",
        "13.0.96",
        "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        2_243_632,
    ),
    (
        "nvidia-cuda-nvrtc",
        "13.0.88",
        "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
        90_215_200,
    ),
    (
        "nvidia-nvjitlink",
        "13.0.88",
        "nvidia_nvjitlink-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
        40_713_933,
    ),
    (
        "nvidia-cufft",
        "12.0.0.61",
        "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
        214_085_489,
    ),
    (
        "nvidia-curand",
        "10.4.0.35",
        "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
        "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
        59_544_258,
    ),
    (
        "nvidia-cublas",
        "13.1.2.11",
        "nvidia_cublas-13.1.2.11-py3-none-manylinux_2_27_x86_64.whl",
        "e1ad7b57879088bc79e31cc172891a64332f76ae733084d4aaaaa65499b9b3de",
        423_122_711,
    ),
    (
        "nvidia-cudnn-cu13",
        "9.13.1.26",
        "nvidia_cudnn_cu13-9.13.1.26-py3-none-manylinux_2_27_x86_64.whl",
        "a0f434a881ce8b35afe3a328634db1da4a3852fc6dfbe89577f3e78400ee10d0",
        348_613_041,
    ),
];

/// Fetches ONNX Runtime into a folder, usually `onnxruntime` in the data directory, and returns the library's path.
/// For CUDA its providers and NVIDIA's libraries come beside it (1.4 GiB of downloads).
pub fn onnxruntime(hardware: Hardware, folder: &Path, bar: &ProgressBar) -> Result<PathBuf, FetchError> {
    let mut library = None;
    for package in packages(hardware, OS, ARCH)? {
        let files = fetch(&package, folder, &library_name, bar)?;
        library = library.or_else(|| files.into_iter().find(|file| is_main(file)));
    }
    library.ok_or_else(|| unpublished(hardware, OS, ARCH))
}

fn packages(hardware: Hardware, os: &str, arch: &str) -> Result<Vec<Package>, FetchError> {
    let rows: Vec<Row> = match hardware {
        Hardware::Cuda if (os, arch) == ("linux", "x86_64") => CUDA.to_vec(),
        Hardware::Cuda => Vec::new(),
        Hardware::Cpu => CPU.iter().filter(|row| (row.0, row.1) == (os, arch)).map(|row| row.2).collect(),
    };
    if rows.is_empty() {
        return Err(unpublished(hardware, os, arch));
    }
    Ok(rows.into_iter().map(package).collect())
}

fn package((name, version, wheel, sha256, size_bytes): Row) -> Package {
    Package { name: name.into(), version: version.into(), wheel: wheel.into(), sha256: sha256.into(), size_bytes }
}

fn unpublished(hardware: Hardware, os: &str, arch: &str) -> FetchError {
    let hardware = if hardware == Hardware::Cpu { "CPU" } else { "CUDA" };
    FetchError::NoLibrary { hardware, system: format!("{os} on {arch}") }
}

/// Shared libraries, but not Python's extension modules, other providers and NVIDIA's doubles.
fn library_name(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    let is_library = name.contains(".so") || name.ends_with(".dylib");
    let is_wanted = match folder {
        "onnxruntime/capi" => name.starts_with("libonnxruntime") && !name.contains("tensorrt"),
        _ => folder.starts_with("nvidia/") && !name.contains(".alt.") && !name.starts_with("libnvblas"),
    };
    (is_library && is_wanted).then(|| name.to_owned())
}

fn is_main(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("libonnxruntime.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_chosen_and_nothing_else() {
        let cases = [
            ("onnxruntime/capi/libonnxruntime.so.1.31.1", true),
            ("onnxruntime/capi/libonnxruntime.1.31.1.dylib", true),
            ("onnxruntime/capi/libonnxruntime_providers_shared.so", true),
            ("onnxruntime/capi/libonnxruntime_providers_cuda.so", true),
            ("onnxruntime/capi/libonnxruntime_providers_tensorrt.so", false),
            ("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so", false),
            ("onnxruntime/LICENSE", false),
            ("nvidia/cu13/lib/libcublasLt.so.13", true),
            ("nvidia/cudnn/lib/libcudnn.so.9", true),
            ("nvidia/cu13/lib/libnvrtc.alt.so.13", false),
            ("nvidia/cu13/include/cublas.h", false),
        ];
        for (path, wanted) in cases {
            assert_eq!(library_name(path).is_some(), wanted, "{path}");
        }
    }

    #[test]
    fn each_system_has_its_wheel_or_an_answer() {
        for (os, arch) in [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "aarch64")] {
            assert_eq!(packages(Hardware::Cpu, os, arch).unwrap().len(), 1, "{os} {arch}");
        }
        assert_eq!(packages(Hardware::Cuda, "linux", "x86_64").unwrap().len(), 8);
        for (hardware, os, arch) in [(Hardware::Cuda, "macos", "aarch64"), (Hardware::Cpu, "linux", "riscv64")] {
            let message = packages(hardware, os, arch).unwrap_err().to_string();
            assert!(message.contains(os) && message.contains("--onnxruntime"), "{message}");
        }
    }
}
