//! Bearer tokens: who may call what, told with stable reasons, and changed while the
//! daemon runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::command::Shell;
use crate::support::daemon::{Daemon, Setup, request, with_id};
use judged::client::{Access, Client, ClientError, Question};
use judged::rpc::proto::judge_stream_response::Event;
use judged::rpc::proto::{
    GetDecisionRequest, GetStatusRequest, JudgeStreamRequest, ReportOutcomeRequest,
};
use judged::tokens::{self, Scope};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

/// A daemon with a file of tokens, which the test can change.
struct Guarded {
    daemon: Daemon,
    file: PathBuf,
    _folder: TempDir,
}

fn entry(name: &str, token: &str, scopes: &[Scope]) -> String {
    let scopes: BTreeSet<Scope> = scopes.iter().copied().collect();
    tokens::entry_text(name, token, &scopes).unwrap()
}

impl Guarded {
    async fn start(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("tokens.toml");
        fs::write(&file, text).unwrap();
        let path = file.clone();
        let daemon = Setup::new()
            .with(|config| config.edge.guard.tokens = Some(path))
            .start()
            .await;
        Self {
            daemon,
            file,
            _folder: folder,
        }
    }

    async fn judge(&self, token: &str) -> Result<(), Status> {
        let call = with(request("say:PASS"), token);
        self.daemon.client().judge(call).await.map(|_| ())
    }

    async fn report(&self, token: &str) -> Result<(), Status> {
        let call = with(ReportOutcomeRequest::default(), token);
        self.daemon.client().report_outcome(call).await.map(|_| ())
    }

    async fn status(&self, token: &str) -> Result<(), Status> {
        let call = with(GetStatusRequest {}, token);
        let answer = self.daemon.control_client().get_status(call).await;
        answer.map(|_| ())
    }

    /// All at once: the daemon may read at any moment.
    fn replace(&self, text: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, &self.file).unwrap();
    }

    /// Until this token lets judge, or no more.
    async fn until(&self, token: &str, lets_in: bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.judge(token).await.is_ok() != lets_in {
            assert!(Instant::now() < end, "the file was not read again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn header(token: &str) -> MetadataValue<Ascii> {
    format!("Bearer {token}").parse().unwrap()
}

fn with<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", header(token));
    request
}

fn told(outcome: Result<(), Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.domain, "judged");
    (status.code(), info.reason.clone())
}

