use tempfile::TempDir;

use super::*;

const MANIFEST: &str = r#"
name = "sample"
revision = "r1"
description = "a sample"
license = "MIT"
[base]
file = "sample.gguf"
size = 3
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
[[base.source]]
kind = "hub"
repo = "owner/name"
revision = "main"
path = "sub/sample.gguf"
[[base.source]]
kind = "pip"
package = "sample-part{n}"
version = "0.2.0"
parts = 22
member = "data/part{nn}.bin"
[adapter]
file = "sample-lora.gguf"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
[prompt]
template = "sample.prompt"
context = "indented"
max_tokens = 2048
[answer]
grammar = "sample.lark"
max_rationale_tokens = 48
max_rationale_bytes = 320
"#;

/// A folder with the manifest and what it names.
fn folder(manifest: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("sample.toml"), manifest).unwrap();
    fs::write(folder.path().join("sample.prompt"), "abc").unwrap();
    fs::write(folder.path().join("sample.lark"), "start: /a/").unwrap();
    folder
}

/// What is said about the sample after a change to its text.
fn complaint(from: &str, to: &str) -> String {
    assert!(MANIFEST.contains(from), "{from}");
    let folder = folder(&MANIFEST.replacen(from, to, 1));
    let error = Bundle::load(&folder.path().join("sample.toml")).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("sample.toml"), "no file named: {message}");
    message
}

#[test]
fn a_manifest_is_read_with_the_files_that_it_names() {
    let folder = folder(MANIFEST);
    let bundle = Bundle::load(&folder.path().join("sample.toml")).unwrap();
    assert_eq!(
        (bundle.name.as_str(), bundle.revision.as_str()),
        ("sample", "r1")
    );
    assert_eq!(bundle.prompt.template, "abc");
    assert_eq!(bundle.prompt.template_sha256, bundle.base.sha256);
    assert_eq!(bundle.prompt.context, ContextFormat::Indented);
    assert_eq!(bundle.answer.grammar, "start: /a/");
    let adapter = bundle.adapter.unwrap();
    assert_eq!(adapter.scale, 1.0);
    assert!(adapter.path.is_absolute() && adapter.path.ends_with("sample-lora.gguf"));
    let [Source::Hub(hub), Source::Pip(pip)] = &bundle.base.sources[..] else {
        panic!("{:?}", bundle.base.sources);
    };
    assert_eq!(hub.path, "sub/sample.gguf");
    assert_eq!(
        (pip.package(7), pip.member(7)),
        ("sample-part7".into(), "data/part07.bin".into())
    );
}

