//! What the kubelet puts into the ServiceAccount's folder: the cluster's CA and the token. What is wrong is one line
//! that does not show the token, and what is right makes one header.

use inference_operator::kubernetes::{tls, token};

pub fn check(data: &[u8]) {
    if let Err(problem) = tls::https(data) {
        let problem = problem.to_string();
        assert!(!problem.is_empty() && !problem.contains(char::is_control), "not one line for a person: {problem:?}");
        assert!(problem.len() < 1000, "{} bytes for a person", problem.len());
    }
    match token::bearer(data) {
        Ok(header) => {
            assert!(header.is_sensitive(), "shown where headers are");
            assert_eq!(header.as_bytes(), [b"Bearer ", data.trim_ascii()].concat());
        }
        Err(problem) => assert!(problem.starts_with("contains ") || problem.starts_with("is too long "), "{problem}"),
    }
}
