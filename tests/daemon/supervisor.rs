//! Promise: under a supervisor a crash of the daemon costs a caller who tries again
//! nothing: no connection is refused, no decision is lost, none is made twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::support::command::{Served, Shell, free_port, signal};
use crate::support::daemon::{Setup, script};
use crate::support::processes::{child_after, until_gone};
use crate::support::scrape;
use crate::support::scrape::Page;
use judged::app::App;
use judged::backend::scripted::{Fault, Reply, ScriptedSource};
use judged::client::{Client, ClientError, Question};
use judged::decision_log::{Contents, Filter};
use judged::supervisor::{self, End, Ending, Limit, Link, Listeners};
use judged::verdict::{DecidedBy, Decision, Label, RationaleMode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folder of a supervised daemon over the scripted engine, in the processes that are such
/// a daemon and its supervisor.
const FOLDER: &str = "JUDGED_SUPERVISOR_TEST";
/// While this file is in the folder, `fault:` in a draft is obeyed, once.
const ARMED: &str = "armed";
const PATIENCE: Duration = Duration::from_secs(30);

/// Not a test of its own: what the others start. The child is this function too.
#[test]
fn a_supervisor_and_its_daemon() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match Link::is_there() {
        false => std::process::exit(runtime.block_on(be_supervisor())),
        true => runtime.block_on(be_daemon(&folder)),
    }
}

async fn be_supervisor() -> i32 {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(anywhere, anywhere, Some(anywhere)).await;
    let listeners = listeners.unwrap();
    let metrics = listeners.metrics.as_ref().unwrap();
    let told = json!({
        "judge": listeners.judge.local_addr().unwrap(),
        "control": listeners.control.local_addr().unwrap(),
        "metrics": metrics.local_addr().unwrap(),
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "\n{told}").unwrap();
    stdout.flush().unwrap();
    let limit = Limit {
        crashes: 5,
        window: Duration::from_secs(300),
    };
    match supervisor::supervise(listeners, limit, own_command)
        .await
        .unwrap()
    {
        End::Exited(code) => code.into(),
        End::GaveUp { last } => panic!("it gave up: {last}"),
    }
}

fn own_command() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([
        "--exact",
        "supervisor::a_supervisor_and_its_daemon",
        "--nocapture",
        "--quiet",
    ]);
    // Of what a test says, only its supervisor's addresses are read.
    command.stdout(Stdio::null());
    command
}

async fn be_daemon(folder: &Path) {
    let (link, inherited) = Link::take().unwrap();
    let mut ending = Ending::new(Some(link)).unwrap();
    let mut setup = Setup::new().with(|config| {
        config.state_dir = folder.join("state");
        config.metrics_listen = Some(config.listen);
        // A pause of the machine is no hang, and the rules' answer leaves long before the end.
        config.engine.stuck_after = Duration::from_secs(5);
        config.engine.abort_stuck = Some(Duration::from_secs(9));
    });
    let armed = folder.join(ARMED);
    setup.source.scripted = ScriptedSource::new(move |prompt| {
        let mut reply = match prompt.contains("fault:hang") {
            true => Reply {
                label: Label::Block,
                sentence: "It hangs.".to_owned(),
                fault: Some(Fault::Hang(PATIENCE)),
            },
            false => script(prompt),
        };
        if reply.fault.is_some() && fs::remove_file(&armed).is_err() {
            reply.fault = None;
        }
        reply
    });
    // Callers meet in it.
    setup.source.scripted.per_token = Duration::from_micros(60);
    let (config, bundle) = (setup.config.clone(), setup.bundle.clone());
    let app = App::start_under(&config, bundle, setup.source.clone(), Some(inherited));
    let app = app.await.unwrap();
    ending.wanted().await;
    tokio::select! {
        () = app.shut_down() => {}
        () = ending.urged() => std::process::exit(1),
    }
}

/// A supervised daemon over the scripted engine.
struct Scripted {
    judge: String,
    control: String,
    metrics: SocketAddr,
    folder: TempDir,
    supervisor: Child,
}

