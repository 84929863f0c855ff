//! Servers that are no API server, misbehave or are hostile: no crash, no growth, no request storm, a clear message
//! in the log, and recovery once the server is healthy. All run at once, because most of the time is waiting.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::certificates::Authority;
use crate::fake_api_server::{FakeApiServer, RawResponse, Scope, Then, http};
use crate::support::wait::within;
use crate::support::{Operator, eventually};

/// The operator's memory may grow by this many kB: three times the highest measured value, 212. Each of these servers
/// sends many times as much meanwhile.
const GROWTH: u64 = 640;

/// The least time for which a server misbehaves.
const PERIOD: Duration = Duration::from_secs(15);

/// The operator waits half a minute for a response.
const PATIENCE: Duration = Duration::from_secs(120);

/// An endless response sends this much at this interval: 40 MB in the half minute after which the operator gives up.
const CHUNK: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(50);

const JSON: &str = "application/json";

fn closing(text: Vec<u8>) -> RawResponse {
    RawResponse { text, then: Then::Close }
}

fn endless(text: Vec<u8>, again: &str) -> RawResponse {
    let again = again.repeat(CHUNK / again.len());
    RawResponse { text, then: Then::Forever(again.into_bytes(), PAUSE) }
}

struct Trial {
    name: String,
    server: FakeApiServer,
    operator: Operator,
    authority: Authority,
    began: Instant,
    memory: u64,
}

impl Trial {
    async fn start(name: &str, scope: Scope, answer: RawResponse) -> Trial {
        let authority = Authority::new();
        let certificate = authority.server();
        Trial::with(name, authority, FakeApiServer::start(certificate, scope, answer).await).await
    }

    /// Starts an operator and waits until it has connected to the server.
    async fn with(name: &str, authority: Authority, server: FakeApiServer) -> Trial {
        let operator = Operator::spawn_at(name, "secret", &server.listener.port, &authority.pem, &[]);
        within(PATIENCE, "the server is asked", || async {
            if server.listener.connections() > 0 { Ok(()) } else { Err(operator.log()) }
        })
        .await;
        let memory = operator.peak_memory();
        Trial { name: name.to_owned(), server, operator, authority, began: Instant::now(), memory }
    }

    async fn log_says(&self, word: &str) {
        within(PATIENCE, &format!("the log says {word:?}"), || async {
            if self.operator.log().contains(word) { Ok(()) } else { Err(self.operator.log()) }
        })
        .await;
    }

    /// Must be called once the server has misbehaved for a while. `askers`: the operator's concurrent requests.
    async fn stays_within_limits(&self, askers: usize) {
        tokio::time::sleep(PERIOD.saturating_sub(self.began.elapsed())).await;
        let (seconds, asked) = (self.began.elapsed().as_secs(), self.server.listener.connections());
        // The backoff doubles from a quarter of a second to five seconds.
        let bound = askers * (7 + usize::try_from(seconds / 5).unwrap_or(0));
        // The kernel's counters may lag by some pages.
        let growth = self.operator.peak_memory().saturating_sub(self.memory);
        println!("{}: {asked} connections in {seconds} s (at most {bound}), {growth} kB more memory", self.name);
        assert!(asked <= bound, "{asked} connections in {seconds} s:\n{}", self.operator.log());
        assert!(growth <= GROWTH, "{growth} kB more memory");
        assert!(!self.operator.log().contains("secret"), "a token in the log");
        let warnings = self.operator.lines_with("waiting for");
        assert!(warnings <= askers, "{warnings} warnings:\n{}", self.operator.log());
    }

    async fn recovers(&self) {
        self.server.recover();
        self.operator.ready().await;
    }
}

/// A server that gives every request this response from the start.
async fn survives(name: &str, answer: RawResponse, word: &str) {
    let trial = Trial::start(name, Scope::All, answer).await;
    trial.log_says(word).await;
    trial.stays_within_limits(1).await;
    trial.recovers().await;
}

#[tokio::test]
async fn a_page_of_html_is_recognised() {
    survives("html", closing(http("200 OK", "text/html", "<html>Welcome!</html>")), "not the expected JSON").await;
}

#[tokio::test]
async fn an_error_page_is_shown() {
    let page = http("503 Service Unavailable", "text/html", "<html>try again later</html>");
    survives("errorpage", closing(page), "<html>try again later</html>").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_token_with_it() {
    let authority = Authority::new();
    let other = FakeApiServer::start(authority.server(), Scope::All, closing(Vec::new())).await;
    let location =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: https://127.0.0.1:{}/\r\n", other.listener.port);
    let answer = closing(format!("{location}content-length: 0\r\nconnection: close\r\n\r\n").into_bytes());
    let server = FakeApiServer::start(authority.server(), Scope::All, answer).await;
    let trial = Trial::with("redirect", authority, server).await;
    trial.log_says("307 Temporary Redirect").await;
    trial.stays_within_limits(1).await;
    assert_eq!(other.listener.connections(), 0);
    trial.recovers().await;
}

#[tokio::test]
async fn an_answer_that_trickles_is_given_up() {
    let answer = RawResponse { text: b"HTTP/1.1 200 OK\r\nx: ".to_vec(), then: Then::Forever(b"x".to_vec(), PAUSE) };
    survives("trickle", answer, "no response within 30 s").await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    survives("silent", RawResponse { text: Vec::new(), then: Then::Silence }, "no response within 30 s").await;
}

#[tokio::test]
async fn a_server_that_hangs_up_is_not_called_without_a_pause() {
    survives("hangsup", closing(Vec::new()), "connection closed before message completed").await;
}

#[tokio::test]
async fn a_header_without_end_is_given_up() {
    survives("header", endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), "x"), "message head is too large").await;
}

