//! Promise: `judged convert-adapter` writes a file that judged serves, and tells what it wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::{Ran, Shell};
use crate::support::peft_folder::{MODULES, PeftFolder};
use crate::support::tiny::TinyModel;
use crate::support::tiny_backend::open;
use judged::app::llama_source;
use judged::backend::{Backend, OpenError};
use judged::config::{Config, Settings};
use judged::context::Context;
use judged::models::{Bundle, sha256_file};
use judged::prompt::Prompt;
use judged::verdict::Case;

/// A home folder with a PEFT folder and a tiny base in it.
struct Bench {
    shell: Shell,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            shell: Shell::new(),
        };
        fs::create_dir(bench.path("lora")).unwrap();
        adapter().write(&bench.path("lora"));
        TinyModel::default().write_base(&bench.path("base.gguf"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shell.home.path().join(name)
    }

    /// Arguments that begin with `~/` are paths in the home folder.
    fn run(&self, arguments: &[&str]) -> Ran {
        let home = format!("{}/", self.shell.home.path().display());
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replacen("~/", &home, 1))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.shell.run(&arguments)
    }
}

/// For all matrices of the tiny model.
fn adapter() -> PeftFolder {
    let tiny = TinyModel::default();
    let mut peft = PeftFolder::new(16, 16);
    for layer in 0..tiny.n_layer {
        for (module, name) in MODULES {
            let shape = tiny.shape(&format!("blk.{layer}.{name}.weight"));
            peft.module(layer, module, [shape[0], shape[1]], 16);
        }
    }
    peft
}

