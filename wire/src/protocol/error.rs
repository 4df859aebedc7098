//! What a request is answered with when it cannot be done.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

use super::json;

/// Why a request failed, as the numbers of the wire.
///
/// # Source
/// JSON-RPC 2.0, section 5.1, for those from -32700 to -32600; -32001 and below are Freshet's own, within the
/// range the specification leaves to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// The text is no JSON.
    ParseError = -32700,
    /// The JSON is no request.
    InvalidRequest = -32600,
    /// No method of that name.
    MethodNotFound = -32601,
    /// A parameter is missing, unknown or of the wrong type.
    InvalidParams = -32602,
    /// A fault of the server.
    Internal = -32603,
    /// No valid token.
    Unauthenticated = -32001,
    /// A valid token without the right.
    Forbidden = -32002,
    /// No collection of that name.
    UnknownCollection = -32003,
    /// A text that can be no key of the collection.
    InvalidKey = -32004,
    /// The database refuses the value; `data` names column and constraint.
    InvalidValue = -32005,
    /// The record is not at `if_stamp`; `data.stamp` is where it is.
    VersionConflict = -32006,
    /// Beyond a size limit.
    TooLarge = -32007,
    /// This client asks too often.
    RateLimited = -32008,
    /// The node sheds load.
    Overloaded = -32009,
    /// Nothing that holds the record can answer.
    Unavailable = -32010,
    /// Time ran out.
    Deadline = -32011,
    /// A write that may or may not have happened.
    OutcomeUnknown = -32012,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 17] = [
        Code::ParseError,
        Code::InvalidRequest,
        Code::MethodNotFound,
        Code::InvalidParams,
        Code::Internal,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::UnknownCollection,
        Code::InvalidKey,
        Code::InvalidValue,
        Code::VersionConflict,
        Code::TooLarge,
        Code::RateLimited,
        Code::Overloaded,
        Code::Unavailable,
        Code::Deadline,
        Code::OutcomeUnknown,
    ];

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The code of that number, if it is one of ours.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| i64::from(code.number()) == number)
    }

    /// The stable word for `data.reason`, unless the error is given a narrower one.
    pub const fn reason(self) -> &'static str {
        match self {
            Code::ParseError => "parse_error",
            Code::InvalidRequest => "invalid_request",
            Code::MethodNotFound => "method_not_found",
            Code::InvalidParams => "invalid_params",
            Code::Internal => "internal",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::UnknownCollection => "unknown_collection",
            Code::InvalidKey => "invalid_key",
            Code::InvalidValue => "invalid_value",
            Code::VersionConflict => "version_conflict",
            Code::TooLarge => "too_large",
            Code::RateLimited => "rate_limited",
            Code::Overloaded => "overloaded",
            Code::Unavailable => "unavailable",
            Code::Deadline => "deadline",
            Code::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Whether the same request may succeed later and did nothing now. [`Code::OutcomeUnknown`] is not of these:
    /// it is safe to repeat only with its idempotency key. A [`Code::Deadline`] said of a write means it did not happen.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Code::RateLimited | Code::Overloaded | Code::Unavailable | Code::Deadline)
    }
}

/// An error object: code, message for people, reason for programs, and what else helps.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// The number and its meaning.
    pub code: Code,
    /// For people; names what was wrong.
    pub message: String,
    /// `data.reason`: a stable word, [`Code::reason`] unless narrowed by [`RpcError::because`].
    pub reason: Cow<'static, str>,
    /// `data.retry_after_ms`: when retrying makes sense, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Further members of `data`, such as `stamp`, `column`, `constraint`, `shard`.
    pub data: Vec<(&'static str, Value)>,
}

