//! Answers to batches as they come from Google, and as they go back to agents.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    BatchError, Malady, id_upstream,
    message::Message,
    request::{http_type, write, write_headers},
};
use crate::multipart::{self, Kind, Limits, MultipartError, boundary};

const CONTENT_ID: HeaderName = HeaderName::from_static("content-id");
/// Headers that are not written into a part: those of a connection, a length that is written anew, and cookies.
const UNWRITTEN: [HeaderName; 9] = [
    header::ALT_SVC,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The answer to one call of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerAnswer {
    /// Which call it answers, from zero.
    pub index: usize,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Takes the answer to a batch of so many calls apart. The answers come in the order of the calls, whatever
/// order they had.
///
/// # Errors
/// [`BatchError`] where it cannot be read in one way only, or does not answer each call once.
pub fn parse_answer(content_type: &str, body: &Bytes, calls: usize) -> Result<Vec<InnerAnswer>, BatchError> {
    let limits = Limits::parts(calls);
    let parts = multipart::parse(content_type, Kind::Mixed, body, limits).map_err(|error| match error {
        MultipartError::TooManyParts(_) => BatchError::AnswerUnknown,
        other => BatchError::Multipart(other),
    })?;
    let mut answers: Vec<Option<InnerAnswer>> = Vec::new();
    answers.resize_with(calls, || None);
    for (position, part) in parts.iter().enumerate() {
        http_type(&part.headers).map_err(|malady| malady.of(position))?;
        let id = part.headers.get(CONTENT_ID).ok_or(BatchError::AnswerUnknown)?;
        let index = (0..calls)
            .find(|index| id.as_bytes() == response_id(&id_upstream(*index)).as_bytes())
            .ok_or(BatchError::AnswerUnknown)?;
        let message = Message::read(&part.body).map_err(|malady| malady.of(index))?;
        let status = status_line(&message.first_line).ok_or_else(|| Malady::FirstLine.of(index))?;
        let slot = answers.get_mut(index).ok_or(BatchError::AnswerUnknown)?;
        if slot.is_some() {
            return Err(BatchError::AnswerRepeated(index));
        }
        *slot = Some(InnerAnswer {
            index,
            status,
            headers: message.headers,
            body: message.body,
        });
    }
    let found = answers.into_iter().enumerate();
    found
        .map(|(index, answer)| answer.ok_or(BatchError::AnswerMissing(index)))
        .collect()
}

/// `HTTP/1.1 200 OK`.
fn status_line(line: &str) -> Option<StatusCode> {
    let rest = line.strip_prefix("HTTP/1.1 ")?;
    let code = match rest.split_once(' ') {
        Some((code, _)) => code,
        None => rest,
    };
    let status = StatusCode::from_bytes(code.as_bytes()).ok()?;
    (200..600).contains(&status.as_u16()).then_some(status)
}

/// Writes the answers for the agent, under the ids of its calls, and gives the `Content-Type`. Clients find the
/// calls by order or by id, so the order is that of the calls.
///
/// # Errors
/// [`BatchError::AnswerMissing`] and [`BatchError::AnswerUnknown`] where answers and ids do not fit.
pub fn rebuild_answer(
    answers: &[InnerAnswer],
    content_ids: &[Option<HeaderValue>],
) -> Result<(HeaderValue, Bytes), BatchError> {
    if answers.len() > content_ids.len() {
        return Err(BatchError::AnswerUnknown);
    }
    let mut parts = Vec::with_capacity(content_ids.len());
    for (index, id) in content_ids.iter().enumerate() {
        let mut of_call = answers.iter().filter(|a| a.index == index);
        let answer = of_call.next().ok_or(BatchError::AnswerMissing(index))?;
        if of_call.next().is_some() {
            return Err(BatchError::AnswerRepeated(index));
        }
        let id = match id {
            Some(id) => Some(response_id(id.to_str().map_err(|_| BatchError::Unwritable)?)),
            None => None,
        };
        parts.push((id, head(answer), &answer.body));
    }
    let boundary = boundary::of_content(
        parts
            .iter()
            .flat_map(|(_, head, body)| [head.as_slice(), body.as_ref()]),
    );
    let whole = write(
        &boundary,
        parts
            .iter()
            .map(|(id, head, body)| (id.clone(), head.as_slice(), body.as_ref())),
    );
    let content_type = Kind::Mixed
        .content_type(&boundary)
        .map_err(|_| BatchError::Unwritable)?;
    Ok((content_type, whole))
}

fn head(answer: &InnerAnswer) -> Vec<u8> {
    let status = answer.status;
    // Clients split at the second space, so there is always one.
    let phrase = status.canonical_reason().unwrap_or("Status");
    let mut head = format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16()).into_bytes();
    write_headers(&mut head, &answer.headers, |name| !UNWRITTEN.contains(name));
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if !(bodiless && answer.body.is_empty()) {
        head.extend_from_slice(format!("content-length: {}\r\n", answer.body.len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The id of an answer: Google puts `response-` before that of the call, inside its angle brackets.
fn response_id(id: &str) -> String {
    match id.strip_prefix('<') {
        Some(rest) => format!("<response-{rest}"),
        None => format!("response-{id}"),
    }
}
