//! Rules of the repository that no compiler holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use judged::config::{Config, Origin, Settings};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, as its path from the root.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

/// The modules in the order of lib.rs.
fn modules() -> Vec<String> {
    let text = read("src/lib.rs");
    let names = text.lines().filter_map(|line| {
        let name = line.strip_prefix("pub mod ")?.strip_suffix(';')?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The top-level module of a file of `src`.
fn module_of(path: &Path) -> String {
    let part = path.components().nth(1).unwrap();
    let name = part.as_os_str().to_str().unwrap();
    name.trim_end_matches(".rs").to_owned()
}

/// Each `crate::name` of a text, `crate::{a, b}` included.
fn crate_uses(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    for rest in text.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest
                .split(|letter| !is_name(letter))
                .next()
                .unwrap_or_default(),
        };
        let each = list.split(',').map(|item| {
            let item = item.trim();
            item.split(|letter| !is_name(letter))
                .next()
                .unwrap_or_default()
        });
        names.extend(each.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    names
}

#[test]
fn a_module_uses_only_modules_listed_above_it() {
    let order = modules();
    let place: BTreeMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), index))
        .collect();
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        if is_test(&path) {
            continue;
        }
        let own = module_of(&path);
        let Some(own_place) = place.get(own.as_str()) else {
            assert!(
                matches!(own.as_str(), "lib" | "main"),
                "{own} is not in lib.rs"
            );
            continue;
        };
        let text = read(&path);
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for used in crate_uses(&code.join("\n")) {
            let Some(used_place) = place.get(used.as_str()) else {
                panic!("{}: crate::{used} is no module of lib.rs", path.display());
            };
            if used_place > own_place {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_one_module_names_the_binding_of_llama_cpp() {
    let naming = rust_files("src")
        .into_iter()
        .filter(|path| read(path).contains("use llama_cpp"));
    for path in naming {
        let path = path.to_str().unwrap();
        assert!(path.starts_with("src/backend/llama"), "{path} names it");
    }
}

#[test]
fn wire_types_stay_in_rpc_and_client() {
    for path in rust_files("src") {
        let module = module_of(&path);
        if matches!(module.as_str(), "rpc" | "client" | "app") {
            continue;
        }
        assert!(
            !read(&path).contains("rpc::proto"),
            "{} names wire types",
            path.display()
        );
    }
}

#[test]
fn unsafe_code_is_named_and_reasoned_where_it_is() {
    let files: Vec<_> = rust_files("src")
        .into_iter()
        .filter(|path| read(path).contains("unsafe_code"))
        .collect();
    let named = [
        "src/backend/llama/context.rs",
        "src/cli/serve.rs",
        "src/main.rs",
    ];
    assert_eq!(files, named.map(Path::new));
}

#[test]
fn the_architecture_page_names_every_module_and_only_tests_that_exist() {
    let page = read("ARCHITECTURE.md");
    for module in modules() {
        assert!(
            page.contains(&format!("  {module}.rs")),
            "ARCHITECTURE.md does not name {module}.rs"
        );
    }
    let tests: String = rust_files("tests")
        .iter()
        .chain(&rust_files("src"))
        .map(read)
        .collect();
    let mut named = 0;
    for name in page.split('`').skip(1).step_by(2) {
        // A test's name reads as a sentence: that tells it from other names.
        let words = name.split('_').count();
        let plain = name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
        if words >= 4 && plain {
            named += 1;
            assert!(
                tests.contains(&format!("fn {name}(")),
                "ARCHITECTURE.md names the test {name}, which does not exist"
            );
        }
    }
    assert!(named >= 14, "each invariant names its test; found {named}");
}

#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let readme = read("README.md");
    for (name, sourced) in Settings::defaults().resolve(None, None).unwrap() {
        let shown = match name.as_str() {
            // They depend on the user's home.
            "model_dir" | "state_dir" => None,
            _ => Some(sourced.value.to_string().replace('"', "")),
        };
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))
            .unwrap_or_else(|| panic!("README.md has no row for `{name}`"));
        if let Some(shown) = shown.filter(|shown| !shown.is_empty()) {
            assert!(
                row.contains(&format!("| `{shown}` |")),
                "{row} is not {shown}"
            );
        }
    }
}

