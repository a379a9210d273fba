//! Secrets for tests, made when they run: none stands in a source.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

pub(crate) const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
pub(crate) const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub(crate) const DIGITS: &str = "0123456789";

/// A made-up series of bytes, the same for the same seed.
pub(crate) struct Made(u64);

impl Made {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// So many characters of these alphabets.
    pub(crate) fn text(&mut self, alphabets: &[&str], length: usize) -> String {
        let all: Vec<char> = alphabets.iter().flat_map(|a| a.chars()).collect();
        (0..length)
            .map(|_| all[self.next() as usize % all.len()])
            .collect()
    }

    pub(crate) fn alnum(&mut self, length: usize) -> String {
        self.text(&[LOWER, UPPER, DIGITS], length)
    }

    pub(crate) fn url_safe(&mut self, length: usize) -> String {
        self.text(&[LOWER, UPPER, DIGITS, "-_"], length)
    }

    pub(crate) fn base64(&mut self, length: usize) -> String {
        self.text(&[LOWER, UPPER, DIGITS, "+/"], length)
    }

    pub(crate) fn hex(&mut self, length: usize) -> String {
        self.text(&[DIGITS, "abcdef"], length)
    }

    /// A private key in PEM form of so many bytes.
    pub(crate) fn pem(&mut self, label: &str, bytes: usize) -> String {
        let body = STANDARD.encode(self.bytes(bytes));
        let lines: Vec<&str> = (0..body.len())
            .step_by(64)
            .map(|at| &body[at..body.len().min(at + 64)])
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    }

    /// A signed token with these claims.
    pub(crate) fn jwt(&mut self, claims: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let payload = URL_SAFE_NO_PAD.encode(claims);
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(self.bytes(256)))
    }

    /// The key of a service account, as Google gives it out.
    pub(crate) fn service_account(&mut self) -> String {
        let key = self.pem("PRIVATE KEY", 1216).replace('\n', "\\n");
        format!(
            "{{\n  \"type\": \"service_account\",\n  \"project_id\": \"acme-dev\",\n  \"private_key_id\": \"{}\",\n  \
             \"private_key\": \"{key}\",\n  \"client_email\": \"ci@acme-dev.iam.gserviceaccount.com\"\n}}\n",
            self.hex(40)
        )
    }
}

/// Text in base64.
pub(crate) fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}