#[test]
fn a_manifest_may_say_which_label_each_rule_of_a_rationale_means() {
    let read = |manifest: &str| {
        let folder = folder(manifest);
        let bundle = Bundle::load(&folder.path().join("sample.toml")).unwrap();
        bundle.answer.rules
    };
    assert!(read(MANIFEST).is_empty());
    let rules = format!("{MANIFEST}[answer.rules]\n\"2b\" = \"SUPPRESS\"\n\"7\" = \"PASS\"\n");
    let expected = [("2b", Label::Suppress), ("7", Label::Pass)];
    assert_eq!(
        read(&rules),
        expected
            .map(|(rule, label)| (rule.to_owned(), label))
            .into()
    );
    for (line, wanted) in [
        ("\"1\" = \"MAYBE\"", "MAYBE"),
        (
            "\"rule 1\" = \"PASS\"",
            "`answer.rules` is no rule's name: `rule 1`",
        ),
        ("\"\" = \"PASS\"", "`answer.rules`"),
    ] {
        let table = format!("max_rationale_bytes = 320\n[answer.rules]\n{line}");
        let message = complaint("max_rationale_bytes = 320", &table);
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let message = complaint("max_tokens = 2048", "max_token = 2048");
    assert!(
        message.contains("line 27 (`max_token = 2048`)"),
        "{message}"
    );
    let message = complaint("kind = \"hub\"", "kind = \"hub\"\nmirror = true");
    assert!(message.contains("mirror"), "{message}");
}

#[test]
fn a_missing_key_and_a_wrong_type_are_named() {
    let message = complaint("license = \"MIT\"", "");
    assert!(message.contains("`license`"), "{message}");
    let message = complaint("size = 3", "size = \"3\"");
    assert!(message.contains("size = \"3\""), "{message}");
}

#[test]
fn names_that_leave_their_folder_are_refused() {
    for (key, from, to) in [
        (
            "base.file",
            "file = \"sample.gguf\"",
            "file = \"../sample.gguf\"",
        ),
        ("base.file", "file = \"sample.gguf\"", "file = \"..\""),
        ("base.file", "file = \"sample.gguf\"", "file = \"a\\\\b\""),
        ("base.source[0].path", "sub/sample.gguf", "sub/../../x"),
        ("base.source[0].repo", "owner/name", "owner/name?x=1"),
        (
            "base.source[1].package",
            "sample-part{n}",
            "--index-url=x{n}",
        ),
        ("base.source[1].version", "0.2.0", "0.2.0 @ file"),
        ("base.source[1].member", "data/part{nn}.bin", "/etc/{nn}"),
        ("adapter.file", "sample-lora.gguf", "/etc/passwd"),
        ("prompt.template", "sample.prompt", "../sample.prompt"),
        ("answer.grammar", "sample.lark", ""),
        (
            "answer.evidence_grammar",
            "grammar = \"sample.lark\"",
            "grammar = \"sample.lark\"\nevidence_grammar = \"./sample.lark\"",
        ),
    ] {
        let message = complaint(from, to);
        assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
    }
}

#[test]
fn all_problems_are_reported_together() {
    let folder = folder(
        &MANIFEST
            .replace("size = 3", "size = 0")
            .replace("ba78", "BA78"),
    );
    let message = Bundle::load(&folder.path().join("sample.toml"))
        .unwrap_err()
        .to_string();
    for key in ["base.size", "base.sha256", "adapter.sha256"] {
        assert!(message.contains(&format!("`{key}`")), "{message}");
    }
}

#[test]
fn parts_must_differ() {
    let same = MANIFEST.replace("{n}", "").replace("{nn}", "");
    let message = Bundle::load(&folder(&same).path().join("sample.toml"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("`base.source[1].package`"), "{message}");
}

#[test]
fn a_name_must_be_the_manifests_own() {
    let message = complaint("name = \"sample\"", "name = \"other\"");
    assert!(message.contains("`name`"), "{message}");
}

#[test]
fn an_absent_template_is_named_with_its_key() {
    let folder = folder(MANIFEST);
    fs::remove_file(folder.path().join("sample.prompt")).unwrap();
    let message = Bundle::load(&folder.path().join("sample.toml"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("`prompt.template`") && message.contains("sample.prompt"));
}

#[test]
fn a_bundle_is_found_by_name_or_by_path() {
    let folder = folder(MANIFEST);
    let dirs = [folder.path().join("absent"), folder.path().to_owned()];
    assert_eq!(Bundle::find("sample", &dirs).unwrap().name, "sample");
    let path = folder.path().join("sample.toml");
    assert_eq!(
        Bundle::find(path.to_str().unwrap(), &[]).unwrap().path,
        path
    );
}

#[test]
fn a_bundle_is_handled_by_its_name_only_where_that_finds_it() {
    let (first, second) = (folder(MANIFEST), folder(MANIFEST));
    let dirs = [first.path().to_owned(), second.path().to_owned()];
    let load = |folder: &TempDir| Bundle::load(&folder.path().join("sample.toml")).unwrap();
    let (known, hidden) = (load(&first), load(&second));
    assert_eq!(known.handle(&dirs), "sample");
    assert_eq!(hidden.handle(&dirs), hidden.path.display().to_string());
    assert_eq!(known.handle(&[]), known.path.display().to_string());
    for bundle in [known, hidden] {
        let found = Bundle::find(&bundle.handle(&dirs), &dirs).unwrap();
        assert_eq!(found.path, bundle.path);
    }
}

#[test]
fn a_name_not_found_lists_those_that_are_and_where_it_looked() {
    let folder = folder(MANIFEST);
    let message = Bundle::find("samples", &[folder.path().to_owned()])
        .unwrap_err()
        .to_string();
    assert!(message.contains("`sample`"), "{message}");
    assert!(
        message.contains(folder.path().to_str().unwrap()),
        "{message}"
    );
}

#[test]
fn an_earlier_folder_hides_the_same_name_in_a_later_one() {
    let (first, second) = (folder(MANIFEST), folder(MANIFEST));
    let dirs = [first.path().to_owned(), second.path().to_owned()];
    let list = Bundle::list(&dirs);
    assert_eq!(list.len(), 1);
    assert!(list[0].as_ref().unwrap().path.starts_with(first.path()));
}
