//! Why a WebSocket is closed, as a number both sides understand.

/// The close codes this service sends. Those from 1000 say "come back, with backoff"; those from 4400 say
/// "fix something first".
///
/// # Source
/// RFC 6455, section 7.4.1 and the IANA WebSocket Close Code registry (1012, 1013); 4400 to 4499 echo HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The client asked for it, or the conversation is over.
    Normal = 1000,
    /// This node drains; come back after what `freshet_drain` said.
    GoingAway = 1001,
    /// A frame that breaks RFC 6455.
    ProtocolError = 1002,
    /// A binary frame: everything here is text.
    Unsupported = 1003,
    /// A text frame that is no UTF-8.
    InvalidPayload = 1007,
    /// A message beyond the limit.
    TooBig = 1009,
    /// A fault of ours.
    Internal = 1011,
    /// The service restarts.
    Restart = 1012,
    /// Overloaded: come back later.
    TryAgainLater = 1013,
    /// The token's time is over and it was not renewed.
    TokenExpired = 4401,
    /// Pings went unanswered.
    HeartbeatMissed = 4408,
    /// The client exceeded a limit of its own.
    LimitExceeded = 4429,
}

impl CloseCode {
    /// Every code.
    pub const ALL: [CloseCode; 12] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::ProtocolError,
        CloseCode::Unsupported,
        CloseCode::InvalidPayload,
        CloseCode::TooBig,
        CloseCode::Internal,
        CloseCode::Restart,
        CloseCode::TryAgainLater,
        CloseCode::TokenExpired,
        CloseCode::HeartbeatMissed,
        CloseCode::LimitExceeded,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code of that number, if it is one of ours.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// The text of the close frame; well below the 123 bytes there is room for (RFC 6455, section 5.5).
    pub const fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "done",
            CloseCode::GoingAway => "going away, come back",
            CloseCode::ProtocolError => "protocol error",
            CloseCode::Unsupported => "only text frames are understood",
            CloseCode::InvalidPayload => "text is not UTF-8",
            CloseCode::TooBig => "message too big",
            CloseCode::Internal => "internal error",
            CloseCode::Restart => "restarting, come back",
            CloseCode::TryAgainLater => "try again later",
            CloseCode::TokenExpired => "token expired",
            CloseCode::HeartbeatMissed => "heartbeat missed",
            CloseCode::LimitExceeded => "limit exceeded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_reasons_fit_a_control_frame() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(code.number()), Some(code));
            assert!(code.reason().len() <= 123);
        }
        assert_eq!(CloseCode::from_number(1006), None);
    }
}