impl RpcError {
    /// An error with the code's own reason and nothing else in `data`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        RpcError {
            code,
            message: message.into(),
            reason: Cow::Borrowed(code.reason()),
            retry_after_ms: None,
            data: Vec::new(),
        }
    }

    /// -32602, `message` naming the parameter.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        RpcError::new(Code::InvalidParams, message)
    }

    /// Narrows `data.reason` to `reason`.
    pub fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Says when retrying makes sense. Rounded up to whole milliseconds.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        self.retry_after_ms = Some(u64::try_from(millis).unwrap_or(u64::MAX));
        self
    }

    /// Adds the member `name` to `data`. `reason` and `retry_after_ms` have their own places.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.data.push((name, value.into()));
        self
    }

    /// Writes the JSON-RPC error object, `{"code":..,"message":..,"data":{"reason":..}}`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":-");
        json::integer(out, u64::from(self.code.number().unsigned_abs()));
        out.extend_from_slice(b",\"message\":");
        json::string(out, &self.message);
        out.extend_from_slice(b",\"data\":{\"reason\":");
        json::string(out, &self.reason);
        if let Some(millis) = self.retry_after_ms {
            out.extend_from_slice(b",\"retry_after_ms\":");
            json::integer(out, millis);
        }
        for (name, value) in &self.data {
            out.push(b',');
            json::string(out, name);
            out.push(b':');
            out.extend_from_slice(value.to_string().as_bytes());
        }
        out.extend_from_slice(b"}}");
    }

    /// The HTTP status that says the same.
    ///
    /// An unknown outcome is 500, not 503 or 504: proxies and clients repeat those by themselves. A conflict
    /// other than with the stamp (a narrower reason) is 409 rather than 412.
    ///
    /// # Source
    /// RFC 9110, section 15; RFC 6585, section 4, for 429.
    pub fn http_status(&self) -> u16 {
        match self.code {
            Code::ParseError | Code::InvalidRequest | Code::InvalidParams | Code::InvalidKey => 400,
            Code::Unauthenticated => 401,
            Code::Forbidden => 403,
            Code::MethodNotFound | Code::UnknownCollection => 404,
            Code::VersionConflict if self.reason != Code::VersionConflict.reason() => 409,
            Code::VersionConflict => 412,
            Code::TooLarge => 413,
            Code::InvalidValue => 422,
            Code::RateLimited => 429,
            Code::Internal | Code::OutcomeUnknown => 500,
            Code::Overloaded | Code::Unavailable => 503,
            Code::Deadline => 504,
        }
    }

    /// [`Code::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_carries_reason_wait_and_extras() {
        let error = RpcError::new(Code::VersionConflict, "the record is \"newer\"")
            .with("stamp", "1.18")
            .with("shard", 7)
            .retry_after(Duration::from_micros(1_500));
        let mut out = Vec::new();
        error.write(&mut out);
        let expected = r#"{"code":-32006,"message":"the record is \"newer\"","data":{"reason":"version_conflict","retry_after_ms":2,"stamp":"1.18","shard":7}}"#;
        assert_eq!(String::from_utf8(out).expect("JSON is UTF-8"), expected);
    }

    #[test]
    fn numbers_round_trip_and_reasons_differ() {
        let mut reasons = std::collections::HashSet::new();
        for code in Code::ALL {
            assert_eq!(Code::from_number(i64::from(code.number())), Some(code));
            assert!(reasons.insert(code.reason()));
        }
    }

    #[test]
    fn only_refusals_that_did_nothing_and_pass_are_retryable() {
        let retryable: Vec<Code> = Code::ALL.into_iter().filter(|code| code.is_retryable()).collect();
        assert_eq!(retryable, [Code::RateLimited, Code::Overloaded, Code::Unavailable, Code::Deadline]);
    }

    #[test]
    fn http_statuses_follow_the_code() {
        let status = |code| RpcError::new(code, "").http_status();
        assert_eq!(
            Code::ALL.map(status),
            [400, 400, 404, 400, 500, 401, 403, 404, 400, 422, 412, 413, 429, 503, 503, 504, 500]
        );
        assert_eq!(RpcError::new(Code::VersionConflict, "").because("in_progress").http_status(), 409);
    }
}