impl Scripted {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut supervisor = own_command()
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(supervisor.stdout.take().unwrap());
        let told = stdout.lines().map(Result::unwrap);
        let mut told = told.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let told = told.find(Value::is_object).unwrap();
        let addr = |name: &str| told[name].as_str().unwrap().to_owned();
        let scripted = Self {
            judge: addr("judge"),
            control: addr("control"),
            metrics: addr("metrics").parse().unwrap(),
            folder,
            supervisor,
        };
        scripted.until_ready().await;
        scripted
    }

    fn arm(&self) {
        fs::write(self.folder.path().join(ARMED), "").unwrap();
    }

    async fn until_ready(&self) {
        let end = Instant::now() + PATIENCE;
        let mut client = Client::connect(&self.control).await.unwrap();
        while client.status().await.unwrap().degraded_reason.is_some() {
            assert!(Instant::now() < end, "the model does not decide");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_restarted(&self) -> bool {
        let Ok(mut client) = Client::connect(&self.control).await else {
            return false;
        };
        let status = client.status().await;
        status.is_ok_and(|status| status.restarts.is_some_and(|restarts| restarts.count > 0))
    }

    async fn page(&self) -> Page {
        let (_, text) = scrape::get(self.metrics, "/metrics", "").await.unwrap();
        Page::parse(text)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

fn question(id: &str, draft: &str) -> Question {
    Question {
        request_id: id.to_owned(),
        context_json: json!({"prospect_id": id}).to_string(),
        draft: draft.to_owned(),
        channel: None,
        rationale: RationaleMode::Sentence,
        timeout: Some(PATIENCE),
    }
}

/// As a caller should: tries again with the same id until there is an answer. Each try
/// has a connection of its own, which must come about.
async fn ask(addr: &str, question: &Question) -> Decision {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(addr).await.unwrap_or_else(|error| {
            panic!("a connection was refused: {error}");
        });
        match client.judge(question.clone()).await {
            Ok(decision) => return decision,
            Err(error) => assert!(Instant::now() < end, "no answer comes: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the log holds, by request id; each must be there once.
async fn recorded(control: &str) -> BTreeMap<String, Decision> {
    let mut client = Client::connect(control).await.unwrap();
    let mut found = BTreeMap::new();
    let mut token = String::new();
    loop {
        let filter = Filter::default();
        let page = client.decisions(&filter, 500, &token, Contents::Without);
        let page = page.await.unwrap();
        for entry in page.entries {
            let id = entry.record.request_id.unwrap();
            let before = found.insert(id.clone(), entry.record.decision);
            assert!(before.is_none(), "{id} was decided twice");
        }
        if page.next_page_token.is_empty() {
            return found;
        }
        token = page.next_page_token;
    }
}

fn assert_recorded(told: &[(Question, Decision)], log: &BTreeMap<String, Decision>) {
    let asked: BTreeSet<_> = told
        .iter()
        .map(|(question, _)| &question.request_id)
        .collect();
    assert_eq!(asked, log.keys().collect());
    for (question, decision) in told {
        let kept = &log[&question.request_id];
        assert_eq!(kept.decision_id, decision.decision_id);
        assert_eq!(kept.label, decision.label);
    }
}

const CALLERS: usize = 6;
const QUESTIONS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_with_requests_in_flight_leaves_each_id_its_one_decision() {
    let daemon = Scripted::start().await;
    daemon.arm();
    let callers = (0..CALLERS).map(|caller| {
        let addr = daemon.judge.clone();
        tokio::spawn(async move {
            let mut told = Vec::new();
            for number in 0..QUESTIONS {
                let aborts = caller == 0 && number == QUESTIONS / 2;
                let draft = match aborts {
                    true => "say:BLOCK\nfault:abort",
                    false => "say:ESCALATE\nbecause:It is so, and no other way.",
                };
                let question = question(&format!("{caller}-{number}"), draft);
                let decision = ask(&addr, &question).await;
                told.push((question, decision));
            }
            told
        })
    });
    let mut told = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        told.extend(caller.await.unwrap());
    }
    assert_recorded(&told, &recorded(&daemon.control).await);
    for (question, decision) in &told {
        let again = ask(&daemon.judge, question).await;
        assert_eq!(again.decision_id, decision.decision_id);
    }
    let mut client = Client::connect(&daemon.control).await.unwrap();
    let restarts = client.status().await.unwrap().restarts.unwrap();
    assert_eq!(
        (restarts.count, restarts.reason.as_str()),
        (1, "SIGABRT ended it")
    );
    // Whatever sets the clock meanwhile.
    let last = restarts.last.unwrap().elapsed();
    let ago = last.unwrap_or_else(|ahead| ahead.duration());
    assert!(ago < Duration::from_secs(3600), "{ago:?}");
    let page = daemon.page().await;
    assert_eq!(page.value("judged_restarts_total{cause=\"SIGABRT\"}"), 1.0);
    assert_eq!(page.sum("judged_restarts_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decode_that_hangs_is_answered_by_rules_and_then_ended_and_begun_anew() {
    let daemon = Scripted::start().await;
    daemon.arm();
    let hangs = ask(&daemon.judge, &question("hangs", "fault:hang")).await;
    assert_eq!(hangs.decided_by, DecidedBy::Rules);
    let reason = hangs.degraded_reason.unwrap();
    assert!(reason.contains("stuck"), "{reason}");

    let end = Instant::now() + PATIENCE;
    // A question that meets the crash gets no answer.
    while !daemon.is_restarted().await {
        assert!(Instant::now() < end, "it is not started again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.until_ready().await;
    let page = daemon.page().await;
    assert_eq!(page.value("judged_restarts_total{cause=\"SIGABRT\"}"), 1.0);
    let next = ask(&daemon.judge, &question("next", "say:BLOCK")).await;
    assert_eq!(
        (next.decided_by, next.label),
        (DecidedBy::Model, Label::Block)
    );
    let again = ask(&daemon.judge, &question("hangs", "fault:hang")).await;
    assert_eq!(again.decision_id, hangs.decision_id);
}

/// A terminal and systemd send a signal to both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_supervisor_and_daemon_alike_is_one_drain() {
    let mut daemon = Scripted::start().await;
    let pid = daemon.supervisor.id();
    let child = child_after(pid, None);
    let client = Client::connect(&daemon.judge).await.unwrap();
    // Half a second of prefill each.
    let asked = (0..3).map(|number| {
        let draft = format!("say:BLOCK\n{}", "a".repeat(6_000));
        let question = question(&number.to_string(), &draft);
        let mut client = client.clone();
        tokio::spawn(async move { client.judge(question).await })
    });
    let asked: Vec<_> = asked.collect();
    let mut control = Client::connect(&daemon.control).await.unwrap();
    // A drain finishes what was accepted: by now that is all, be it done already. In this order
    // none is counted twice.
    loop {
        let done = asked.iter().filter(|asked| asked.is_finished()).count();
        let status = control.status().await.unwrap();
        if done + status.running as usize >= asked.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    signal(pid, "TERM");
    signal(child, "TERM");
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap().label, Label::Block);
    }
    assert_eq!(daemon.supervisor.wait().unwrap().code(), Some(0));
}

fn supervised(shell: &Shell, more: &[&str]) -> Served {
    let state = shell.home.path().join("state");
    let mut arguments = vec!["--supervise", "--mode", "rules-only", "--state-dir"];
    arguments.push(state.to_str().unwrap());
    arguments.extend(more);
    // Once it is free, no other test listens there.
    let listen = format!("127.0.0.1:{}", free_port());
    shell.serve_on(&listen, &arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_refuses_no_connection_and_loses_no_decision() {
    let shell = Shell::new();
    let served = supervised(&shell, &["--restart-limit", "50"]);
    let stop = Arc::new(AtomicBool::new(false));
    let callers = (0..CALLERS).map(|caller| {
        let (addr, stop) = (served.judge.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut told = Vec::new();
            while !stop.load(Relaxed) {
                let question = question(&format!("{caller}-{}", told.len()), "Hi, a word?");
                let decision = ask(&addr, &question).await;
                told.push((question, decision));
            }
            told
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut daemon = child_after(served.pid(), None);
    let signals = ["KILL", "ABRT", "ILL", "KILL", "ABRT"];
    for name in signals {
        let mut client = Client::connect(&served.control).await.unwrap();
        client.status().await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        signal(daemon, name);
        let before = Some(daemon);
        let pid = served.pid();
        let next = tokio::task::spawn_blocking(move || child_after(pid, before));
        daemon = next.await.unwrap();
    }
    stop.store(true, Relaxed);
    let mut told = Vec::new();
    for caller in callers {
        told.extend(caller.await.unwrap());
    }
    assert_recorded(&told, &recorded(&served.control).await);
    let mut client = Client::connect(&served.control).await.unwrap();
    let restarts = client.status().await.unwrap().restarts.unwrap();
    assert_eq!(restarts.count, signals.len() as u64);
    assert_eq!(restarts.reason, "SIGABRT ended it");
    let shown = shell.run(&["status", "--addr", &served.control]);
    assert!(
        shown.stdout.contains("restarts  5, the last "),
        "{}",
        shown.stdout
    );
}

#[test]
fn more_crashes_than_the_limit_end_it_with_a_code_of_their_own() {
    let shell = Shell::new();
    let served = supervised(&shell, &["--restart-limit", "2"]);
    let mut daemon = None;
    for _ in 0..3 {
        let next = child_after(served.pid(), daemon);
        signal(next, "ABRT");
        daemon = Some(next);
    }
    let ran = served.end(PATIENCE);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    for told in [
        "more than 2 times within 300 s",
        "SIGABRT ended it",
        "judged doctor",
    ] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

#[test]
fn what_a_daemon_says_by_its_exit_code_is_passed_on() {
    let shell = Shell::new();
    let served = supervised(&shell, &[]);
    // The folder is held by the other one.
    let state = shell.home.path().join("state");
    let anywhere = ["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];
    let mut arguments = vec![
        "serve",
        "--supervise",
        "--state-dir",
        state.to_str().unwrap(),
    ];
    arguments.extend(anywhere);
    let second = shell.run(&arguments);
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains("another daemon holds"),
        "{}",
        second.stderr
    );
    assert_eq!(second.stderr.matches("the daemon is started").count(), 1);
    let wrong = shell.run(&["serve", "--supervise", "--queue", "0"]);
    assert_eq!(wrong.code, 2);
    assert!(
        !wrong.stderr.contains("the daemon is started"),
        "{}",
        wrong.stderr
    );
    drop(served);
}

/// The settings by then say what guards another address.
#[test]
fn after_a_crash_no_address_is_served_that_the_settings_no_longer_name() {
    let shell = Shell::new();
    let port = free_port();
    let settings = |more: &str| {
        let text = format!("control_listen = \"127.0.0.1:0\"\nmode = \"rules-only\"\n{more}\n");
        shell.file("judged.toml", &text)
    };
    let public = format!("listen = \"0.0.0.0:{port}\"\nallow_insecure_listen = true");
    let file = settings(&public);
    let log = shell.file("judged.log", "");
    let mut supervisor = shell
        .command(&["serve", "--supervise", "--config", &file, "--log", "info"])
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    let read = || fs::read_to_string(&log).unwrap();
    while !read().contains("listening") {
        assert!(Instant::now() < end, "{}", read());
        std::thread::sleep(Duration::from_millis(10));
    }
    settings(&format!("listen = \"127.0.0.1:{port}\""));
    signal(child_after(supervisor.id(), None), "ABRT");
    let code = loop {
        if let Some(status) = supervisor.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > end {
            let _ = supervisor.kill();
            panic!("it goes on: {}", read());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(code, Some(1), "{}", read());
    for told in ["`listen` has changed", "restart the supervisor"] {
        assert!(read().contains(told), "{}", read());
    }
}

#[test]
fn after_a_crash_metrics_that_nobody_listens_for_are_told() {
    let shell = Shell::new();
    let file = shell.file("judged.toml", "");
    let served = supervised(&shell, &["--config", &file]);
    shell.file("judged.toml", "metrics_listen = \"127.0.0.1:0\"\n");
    let daemon = child_after(served.pid(), None);
    signal(daemon, "ABRT");
    child_after(served.pid(), Some(daemon));
    let status = shell.run(&["status", "--addr", &served.control]);
    assert_eq!(status.code, 0, "{status:?}");
    served.signal("TERM");
    let ran = served.end(PATIENCE);
    for told in ["\"metrics_listen\"", "restart the supervisor"] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

#[test]
fn asked_to_end_it_lets_the_daemon_drain_and_frees_the_port() {
    let shell = Shell::new();
    let served = supervised(&shell, &[]);
    let daemon = child_after(served.pid(), None);
    let addr = served.judge.clone();
    served.signal("TERM");
    let ran = served.end(PATIENCE);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("drained"), "{}", ran.stderr);
    until_gone(daemon, Duration::ZERO);
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn without_its_supervisor_a_daemon_drains_and_ends() {
    let shell = Shell::new();
    let served = supervised(&shell, &[]);
    let daemon = child_after(served.pid(), None);
    let addr = served.judge.clone();
    // SIGKILL.
    drop(served);
    until_gone(daemon, PATIENCE);
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_mark_without_a_supervisor_is_told() {
    let shell = Shell::new();
    let ran = shell.run_with(&["serve"], &[("JUDGED_SUPERVISED", "1")], "");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("unset it"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_daemon_that_nobody_supervises_tells_no_restarts() {
    let shell = Shell::new();
    let served = shell.serve(&["--mode", "rules-only"]);
    let mut client = Client::connect(&served.control).await.unwrap();
    let status: Result<_, ClientError> = client.status().await;
    assert_eq!(status.unwrap().restarts, None);
}
