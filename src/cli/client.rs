//! `harness client`: a look at one node by hand.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use hyper::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::EXIT_USAGE;
use crate::node::http::{Connection, HttpError, Url, escape};

/// Asks one node and prints its answer
///
/// Exit code 0: the node did it. 1: it did not, or did not answer.
#[derive(Args, Debug)]
pub struct ClientArgs {
    /// The node to ask
    #[arg(long, value_name = "URL", value_parser = Url::parse, default_value = "http://127.0.0.1:8000")]
    node: Url,
    /// How long to wait for the answer, seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    timeout: Duration,
    /// Which interface it has: the lab's, or that of the store with a leader and quorums
    #[arg(long, value_name = "STORE", default_value = "lww")]
    store: Store,
    #[command(subcommand)]
    ask: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Lww,
    Quorum,
}

#[derive(Subcommand, Debug)]
enum Ask {
    /// Writes VALUE under KEY
    Put {
        key: String,
        /// JSON where it is JSON (17, true, "x", [1,2]), else a string
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Reads KEY
    Get {
        key: String,
        /// Of a quorum store: strong, eventual or read_your_writes
        #[arg(long, value_name = "LEVEL")]
        consistency: Option<String>,
        /// Of a quorum store: what an earlier answer gave as "token"
        #[arg(long, value_name = "TOKEN")]
        token: Option<String>,
    },
    /// Removes KEY, from a quorum store
    Delete { key: String },
    /// Shows what the node is and all it has
    Status,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 3600.0);
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds, above 0 and at most 3600".into())
}

/// Carries out `harness client`.
pub fn main(args: ClientArgs) -> ExitCode {
    let (method, path, body) = match request(&args) {
        Ok(request) => request,
        Err(usage) => {
            eprintln!("harness client: {usage}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("harness client: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let answer = runtime.block_on(async {
        let ask = ask(&args.node, method, &path, body);
        tokio::time::timeout(args.timeout, ask).await.unwrap_or(Err(HttpError::TimedOut))
    });
    runtime.shutdown_background();
    match answer {
        Ok((status, body)) => {
            let json = serde_json::from_slice::<Json>(&body).ok();
            let text = match &json {
                Some(json) => format!("{json:#}"),
                None => String::from_utf8_lossy(&body).trim_end().to_owned(),
            };
            // Whoever closes the pipe has seen enough.
            let _ = writeln!(io::stdout(), "{text}");
            // Some nodes say no with a 200.
            let said = |field| json.as_ref().and_then(|json| json.get(field)) == Some(&Json::Bool(false));
            let refused = said("ok") || said("success");
            if status.is_success() && !refused {
                return ExitCode::SUCCESS;
            }
            eprintln!("harness client: {} answered {status}", args.node.as_str());
            ExitCode::FAILURE
        }
        Err(error) => {
            let waited = match error {
                HttpError::TimedOut => format!(" (waited {:?})", args.timeout),
                _ => String::new(),
            };
            eprintln!("harness client: {}: {error}{waited}", args.node.as_str());
            ExitCode::FAILURE
        }
    }
}

async fn ask(
    node: &Url,
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<(StatusCode, Bytes), HttpError> {
    Connection::open(node).await?.send(method, path, body).await
}

/// What to send.
fn request(args: &ClientArgs) -> Result<(Method, String, Option<Bytes>), String> {
    let json = |value: &str| serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
    let of_key = |key: &str| format!("/key/{}", escape(key));
    Ok(match (args.store, &args.ask) {
        (_, Ask::Status) => (Method::GET, "/status".into(), None),
        (Store::Lww, Ask::Put { key, value }) => {
            let body = json!({"key": key, "value": json(value)}).to_string();
            (Method::POST, "/put".into(), Some(body.into()))
        }
        (Store::Lww, Ask::Get { key, consistency: None, token: None }) => {
            (Method::GET, format!("/get?key={}", escape(key)), None)
        }
        (Store::Lww, _) => {
            return Err(
                "the lab's store has neither levels nor deletes; with --store quorum there are".into()
            );
        }
        (Store::Quorum, Ask::Put { key, value }) => {
            (Method::PUT, of_key(key), Some(json(value).to_string().into()))
        }
        (Store::Quorum, Ask::Delete { key }) => (Method::DELETE, of_key(key), None),
        (Store::Quorum, Ask::Get { key, consistency, token }) => {
            let asked = [("consistency", consistency), ("token", token)];
            let query = asked.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
            let query: Vec<String> = query.map(|(name, value)| format!("{name}={}", escape(value))).collect();
            let mark = if query.is_empty() { "" } else { "?" };
            (Method::GET, format!("{}{mark}{}", of_key(key), query.join("&")), None)
        }
    })
}