#[tokio::test]
async fn headers_without_end_are_given_up() {
    survives("headers", endless(b"HTTP/1.1 200 OK\r\n".to_vec(), "x: y\r\n"), "message head is too large").await;
}

#[tokio::test]
async fn gzip_that_nobody_asked_for_is_recognised() {
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
    let body = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0];
    survives("gzip", closing([&head[..], &body].concat()), "not the expected JSON").await;
}

#[tokio::test]
async fn an_object_without_end_is_given_up() {
    let cases = [
        ("annotations", r#"{"type":"ADDED","object":{"metadata":{"annotations":{"a":""#, "x"),
        ("name", r#"{"type":"ADDED","object":{"metadata":{"name":""#, "x"),
        ("depth", r#"{"type":"ADDED","object":{"spec":"#, "["),
        ("keys", r#"{"type":"ADDED","object":{"metadata":{""#, "x"),
        ("blanks", "", " "),
    ];
    join_all(cases.map(|(name, beginning, again)| async move {
        let answer = endless(http("200 OK", JSON, beginning), again);
        survives(&format!("endless-{name}"), answer, "timed out while reading the list").await;
    }))
    .await;
}

#[tokio::test]
async fn a_refusal_without_end_is_given_up() {
    let beginning = http("500 Internal Server Error", JSON, r#"{"kind":"Status","message":""#);
    survives("refusal", endless(beginning, "x"), "no response within 30 s").await;
}

/// The operator cannot distinguish it from a large cluster, but it costs no memory.
#[tokio::test]
async fn a_list_without_end_costs_no_memory() {
    let line = concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"demo","namespace":"default","resourceVersion":"1","#,
        r#""uid":"00000000-0000-4000-8000-000000000001","generation":1},"spec":{"model":"m","gpuType":"L40S"}}}"#,
        "\n"
    );
    survives("endless-list", endless(http("200 OK", JSON, ""), line), "starting").await;
}

#[tokio::test]
async fn watches_that_say_nonsense_are_named() {
    let lines = "nonsense\n{}\n{\"type\":\"ADDED\"}\n";
    let trial = Trial::start("nonsense", Scope::Watches, closing(http("200 OK", JSON, lines))).await;
    trial.operator.ready().await;
    // The lists were healthy, and so are the watches, until they end.
    trial.server.listener.cut();
    trial.log_says("not the expected JSON").await;
    trial.stays_within_limits(4).await;
    trial.server.recover();
    eventually("all four watches are well again", || async {
        let well = trial.operator.lines_with(" watching resource");
        if well == 4 { Ok(()) } else { Err(trial.operator.log()) }
    })
    .await;
}

/// One InferenceService must be reconciled, and every request for it fails.
#[tokio::test]
async fn an_object_that_cannot_be_read_is_tried_again_at_a_slow_pace() {
    let cases = [
        ("html", closing(http("200 OK", "text/html", "<html>")), "not the expected JSON"),
        (
            "redirect",
            closing(b"HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\nconnection: close\r\n\r\n".to_vec()),
            "302 Found",
        ),
        ("another", closing(http("200 OK", JSON, r#"{"kind":"Cat","name":"Tom"}"#)), "cannot decode the response"),
        ("empty", closing(http("200 OK", JSON, "")), "the response is empty"),
        ("endless", endless(http("200 OK", JSON, r#"{"metadata":{"name":""#), "x"), "timed out after 30 s"),
    ];
    join_all(cases.map(|(name, answer, word)| async move {
        let trial = Trial::start(&format!("object-{name}"), Scope::Objects, answer).await;
        trial.log_says(word).await;
        // Three watches are opened, and stay open.
        trial.stays_within_limits(2).await;
        let is_made = || trial.server.asked().iter().any(|(line, _)| line.starts_with("POST"));
        assert!(!is_made(), "nothing is made without a look");
        trial.server.recover();
        within(PATIENCE, "it goes on", || async { if is_made() { Ok(()) } else { Err(trial.operator.log()) } }).await;
    }))
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_not_the_api_servers_gets_no_token() {
    let stranger = &Authority::new();
    let cases =
        [("another-name", "not valid for name"), ("another-ca", "UnknownIssuer"), ("expired", "certificate expired")];
    join_all(cases.map(|(name, word)| async move {
        let authority = Authority::new();
        let certificate = match name {
            "another-name" => authority.sign("DNS:kubernetes.example.com", "2"),
            "another-ca" => stranger.server(),
            _ => authority.sign("IP:127.0.0.1", "0"),
        };
        // It expires within this second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let server = FakeApiServer::start(certificate, Scope::All, closing(Vec::new())).await;
        let trial = Trial::with(name, authority, server).await;
        trial.log_says(word).await;
        trial.stays_within_limits(1).await;
        assert!(trial.server.asked().is_empty(), "it was asked");
        trial.server.listener.present(trial.authority.server());
        trial.recovers().await;
        assert!(trial.server.asked().iter().all(|(_, has_token)| *has_token));
    }))
    .await;
}