fn unauthenticated(reason: &str) -> (Code, String) {
    (Code::Unauthenticated, reason.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scope_lets_its_own_calls_in_and_no_others() {
    let all = Scope::ALL.map(|scope| (scope, tokens::fresh().unwrap()));
    let text = all
        .iter()
        .map(|(scope, token)| entry(scope.as_str(), token, &[*scope]))
        .collect::<String>();
    let guarded = Guarded::start(&text).await;
    let denied = (Code::PermissionDenied, "SCOPE_MISSING".to_owned());
    for (scope, token) in &all {
        let outcomes = [
            (Scope::Judge, guarded.judge(token).await),
            (Scope::Feedback, guarded.report(token).await),
            (Scope::Control, guarded.status(token).await),
        ];
        for (needed, outcome) in outcomes {
            if needed != *scope {
                assert_eq!(told(outcome), denied, "{scope} for {needed}");
                continue;
            }
            match needed {
                // The report itself is empty: it was let in to be told so.
                Scope::Feedback => {
                    assert_eq!(told(outcome).0, Code::InvalidArgument);
                }
                Scope::Judge | Scope::Control => outcome.unwrap(),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_known_token_nobody_is_let_in() {
    let token = tokens::fresh().unwrap();
    let guarded = Guarded::start(&entry("crm", &token, &Scope::ALL)).await;
    guarded.judge(&token).await.unwrap();

    let missing = guarded.daemon.ask(request("say:PASS")).await;
    assert_eq!(told(missing.map(|_| ())), unauthenticated("TOKEN_MISSING"));
    let other = tokens::fresh().unwrap();
    for unknown in [
        other.as_str(),
        "",
        "judged_",
        &token[1..],
        &token.to_uppercase(),
    ] {
        let outcome = guarded.judge(unknown).await;
        assert_eq!(told(outcome), unauthenticated("TOKEN_UNKNOWN"), "{unknown}");
    }
    // Neither another scheme nor a choice of two.
    let mut basic = Request::new(request("say:PASS"));
    let value = format!("Basic {token}").parse().unwrap();
    basic.metadata_mut().insert("authorization", value);
    let mut two = with(request("say:PASS"), &other);
    two.metadata_mut().append("authorization", header(&token));
    for call in [basic, two] {
        let outcome = guarded.daemon.client().judge(call).await;
        assert_eq!(told(outcome.map(|_| ())), unauthenticated("TOKEN_MISSING"));
    }
    assert_eq!(guarded.daemon.judge.tally().by_model, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_kept_with_the_name_of_the_token_that_asked_for_it() {
    let token = tokens::fresh().unwrap();
    let guarded = Guarded::start(&entry("crm", &token, &Scope::ALL)).await;
    let mut client = guarded.daemon.client();
    let asked = client.judge(with(request("say:PASS"), &token)).await;
    let mut ids = vec![asked.unwrap().into_inner().decision_id];
    let message = JudgeStreamRequest {
        request: Some(with_id("streamed", "say:PASS")),
    };
    let asked = with(tokio_stream::once(message), &token);
    let mut events = client.judge_stream(asked).await.unwrap().into_inner();
    match events.message().await.unwrap().unwrap().event {
        Some(Event::Verdict(verdict)) => ids.push(verdict.decision_id),
        event => unreachable!("{event:?}"),
    }
    for decision_id in ids {
        let asked = with(GetDecisionRequest { decision_id }, &token);
        let found = guarded.daemon.control_client().get_decision(asked).await;
        let decision = found.unwrap().into_inner().decision.unwrap();
        assert_eq!(decision.caller, "crm");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_a_decision_names_no_caller() {
    let daemon = Setup::new().start().await;
    let asked = daemon.ask(request("say:PASS")).await.unwrap();
    let mut control = Client::connect(&daemon.control_addr).await.unwrap();
    let entry = control.decision(&asked.decision_id).await.unwrap();
    assert_eq!(entry.record.caller, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_needs_no_token_and_reflection_needs_one() {
    let token = tokens::fresh().unwrap();
    let guarded = Guarded::start(&entry("crm", &token, &[Scope::Feedback])).await;
    let mut health = HealthClient::new(guarded.daemon.connection.clone());
    let question = HealthCheckRequest {
        service: String::new(),
    };
    health.check(question).await.unwrap();

    let mut reflection = ServerReflectionClient::new(guarded.daemon.connection.clone());
    let question = || tokio_stream::iter([ServerReflectionRequest::default()]);
    let outcome = reflection.server_reflection_info(question()).await;
    assert_eq!(told(outcome.map(|_| ())), unauthenticated("TOKEN_MISSING"));
    let call = with(question(), &token);
    reflection.server_reflection_info(call).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_taken_out_of_the_file_ends_its_calls_and_its_open_streams() {
    let (kept, revoked) = (tokens::fresh().unwrap(), tokens::fresh().unwrap());
    let kept_entry = entry("kept", &kept, &[Scope::Judge]);
    let both = kept_entry.clone() + &entry("revoked", &revoked, &[Scope::Judge]);
    let guarded = Guarded::start(&both).await;
    let (requests, inbox) = mpsc::channel(1);
    let opening = with(ReceiverStream::new(inbox), &revoked);
    let answers = guarded.daemon.client().judge_stream(opening).await;
    let mut answers = answers.unwrap().into_inner();
    let ask = async |id: &str| {
        let mut question = request("say:PASS");
        question.request_id = id.to_owned();
        let message = JudgeStreamRequest {
            request: Some(question),
        };
        requests.send(message).await.unwrap();
    };
    ask("before").await;
    // Its verdict and its rationale.
    answers.message().await.unwrap().unwrap();
    answers.message().await.unwrap().unwrap();

    guarded.replace(&kept_entry);
    guarded.until(&revoked, false).await;
    guarded.judge(&kept).await.unwrap();
    ask("after").await;
    let ended = answers.message().await.map(|_| ());
    assert_eq!(told(ended), unauthenticated("TOKEN_UNKNOWN"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_changes_nothing_and_an_empty_one_lets_nobody_in() {
    let (token, next) = (tokens::fresh().unwrap(), tokens::fresh().unwrap());
    let guarded = Guarded::start(&entry("crm", &token, &[Scope::Judge])).await;
    for broken in ["[[token]]\nname = ", "\u{0}"] {
        guarded.replace(broken);
        tokio::time::sleep(Duration::from_millis(1300)).await;
        guarded.judge(&token).await.unwrap();
    }
    guarded.replace(&entry("crm", &next, &[Scope::Judge]));
    guarded.until(&next, true).await;
    guarded.judge(&token).await.unwrap_err();
    guarded.replace("");
    guarded.until(&next, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_client_shows_its_token() {
    let token = tokens::fresh().unwrap();
    let guarded = Guarded::start(&entry("crm", &token, &[Scope::Judge])).await;
    let ask = async |access: Access| {
        let mut client = Client::connect_with(&guarded.daemon.judge_addr, &access).await?;
        let question = Question {
            context_json: "{}".to_owned(),
            draft: "say:PASS".to_owned(),
            ..Question::default()
        };
        client.judge(question).await
    };
    let access = Access {
        token: Some(token),
        ..Access::default()
    };
    ask(access).await.unwrap();
    match ask(Access::default()).await {
        Err(error @ ClientError::Refused { .. }) => {
            assert_eq!(error.reason().as_deref(), Some("TOKEN_MISSING"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_from_the_command_line_is_known_to_the_daemon_and_its_name_to_the_log() {
    let shell = Shell::new();
    let file = shell.file("tokens.toml", "");
    let new = |name: &str, scopes: &[&str]| {
        let arguments = ["token", "new", "--name", name, "--tokens", &file];
        let made = shell.run(&[&arguments[..], scopes].concat());
        assert_eq!(made.code, 0, "{made:?}");
        assert!(
            !fs::read_to_string(&file)
                .unwrap()
                .contains(made.stdout.trim())
        );
        shell.file(&format!("{name}.token"), &made.stdout)
    };
    let ops = new("ops", &["--scope", "control", "--scope", "judge"]);
    let served = shell.serve(&["--mode", "rules-only", "--tokens", &file]);
    let crm = new("crm", &["--scope", "judge"]);

    let status = |more: &[&str]| {
        let arguments = ["status", "--addr", &served.control];
        shell.run(&[&arguments[..], more].concat())
    };
    let answered = status(&["--token-file", &ops]);
    assert_eq!(answered.code, 0, "{answered:?}");
    let arguments = ["decisions", "--addr", &served.control, "--token-file", &ops];
    let listed = shell.run(&arguments);
    assert_eq!(listed.code, 0, "{listed:?}");
    let refused = status(&[]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("authorization"), "{refused:?}");

    // The daemon sees the second one within seconds.
    let end = Instant::now() + Duration::from_secs(30);
    let token = fs::read_to_string(&crm).unwrap();
    let judge = [
        "judge",
        "--addr",
        &served.judge,
        "--context",
        "{}",
        "--draft",
        "Hi",
    ];
    let refused = loop {
        let refused = status(&["--token-file", &crm]);
        if refused.stderr.contains("lacks the scope") || Instant::now() > end {
            break refused;
        }
    };
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("`crm` lacks the scope `control`"));
    let judged = shell.run_with(&judge, &[("JUDGED_TOKEN", token.trim())], "");
    assert_eq!(judged.code, 0, "{judged:?}");
    let export = ["decisions", "export", "--addr", &served.control];
    let export = shell.run(&[&export[..], &["--token-file", &ops]].concat());
    assert_eq!(export.json()[0]["caller"], "crm", "{export:?}");
    let id = export.json()[0]["decision_id"].as_str().unwrap().to_owned();
    let show = ["decisions", "show", &id, "--addr", &served.control];
    let shown = shell.run(&[&show[..], &["--token-file", &ops]].concat());
    assert!(shown.stdout.contains("  caller     crm\n"), "{shown:?}");

    // Whoever empties the file by mistake finds why nobody is let in.
    fs::rename(shell.file("next.toml", ""), &file).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while status(&["--token-file", &ops]).code == 0 {
        assert!(Instant::now() < end, "the file was not read again");
    }
    served.signal("TERM");
    let log = served.end(Duration::from_secs(30)).stderr;
    assert!(log.contains(r#""caller":"ops""#), "{log}");
    assert!(!log.contains(token.trim()), "a token is in the log");
    let warned = "no token is known: nobody is let in";
    assert!(log.contains(warned), "{log}");
}

#[test]
fn a_second_token_of_a_name_is_refused_and_the_file_stays_as_it_was() {
    let shell = Shell::new();
    let file = shell.home.path().join("tokens.toml");
    let file = file.to_str().unwrap();
    let arguments = [
        "token", "new", "--name", "crm", "--scope", "judge", "--tokens", file,
    ];
    assert_eq!(shell.run(&arguments).code, 0);
    let before = fs::read_to_string(file).unwrap();
    let again = shell.run(&arguments);
    assert_eq!((again.code, again.stdout.as_str()), (1, ""));
    assert!(again.stderr.contains("two tokens have the name `crm`"));
    assert_eq!(fs::read_to_string(file).unwrap(), before);
}
