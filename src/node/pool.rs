//! Connections to one peer, kept open between calls.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::time::timeout;

use super::http::{Connection, HttpError, Url};

/// Open connections to a peer that nobody uses just now.
#[derive(Debug)]
pub struct Pool {
    /// Where it listens.
    pub url: Url,
    keep: usize,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// A pool that keeps at most `keep` connections open.
    pub fn new(url: Url, keep: usize) -> Self {
        Pool { url, keep, idle: Mutex::default() }
    }

    /// Sends one request within `patience`: a `POST` of JSON where there is a body, else a `GET`. It may arrive twice,
    /// over a connection that died and a fresh one.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn call(
        &self,
        path: &str,
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let answer = timeout(patience, self.try_call(path, body)).await.unwrap_or(Err(HttpError::TimedOut));
        if answer.is_err() {
            // Whatever silenced this connection has silenced those opened before it.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        answer
    }

    async fn try_call(&self, path: &str, body: Option<Bytes>) -> Result<(StatusCode, Bytes), HttpError> {
        if let Some(mut connection) = self.idle_connection() {
            // One kept open may have died with the peer's last incarnation: that says nothing about this one.
            if let Ok(answer) = connection.call(path, body.clone()).await {
                self.keep(connection);
                return Ok(answer);
            }
        }
        let mut connection = Connection::open(&self.url).await?;
        let answer = connection.call(path, body).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn idle_connection(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(Connection::is_usable)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.keep {
            idle.push(connection);
        }
    }
}
