//! The deadline for a request body.
//!
//! Owns the deadline: a fixed time that every received byte extends, so that a long body can arrive over a slow
//! connection, but a trickling body cannot hold its connection open. It must not interpret the bytes.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use crate::config::Limits;
use crate::http::problem::{Failure, Kind};

/// The deadline for one body that is being received.
pub(crate) struct BodyDeadline {
    began: Instant,
    patience: Duration,
    rate: usize,
    received: u64,
}

impl BodyDeadline {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            began: Instant::now(),
            patience: limits.body_timeout,
            rate: limits.min_body_rate.max(1),
            received: 0,
        }
    }

    /// Returns the next bytes, or `None` at the end of the body.
    pub(crate) async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Failure> {
        loop {
            let earned = Duration::from_secs(self.received / self.rate as u64);
            let Ok(frame) = timeout_at(self.began + self.patience + earned, body.frame()).await else {
                let (patience, rate) = (self.patience.as_secs(), self.rate);
                return Err(Kind::RequestTimeout.because(format!(
                    "the body did not arrive within {patience} s or at {rate} bytes per second: send it again, faster"
                )));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| Kind::BadRequest.because("the body was cut off: send it again"))?;
            // Trailers are ignored.
            if let Ok(bytes) = frame.into_data() {
                self.received += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    /// Returns true if a body of this many pieces of `length` bytes, one per second, arrives in time.
    async fn arrives(pieces: usize, length: usize) -> bool {
        let pieces = stream::unfold(pieces, move |left| async move {
            let left = left.checked_sub(1)?;
            sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![b' '; length])), left))
        });
        let mut body = Body::from_stream(pieces);
        let mut deadline = BodyDeadline::new(&Limits::default());
        loop {
            match deadline.next(&mut body).await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickling_body_is_cut_off_and_a_slow_one_is_not() {
        assert!(arrives(20, 1).await);
        assert!(!arrives(40, 1).await);
        assert!(!arrives(600, 2048).await);
        assert!(arrives(600, 4096).await);
    }
}
