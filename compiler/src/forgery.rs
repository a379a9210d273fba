//! How operator and proxies find out whether the API server proves who approves: they try, by a dry run, to write
//! a review in a name that is not theirs, and look who refuses it. The trying is theirs; here are the words.

/// The name. No authenticator gives names of this form.
pub const NOBODY: &str = "turnpike.dev:forged-to-try-the-guard";

/// Who refuses a review in another's name, and in which words: the chart's `approval-guard.yaml`.
const REFUSAL: [&str; 2] = [
    "ValidatingAdmissionPolicy",
    "a review is written under your own user name alone",
];

/// Whether the API server's message is that of the admission policy on reviews in another's name.
pub fn is_refusal(message: &str) -> bool {
    REFUSAL.iter().all(|words| message.contains(words))
}