#[test]
fn a_folder_alone_is_converted_with_a_warning_that_no_base_was_seen() {
    let bench = Bench::new();
    let ran = bench.run(&["convert-adapter", "~/lora"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: no base"), "{}", ran.stderr);
    let file = bench.path("lora/adapter.gguf");
    let sha256 = sha256_file(&file, &mut |_| {}).unwrap();
    for text in [
        file.to_str().unwrap(),
        &sha256,
        "28 f16",
        "rank     16",
        "alpha    16",
        "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
        "layers   0-1",
        "not checked",
    ] {
        assert!(ran.stdout.contains(text), "{text} is not in {}", ran.stdout);
    }
}

#[test]
fn json_tells_the_same_to_a_program() {
    let bench = Bench::new();
    let ran = bench.run(&[
        "convert-adapter",
        "~/lora",
        "--base",
        "~/base.gguf",
        "--out",
        "~/small.gguf",
        "--type",
        "q8_0",
        "--json",
    ]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let told = &ran.json()[0];
    let file = bench.path("small.gguf");
    assert_eq!(told["path"], file.to_str().unwrap());
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!(told["sha256"], sha256_file(&file, &mut |_| {}).unwrap());
    let tensors = serde_json::json!({"f16": 14, "q8_0": 14});
    assert_eq!(told["tensors"], tensors);
    assert_eq!(told["ranks"], serde_json::json!([16]));
    assert_eq!(told["alpha"], 16.0);
    assert_eq!(told["layers"], serde_json::json!([0, 1]));
    assert_eq!(told["folded_modules"], 0);
    assert_eq!(told["base"], bench.path("base.gguf").to_str().unwrap());
}

#[test]
fn what_cannot_be_converted_ends_with_1_and_leaves_nothing() {
    let bench = Bench::new();
    adapter()
        .set("use_dora", true.into())
        .write(&bench.path("lora"));
    let ran = bench.run(&["convert-adapter", "~/lora"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("DoRA"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(bench.path("lora")).unwrap().count(), 2);
}

#[test]
fn a_file_that_is_there_is_replaced_only_with_force() {
    let bench = Bench::new();
    let convert = |more: &[&str]| bench.run(&[&["convert-adapter", "~/lora"], more].concat());
    assert_eq!(convert(&[]).code, 0);
    let again = convert(&[]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    assert_eq!(convert(&["--force"]).code, 0);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let bench = Bench::new();
    for more in [
        &[][..],
        &["~/lora", "--type", "q4_0"],
        &["~/lora", "--base", "a.gguf", "--bundle", "b"],
    ] {
        let ran = bench.run(&[&["convert-adapter"], more].concat());
        assert_eq!(ran.code, 2, "{more:?}: {ran:?}");
    }
}

#[test]
fn a_bundle_whose_base_was_not_pulled_checks_nothing_and_says_so() {
    let bench = Bench::new();
    let ran = bench.run(&[
        "convert-adapter",
        "~/lora",
        "--bundle",
        "tenacious-published",
        "--model-dir",
        "~/store",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let store = bench.path("store");
    let pull = format!(
        "judged pull tenacious-published --model-dir {}",
        store.display()
    );
    for text in [pull.as_str(), "warning: no base"] {
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
    }
    let ran = bench.run(&["convert-adapter", "~/lora", "--bundle", "nobody"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no bundle `nobody`"), "{}", ran.stderr);
}

/// Copies the published bundle's files, with the tiny base in place of the real one.
fn published(bench: &Bench) -> PathBuf {
    let folder = bench.path("mine");
    fs::create_dir(&folder).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for name in ["tenacious-published.prompt", "tenacious-judge.lark"] {
        fs::copy(models.join(name), folder.join(name)).unwrap();
    }
    let manifest = models.join("tenacious-published.toml");
    let bundle = Bundle::load(&manifest).unwrap();
    let base = bench.path("base.gguf");
    let size = fs::metadata(&base).unwrap().len();
    let text = fs::read_to_string(manifest).unwrap();
    let text = text.replace("1_117_320_736", &size.to_string()).replace(
        &bundle.base.sha256,
        &sha256_file(&base, &mut |_| {}).unwrap(),
    );
    let manifest = folder.join("tenacious-published.toml");
    fs::write(&manifest, text).unwrap();
    manifest
}

/// What the daemon would do with a bundle on this home's store.
fn with_bundle<T>(
    bench: &Bench,
    manifest: &Path,
    work: impl FnOnce(&Bundle, &mut dyn Backend) -> T,
) -> Result<T, OpenError> {
    let settings = Settings {
        model_dir: Some(bench.path("store")),
        state_dir: Some(bench.path("state")),
        slots: Some(1),
        threads: Some(1),
        ..Settings::default()
    };
    let config = Config::new(&settings.resolve(None, None).unwrap()).unwrap();
    let bundle = Bundle::load(manifest).unwrap();
    open(llama_source(&config, &bundle), |backend| {
        work(&bundle, backend)
    })
}

/// The command of `models/README.md` that begins so.
fn documented(start: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/README.md");
    let page = fs::read_to_string(page).unwrap();
    let mut command = Vec::new();
    for line in page.lines().skip_while(|line| !line.starts_with(start)) {
        command.push(line);
        if !line.ends_with('\\') {
            break;
        }
    }
    command.join("\n")
}

#[test]
fn the_published_bundle_is_served_once_its_adapter_is_converted() {
    let bench = Bench::new();
    let manifest = published(&bench);
    let store = bench.path("store");
    let store = ["--model-dir", store.to_str().unwrap()];
    let bundle = "~/mine/tenacious-published.toml";
    let pulled = bench.run(&[&["pull", bundle, "--from", "~/base.gguf"], &store[..]].concat());
    assert_eq!(pulled.code, 0, "{}", pulled.stderr);

    let unserved = with_bundle(&bench, &manifest, |_, _| ()).unwrap_err();
    assert!(
        unserved.to_string().contains("tenacious-published.gguf"),
        "{unserved}"
    );

    let out = "~/mine/tenacious-published.gguf";
    let convert = [
        "convert-adapter",
        "~/lora",
        "--bundle",
        bundle,
        "--out",
        out,
        "--json",
    ];
    let converted = bench.run(&[&convert, &store[..]].concat());
    assert_eq!((converted.code, converted.stderr.as_str()), (0, ""));
    let unserved = with_bundle(&bench, &manifest, |_, _| ()).unwrap_err();
    assert!(unserved.to_string().contains(&"0".repeat(64)), "{unserved}");

    let fill_in = Command::new("bash")
        .args(["-ec", &documented("sed -i")])
        .current_dir(bench.shell.home.path())
        .status();
    assert!(fill_in.unwrap().success());
    let sha256 = converted.json()[0]["sha256"].as_str().unwrap().to_owned();
    assert!(fs::read_to_string(&manifest).unwrap().contains(&sha256));
    let served = with_bundle(&bench, &manifest, |_, backend| {
        backend.description().adapter
    });
    assert_eq!(served.unwrap(), "LoRA of rank 16 on 28 tensors, scale 1");
}

#[test]
fn the_published_bundles_prompt_is_the_model_cards_to_the_letter() {
    let bench = Bench::new();
    let manifest = published(&bench);
    let pull = [
        "pull",
        "~/mine/tenacious-published.toml",
        "--from",
        "~/base.gguf",
    ];
    let store = bench.path("store");
    let store = ["--model-dir", store.to_str().unwrap()];
    assert_eq!(bench.run(&[&pull, &store[..]].concat()).code, 0);
    let without_adapter = |text: String| {
        let (before, rest) = text.split_once("[adapter]").unwrap();
        let (_, after) = rest.split_once("[prompt]").unwrap();
        format!("{before}[prompt]{after}")
    };
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, without_adapter(text)).unwrap();

    let case = Case {
        context: Context::parse(r#"{"headcount":80,"note":"Zürich","disqualifiers":[]}"#).unwrap(),
        draft: "Hi Amir".to_owned(),
        requested_channel: None,
    };
    let shown = with_bundle(&bench, &manifest, |bundle, backend| {
        let tokenizer = backend.tokenizer();
        let prompt = &bundle.prompt;
        let prompt = Prompt::new(&prompt.template, prompt.context, 2048, tokenizer.clone());
        let tokens = prompt.unwrap().render(&case).unwrap();
        let pieces = tokens.iter().flat_map(|token| tokenizer.piece(*token));
        String::from_utf8(pieces.copied().collect()).unwrap()
    });
    let expected = "<|im_start|>system
You are a sales-outreach judge for Tenacious, a B2B sales agent.
Apply the 7-rule rubric in strict priority order:
1. SUPPRESS if any disqualifier is present (anti_offshore, local_only, do_not_contact, competitor)
2. SUPPRESS if the prospect has opted out of the outreach channel
3. ESCALATE if the recipient is C-level at a company with >2000 employees
4. BLOCK if the output references content from a different prospect's thread
5. BLOCK if a funding amount is cited but funding_confidence is low or insufficient_signal
6. PENALISE if peer company names are generic or reused across prospects
7. PASS if none of the above conditions are triggered
Respond with one of: SUPPRESS | ESCALATE | BLOCK | PENALISE | PASS
Then give a one-sentence rationale.<|im_end|>
<|im_start|>user
Context:
{
  \"headcount\": 80,
  \"note\": \"Z\\u00fcrich\",
  \"disqualifiers\": []
}

Agent output:
Hi Amir<|im_end|>
<|im_start|>assistant
";
    assert_eq!(shown.unwrap(), expected);
}