#[test]
fn a_name_in_the_pages_is_one_of_the_code() {
    let mut names = BTreeSet::new();
    for path in rust_files("src") {
        let text = read(path);
        let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        names.extend(words.map(str::to_owned));
    }
    let pages = fs::read_dir(root().join("docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    for page in pages.chain([root().join("README.md")]) {
        let text = read(&page);
        let quoted = text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        // Such as `gpu_layers = "auto"`.
        for name in quoted.filter_map(|quoted| quoted.split(' ').next()) {
            let is_name = |letter| matches!(letter, 'a'..='z' | '0'..='9' | '_');
            // Metrics have a test of their own; the last two are of gRPC and of NATS.
            let is_known = ["judged_", "process_", "round_robin", "max_payload"]
                .iter()
                .any(|known| name.starts_with(known));
            let is_known = is_known || names.contains(name);
            let is_ours = name.contains('_') && name.chars().all(is_name);
            assert!(
                is_known || !is_ours,
                "{}: there is no `{name}`",
                page.display()
            );
        }
    }
}

/// The values of a key in a unit of systemd.
fn values(unit: &str, key: &str) -> Vec<String> {
    let start = format!("{key}=");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(&start));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_service_unit_sets_what_exists_and_waits_for_a_drain() {
    let unit = read("systemd/judged.service");
    let settings = Settings::defaults().resolve(None, None).unwrap();
    for variable in values(&unit, "Environment") {
        let (name, _) = variable.split_once('=').unwrap();
        let name = name.strip_prefix("JUDGED_").unwrap().to_lowercase();
        assert!(settings.contains_key(&name), "there is no setting {name}");
    }
    assert_eq!(values(&unit, "ExecStart"), ["/usr/local/bin/judged serve"]);
    let stop: f64 = values(&unit, "TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > settings["drain_timeout"].value.as_f64().unwrap());
}

#[test]
fn the_workers_unit_has_the_daemons_sandbox_and_waits_for_a_drain() {
    let (daemon, worker) = (
        read("systemd/judged.service"),
        read("systemd/judged-worker.service"),
    );
    let sandbox = |unit: &str| {
        let (_, rights) = unit.split_once("\nCapabilityBoundingSet=").unwrap();
        let (rights, _) = rights.split_once("[Install]").unwrap();
        let lines = rights.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| !line.starts_with("ProcSubset="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sandbox(&worker), sandbox(&daemon));
    assert_eq!(values(&worker, "ProcSubset"), ["pid"]);
    assert_eq!(
        values(&worker, "ExecStart"),
        ["/usr/local/bin/judged worker"]
    );
    let help = read("docs/cli.md");
    let (_, drain) = help
        .split_once("[env: JUDGED_WORKER_DRAIN_TIMEOUT=]")
        .unwrap();
    let drain = drain.lines().nth(1).unwrap().trim();
    let drain = drain.trim_start_matches("[default: ").trim_end_matches(']');
    let stop: f64 = values(&worker, "TimeoutStopSec")[0].parse().unwrap();
    // A pull that is under way takes two seconds more.
    assert!(stop > drain.parse::<f64>().unwrap() + 2.0, "{drain}");
}

#[test]
fn packages_and_images_set_what_exists_and_run_as_the_chart_does() {
    let file = root().join("deploy/debian/judged.toml");
    let packaged = Settings::default().resolve(None, Some(&file)).unwrap();
    Config::new(&packaged).unwrap();
    // The package empties the unit's environment.
    for variable in values(&read("systemd/judged.service"), "Environment") {
        let (name, _) = variable.split_once('=').unwrap();
        let name = name.strip_prefix("JUDGED_").unwrap().to_lowercase();
        assert_eq!(packaged[&name].origin, Origin::File(file.clone()), "{name}");
    }
    // Where no systemd ends a decode that hangs.
    let stuck = packaged["abort_stuck"].value.as_f64().unwrap();
    let values = read("deploy/helm/judged/values.yaml");
    let (_, settings) = values.split_once("\nsettings:\n").unwrap();
    let (settings, _) = settings.split_once("\n\n").unwrap();
    assert!(settings.contains(&format!("  abort_stuck: {stuck}\n")));
    let command = format!(r#"CMD ["serve", "--supervise", "--abort-stuck", "{stuck}"]"#);
    let chart = read("deploy/helm/judged/templates/statefulset.yaml");
    for image in ["deploy/docker/Dockerfile", "deploy/docker/cuda.Dockerfile"] {
        let text = read(image);
        for variable in text.split("JUDGED_").skip(1) {
            let (name, _) = variable.split_once('=').unwrap();
            let name = name.to_lowercase();
            assert!(packaged.contains_key(&name), "{image}: no setting {name}");
        }
        let (_, user) = text.split_once("\nUSER ").unwrap();
        let (user, _) = user.split_once(':').unwrap();
        assert!(chart.contains(&format!("runAsUser: {user}\n")), "{image}");
        assert!(text.ends_with(&format!("\n{command}\n")), "{image}");
    }
}

#[test]
fn what_git_ignores_is_deleted_by_make_clean_and_sent_to_no_image() {
    let makefile = read("Makefile");
    let (_, clean) = makefile.split_once("\nclean:").unwrap();
    let deleted: BTreeSet<_> = clean.split_whitespace().collect();
    let unsent = read(".dockerignore");
    let is_unsent = |path: &str| {
        unsent.lines().any(|line| match line.strip_prefix("**/") {
            Some(name) => path.rsplit('/').next() == Some(name),
            None => line == path,
        })
    };
    let ignored = read(".gitignore");
    for path in ignored.lines().filter_map(|line| line.strip_prefix('/')) {
        assert!(deleted.contains(path), "`make clean` leaves {path}");
        assert!(is_unsent(path), ".dockerignore lets {path} through");
    }
    // These are ignored in every folder.
    let names = ignored
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['/', '#']));
    for name in names.map(|line| line.trim_end_matches('/')) {
        let anywhere = format!("**/{name}");
        assert!(
            unsent.lines().any(|line| line == anywhere),
            ".dockerignore lets {name} through"
        );
    }
}

#[test]
fn the_readme_shows_the_clients_examples_as_they_are() {
    let readme = read("README.md");
    for example in [
        "clients/python/example.py",
        "clients/node/example.mjs",
        "clients/rust/examples/judge.rs",
    ] {
        let text = read(example);
        let code = text.split_once("\n\n").unwrap().1.trim_end();
        assert!(readme.contains(code), "README.md does not show {example}");
    }
}
