//! Compiles `proto/`, and puts the shared libraries of llama.cpp where every
//! executable of this package finds them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;

/// Modules that are not carried. The one with AMX dies of an illegal
/// instruction where GCC 12 has compiled it: that compiler takes only the first
/// 8 of the 64 bytes of a tile configuration for read, and drops the stores of
/// the rest. CPUs with AMX get the code of the family before them.
const LEFT_OUT: [&str; 1] = ["libggml-cpu-sapphirerapids.so"];

const PROTOS: [&str; 2] = ["judge/v1/judge.proto", "judge/v1/control.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    compile_protos()?;
    carry_libraries()
}

/// With protox, a compiler in Rust, so that no `protoc` has to be installed.
fn compile_protos() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// Copies libllama, libggml and the backend modules (one for each CPU family)
/// to `target/<profile>/lib`, the folder beside the executable that a
/// distribution carries too, and points the loader there.
fn carry_libraries() -> Result<(), Box<dyn Error>> {
    let backends = PathBuf::from(env::var("DEP_LLAMA_BACKENDS_DIR")?);
    let libraries = backends.with_file_name("lib");
    let profile_dir = PathBuf::from(env::var("OUT_DIR")?)
        .ancestors()
        .nth(3)
        .ok_or("OUT_DIR is not deep enough")?
        .to_owned();
    let lib = profile_dir.join("lib");
    let gpu = lib.join("gpu");
    fs::create_dir_all(&gpu)?;
    for name in LEFT_OUT {
        if lib.join(name).exists() {
            fs::remove_file(lib.join(name))?;
        }
    }
    for source in [&libraries, &backends] {
        for entry in fs::read_dir(source)? {
            let path = entry?.path();
            if let Some(name) = soname(&path)
                && !LEFT_OUT.contains(&name.as_str())
            {
                let folder = if is_gpu_module(&name) { &gpu } else { &lib };
                // Replaced in one step: a running daemon keeps the file it has.
                let copy = folder.join(format!(".{name}.new"));
                fs::copy(&path, &copy)?;
                fs::rename(copy, folder.join(name))?;
            }
        }
    }
    remove_dangling_links(&profile_dir)?;

    // As DT_RPATH, not DT_RUNPATH: it also holds for what libllama needs.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags");
    for origin in ["$ORIGIN/lib", "$ORIGIN/../lib", "$ORIGIN/../lib/judged"] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{origin}");
    }
    Ok(())
}

/// The name under which the loader looks for a library, if `path` is that
/// file: `libllama.so.0` of the chain libllama.so -> libllama.so.0 ->
/// libllama.so.0.6.0, and the name itself for a backend module.
fn soname(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, version) = name.split_once(".so")?;
    let module = stem.starts_with("libggml-cpu") || is_gpu_module(name);
    match version.strip_prefix('.') {
        None if module => Some(name.to_owned()),
        Some(major) if major.bytes().all(|byte| byte.is_ascii_digit()) => Some(name.to_owned()),
        _ => None,
    }
}

/// These lie apart: a daemon loads them only after another process has tried them.
fn is_gpu_module(name: &str) -> bool {
    name.starts_with("libggml-cuda") || name.starts_with("libggml-vulkan")
}

/// The build script of llama-cpp-sys-2 links `lib*.so` into the target folder.
/// The links lead nowhere, and its next run would fail on them.
fn remove_dangling_links(profile_dir: &Path) -> Result<(), Box<dyn Error>> {
    for dir in ["", "deps", "examples"] {
        let Ok(entries) = fs::read_dir(profile_dir.join(dir)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_symlink() && !path.exists() {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}
