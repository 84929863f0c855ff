//! The cryptography of this client: rustls' own choice of what ring can do, without ChaCha20. Pure data.
//!
//! Why not `ring::default_provider()`: it names ChaCha20, whose code for three kinds of processor is 53 kB of program.
//! Each server that speaks TLS 1.3 can do without (RFC 8446, section 9.1).

use ring::rand::SecureRandom as _;
use rustls::SignatureScheme as Scheme;
use rustls::crypto::ring::{ALL_KX_GROUPS, cipher_suite};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use webpki::ring as algorithm;

pub fn provider(key_provider: &'static dyn KeyProvider) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: ALL_KX_GROUPS.to_vec(),
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Random,
        key_provider,
    }
}

/// rustls has the same, and shows it by `default_provider` alone.
#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        ring::rand::SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// Those of `rustls::crypto::ring`; a test compares the two.
const SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithm::ECDSA_P256_SHA256,
        algorithm::ECDSA_P256_SHA384,
        algorithm::ECDSA_P384_SHA256,
        algorithm::ECDSA_P384_SHA384,
        algorithm::ED25519,
        algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        algorithm::RSA_PKCS1_2048_8192_SHA256,
        algorithm::RSA_PKCS1_2048_8192_SHA384,
        algorithm::RSA_PKCS1_2048_8192_SHA512,
        algorithm::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        algorithm::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        algorithm::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (Scheme::ECDSA_NISTP384_SHA384, &[algorithm::ECDSA_P384_SHA384, algorithm::ECDSA_P256_SHA384]),
        (Scheme::ECDSA_NISTP256_SHA256, &[algorithm::ECDSA_P256_SHA256, algorithm::ECDSA_P384_SHA256]),
        (Scheme::ED25519, &[algorithm::ED25519]),
        (Scheme::RSA_PSS_SHA512, &[algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (Scheme::RSA_PSS_SHA384, &[algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (Scheme::RSA_PSS_SHA256, &[algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (Scheme::RSA_PKCS1_SHA512, &[algorithm::RSA_PKCS1_2048_8192_SHA512]),
        (Scheme::RSA_PKCS1_SHA384, &[algorithm::RSA_PKCS1_2048_8192_SHA384]),
        (Scheme::RSA_PKCS1_SHA256, &[algorithm::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;
    use crate::kubernetes::tls::NoKeys;

    #[test]
    fn all_but_chacha20_is_what_rustls_offers() {
        let (own, theirs) = (provider(&NoKeys), ring::default_provider());
        let names = |all: &[rustls::SupportedCipherSuite]| {
            all.iter().map(rustls::SupportedCipherSuite::suite).collect::<Vec<_>>()
        };
        let mut expected = names(&theirs.cipher_suites);
        expected.retain(|suite| {
            let name = format!("{suite:?}");
            name.starts_with("TLS13_") && !name.contains("CHACHA20")
        });
        assert_eq!(names(&own.cipher_suites), expected);
        let groups =
            |all: &[&dyn rustls::crypto::SupportedKxGroup]| all.iter().map(|group| group.name()).collect::<Vec<_>>();
        assert_eq!(groups(&own.kx_groups), groups(&theirs.kx_groups));
        let (own, theirs) = (own.signature_verification_algorithms, theirs.signature_verification_algorithms);
        assert_eq!(format!("{:?}", own.all), format!("{:?}", theirs.all));
        assert_eq!(format!("{:?}", own.mapping), format!("{:?}", theirs.mapping));
    }
}
