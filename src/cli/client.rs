//! `harness client`: the lab's client, for a look at one node by hand.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use crate::node::http::{Connection, HttpError, Url, escape};

/// Asks one node of the lab's store and prints its answer
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
    #[command(subcommand)]
    ask: Ask,
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
    Get { key: String },
    /// Shows the node's clock, its peers and all it has
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
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("harness client: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let answer = runtime.block_on(async {
        tokio::time::timeout(args.timeout, ask(&args)).await.unwrap_or(Err(HttpError::TimedOut))
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
            let refused = json.as_ref().and_then(|json| json.get("ok")) == Some(&Json::Bool(false));
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

async fn ask(args: &ClientArgs) -> Result<(hyper::StatusCode, Bytes), HttpError> {
    let mut connection = Connection::open(&args.node).await?;
    match &args.ask {
        Ask::Put { key, value } => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value.as_str()));
            let body = json!({"key": key, "value": value}).to_string();
            connection.call("/put", Some(body.into())).await
        }
        Ask::Get { key } => connection.call(&format!("/get?key={}", escape(key)), None).await,
        Ask::Status => connection.call("/status", None).await,
    }
}
