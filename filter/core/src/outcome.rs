//! Outcomes of calls. The labels `status` and `error_type` derive from them.
//!
//! Envoy's response flags take precedence over the HTTP status: a `200` whose body broke off is a failure, and a `503`
//! may come from Envoy instead of the app.

pub mod flag;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered completely with 1xx, 2xx or 3xx, or gRPC status 0.
    Success,
    /// The caller's request was wrong.
    InvalidInput,
    /// The caller may not do this.
    Unauthorized,
    /// The resource does not exist.
    NotFound,
    /// The caller sent too many requests.
    RateLimited,
    /// The app answered with an error of its own.
    ModelError,
    /// A timeout passed.
    Timeout,
    /// The app could not be reached, or closed the connection before it answered.
    Unavailable,
    /// Envoy rejected the call to protect the app or itself.
    Overloaded,
    /// The answer began and then broke off.
    Truncated,
    /// Answered completely with success, but the body reports an error.
    ReportedError,
    /// The caller left first.
    Cancelled,
}

/// The `status` label: the coarse view of an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// The call succeeded.
    Success,
    /// The call failed.
    Failure,
    /// The caller left before the end.
    Cancelled,
}

impl Status {
    /// Every status, in the order of their values.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Cancelled];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status that [`as_str`](Self::as_str) calls `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::InvalidInput,
        Self::Unauthorized,
        Self::NotFound,
        Self::RateLimited,
        Self::ModelError,
        Self::Timeout,
        Self::Unavailable,
        Self::Overloaded,
        Self::Truncated,
        Self::ReportedError,
        Self::Cancelled,
    ];

    /// The outcome's name, which is also the `error_type` of failures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::InvalidInput => "invalid_input",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::ModelError => "model_error",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Truncated => "truncated",
            Self::ReportedError => "reported_error",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome that [`as_str`](Self::as_str) calls `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    /// The `status` label.
    pub const fn status(self) -> Status {
        match self {
            Self::Success => Status::Success,
            Self::Cancelled => Status::Cancelled,
            Self::InvalidInput
            | Self::Unauthorized
            | Self::NotFound
            | Self::RateLimited
            | Self::ModelError
            | Self::Timeout
            | Self::Unavailable
            | Self::Overloaded
            | Self::Truncated
            | Self::ReportedError => Status::Failure,
        }
    }

    /// Whether the service is to blame, so that the call spends error budget. Callers cause the other failures.
    pub const fn is_service_fault(self) -> bool {
        match self {
            Self::ModelError
            | Self::Timeout
            | Self::Unavailable
            | Self::Overloaded
            | Self::Truncated
            | Self::ReportedError => true,
            Self::Success
            | Self::InvalidInput
            | Self::Unauthorized
            | Self::NotFound
            | Self::RateLimited
            | Self::Cancelled => false,
        }
    }

    /// The `error_type` label of failures.
    pub const fn error_type(self) -> Option<&'static str> {
        match self.status() {
            Status::Failure => Some(self.as_str()),
            Status::Success | Status::Cancelled => None,
        }
    }
}

/// Envoy's description of a call's end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending<'a> {
    /// The HTTP status sent to the caller; 0 if none.
    pub code: u16,
    /// Envoy's response code details, which name the origin of the response.
    pub details: Option<&'a [u8]>,
    /// The gRPC status of gRPC calls. Other calls have none, although Envoy derives one from the HTTP status.
    pub grpc: Option<u64>,
}

impl Ending<'_> {
    /// Classifies the call. Reads Envoy's response `flags` only if the details do not decide.
    pub fn outcome(self, overrides: &Overrides, flags: impl FnOnce() -> u64) -> Outcome {
        let origin = Origin::of(self.details);
        // If a response breaks off, Envoy replaces these details.
        if origin == Origin::App {
            return self.by_status(overrides, origin);
        }
        self.by_flags(Flags(flags()), origin).unwrap_or_else(|| self.by_status(overrides, origin))
    }

    /// Classifies a call that looks [cancelled](Outcome::Cancelled) although the app had sent its whole answer: its
    /// status decides. Envoy still held a part of the answer when the caller left.
    pub fn outcome_of_whole_answer(self, overrides: &Overrides) -> Option<Outcome> {
        (self.code != 0).then(|| self.by_status(overrides, Origin::App))
    }

    fn by_flags(self, flags: Flags, origin: Origin) -> Option<Outcome> {
        let answered = self.code != 0;
        let broken = if answered { Outcome::Truncated } else { Outcome::Unavailable };
        if origin == Origin::EnvoyClosed {
            return Some(broken);
        }
        let timed_out = flags.has(flag::TIMEOUT) || origin == Origin::EnvoyTimeout;
        let overloaded = flags.has(flag::OVERLOAD) || origin == Origin::EnvoyOverload;
        // A WebSocket is complete when the caller or the app ends it, not when Envoy cuts it off.
        if self.code == 101 && !timed_out && !overloaded {
            return Some(Outcome::Success);
        }
        if flags.has(flag::CALLER_GONE) && !(answered && flags.has(flag::CAUSES)) {
            return Some(Outcome::Cancelled);
        }
        if timed_out {
            return Some(Outcome::Timeout);
        }
        if overloaded {
            return Some(Outcome::Overloaded);
        }
        if flags.has(flag::UNREACHABLE) {
            return Some(Outcome::Unavailable);
        }
        if flags.has(flag::RL) {
            return Some(Outcome::RateLimited);
        }
        if flags.has(flag::DPE) && self.code < 400 {
            return Some(Outcome::Cancelled);
        }
        match origin {
            Origin::BrokeBeforeAnswer => Some(Outcome::Unavailable),
            Origin::BrokeAfterAnswer => Some(Outcome::Truncated),
            Origin::CallerLeft if !answered => Some(Outcome::Cancelled),
            // If a caller resets a stream without a reason, Envoy sets neither flags nor details.
            Origin::Unknown if !answered && flags.0 == 0 => Some(Outcome::Cancelled),
            // The flags do not say when the app's side broke. An error status is then Envoy's answer.
            Origin::Unknown if flags.has(flag::UPSTREAM_RESET) => {
                Some(if self.code >= 500 { Outcome::Unavailable } else { broken })
            }
            Origin::App
            | Origin::Envoy
            | Origin::EnvoyClosed
            | Origin::EnvoyOverload
            | Origin::EnvoyTimeout
            | Origin::CallerLeft
            | Origin::Unknown => None,
        }
    }

    fn by_status(self, overrides: &Overrides, origin: Origin) -> Outcome {
        if let Some(status) = self.grpc {
            return by_grpc_status(status, origin);
        }
        if let Some(outcome) = overrides.get(self.code) {
            return outcome;
        }
        match self.code {
            // There is neither a response nor a reason.
            0 => Outcome::Unavailable,
            1..=399 => Outcome::Success,
            401 | 403 | 407 => Outcome::Unauthorized,
            404 | 405 | 410 => Outcome::NotFound,
            408 | 504 => Outcome::Timeout,
            429 => Outcome::RateLimited,
            400..=499 => Outcome::InvalidInput,
            500..=u16::MAX => origin.server_fault(),
        }
    }
}

#[derive(Clone, Copy)]
struct Flags(u64);

impl Flags {
    const fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }
}

/// <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
fn by_grpc_status(status: u64, origin: Origin) -> Outcome {
    match status {
        0 => Outcome::Success,
        3 | 9 | 11 => Outcome::InvalidInput,
        4 => Outcome::Timeout,
        5 | 12 => Outcome::NotFound,
        7 | 16 => Outcome::Unauthorized,
        8 => Outcome::RateLimited,
        _ => origin.server_fault(),
    }
}

/// The origin of a response or of its end, from Envoy's response code details.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    App,
    BrokeBeforeAnswer,
    BrokeAfterAnswer,
    CallerLeft,
    EnvoyClosed,
    EnvoyOverload,
    EnvoyTimeout,
    Envoy,
    Unknown,
}

impl Origin {
    fn of(details: Option<&[u8]>) -> Self {
        const BY_PREFIX: [(&[u8], Origin); 6] = [
            (b"upstream_reset_before_response_started", Origin::BrokeBeforeAnswer),
            (b"upstream_reset_after_response_started", Origin::BrokeAfterAnswer),
            (b"downstream_remote_disconnect", Origin::CallerLeft),
            // Envoy closed the connection, because it replaces a listener or stops.
            (b"downstream_local_disconnect", Origin::EnvoyClosed),
            // The connection manager's `max_stream_duration` sets no flag.
            (b"max_duration_timeout", Origin::EnvoyTimeout),
            (b"overload", Origin::EnvoyOverload),
        ];
        match details {
            None | Some(b"") => Self::Unknown,
            Some(b"via_upstream") => Self::App,
            Some(text) if text.ends_with(b".remote_reset") => Self::CallerLeft,
            Some(text) => {
                let known = BY_PREFIX.into_iter().find(|(prefix, _)| text.starts_with(prefix));
                known.map_or(Self::Envoy, |(_, origin)| origin)
            }
        }
    }

    /// The outcome of a 5xx, which comes from the app unless the details name Envoy.
    const fn server_fault(self) -> Outcome {
        match self {
            Self::App | Self::Unknown => Outcome::ModelError,
            Self::EnvoyOverload => Outcome::Overloaded,
            Self::EnvoyTimeout => Outcome::Timeout,
            Self::BrokeBeforeAnswer
            | Self::BrokeAfterAnswer
            | Self::CallerLeft
            | Self::EnvoyClosed
            | Self::Envoy => Outcome::Unavailable,
        }
    }
}

/// The operator's outcomes for certain HTTP statuses.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<(u16, Outcome)>);

impl Overrides {
    /// One outcome for each status. If a status is repeated, the first outcome wins.
    pub const fn new(pairs: Vec<(u16, Outcome)>) -> Self {
        Self(pairs)
    }

    fn get(&self, code: u16) -> Option<Outcome> {
        self.0.iter().find(|(status, _)| *status == code).map(|(_, outcome)| *outcome)
    }
}
