//! The ServiceAccount's token: read again from time to time, and after a 401. Called by client.rs for each request;
//! must never reveal a token.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use tower::BoxError;

/// How long a token is used before its file is read again. The kubelet replaces the token when a fifth of its lifetime
/// is left.
const LIFE: Duration = Duration::from_secs(60);

pub struct Token {
    file: PathBuf,
    read: Mutex<Option<(Instant, HeaderValue)>>,
}

impl Token {
    #[must_use]
    pub fn new(file: PathBuf) -> Token {
        Token { file, read: Mutex::new(None) }
    }

    /// The Authorization header of each request. The error names the file.
    pub fn header(&self) -> Result<HeaderValue, BoxError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, header)) = &*read
            && at.elapsed() < LIFE
        {
            return Ok(header.clone());
        }
        let refused = |problem: &dyn std::fmt::Display| format!("{}: {problem}", self.file.display());
        let token = std::fs::read(&self.file).map_err(|error| refused(&error))?;
        let header = bearer(&token).map_err(|problem| refused(&problem))?;
        *read = Some((Instant::now(), header.clone()));
        Ok(header)
    }

    pub fn forget(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The header with this token, marked so that it is never printed (RFC 6750, section 2.1).
pub fn bearer(token: &[u8]) -> Result<HeaderValue, &'static str> {
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err("contains no token");
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("contains characters that are invalid in a token");
    }
    let mut header = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| "is too long for a token")?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_again_after_a_refusal() {
        let file = std::env::temp_dir().join(format!("inference-operator-token-{}", std::process::id()));
        std::fs::write(&file, "one\n").expect("written");
        let token = Token::new(file.clone());
        assert_eq!(token.header().expect("read"), "Bearer one");
        std::fs::write(&file, "two\n").expect("written");
        assert_eq!(token.header().expect("kept"), "Bearer one");
        token.forget();
        assert_eq!(token.header().expect("read"), "Bearer two");
        std::fs::write(&file, "\n").expect("written");
        token.forget();
        let problem = token.header().expect_err("nothing in it").to_string();
        assert!(problem.ends_with(": contains no token") && problem.starts_with('/'), "{problem}");
        std::fs::remove_file(file).expect("removed");
    }

    #[test]
    fn what_is_no_token_is_not_shown() {
        for file in ["", " \n", "two words", "two\nlines", "with\0", "\u{fc}"] {
            let problem = bearer(file.as_bytes()).expect_err(file);
            assert!(problem.starts_with("contains "), "{file:?}: {problem}");
        }
    }
}
