//! Envoy's response flags, by the short names of its access log.
//!
//! A flag's bit is its position in `CoreResponseFlag` of `envoy/stream_info/stream_info.h`; the positions have not
//! changed since Envoy 1.24.

/// `FailedLocalHealthCheck`: the app failed Envoy's health check.
pub const LH: u64 = 1 << 0;
/// `NoHealthyUpstream`: no healthy app.
pub const UH: u64 = 1 << 1;
/// `UpstreamRequestTimeout`: the route's timeout passed.
pub const UT: u64 = 1 << 2;
/// `LocalReset`: Envoy reset the stream to the app.
pub const LR: u64 = 1 << 3;
/// `UpstreamRemoteReset`: the app reset the stream.
pub const UR: u64 = 1 << 4;
/// `UpstreamConnectionFailure`: the app could not be connected.
pub const UF: u64 = 1 << 5;
/// `UpstreamConnectionTermination`: the app closed the connection.
pub const UC: u64 = 1 << 6;
/// `UpstreamOverflow`: a circuit breaker was open.
pub const UO: u64 = 1 << 7;
/// `NoRouteFound`: Envoy has no route for the request.
pub const NR: u64 = 1 << 8;
/// `RateLimited`: Envoy limited the rate.
pub const RL: u64 = 1 << 11;
/// `DownstreamConnectionTermination`: the caller closed the connection.
pub const DC: u64 = 1 << 14;
/// `UpstreamRetryLimitExceeded`: no further retry was allowed.
pub const URX: u64 = 1 << 15;
/// `StreamIdleTimeout`: the stream was idle for too long.
pub const SI: u64 = 1 << 16;
/// `DownstreamProtocolError`: the caller broke the protocol.
pub const DPE: u64 = 1 << 18;
/// `UpstreamMaxStreamDurationReached`: the stream to the app took too long.
pub const UMSDR: u64 = 1 << 19;
/// `DurationTimeout`: the connection took too long.
pub const DT: u64 = 1 << 22;
/// `UpstreamProtocolError`: the app broke the protocol.
pub const UPE: u64 = 1 << 23;
/// `NoClusterFound`: Envoy has no such cluster.
pub const NC: u64 = 1 << 24;
/// `OverloadManager`: the overload manager rejected the request.
pub const OM: u64 = 1 << 25;
/// `DnsResolutionFailed`: the app's name could not be resolved.
pub const DF: u64 = 1 << 26;
/// `DropOverLoad`: Envoy dropped a share of the requests.
pub const DO: u64 = 1 << 27;
/// `DownstreamRemoteReset`: the caller reset the stream.
pub const DR: u64 = 1 << 28;
/// `UnconditionalDropOverload`: Envoy drops all requests.
pub const UDO: u64 = 1 << 29;

pub(super) const TIMEOUT: u64 = UT | SI | UMSDR | DT;
pub(super) const OVERLOAD: u64 = UO | OM | DO | UDO;
pub(super) const UNREACHABLE: u64 = LH | UH | UF | NC | DF;
/// The app's side broke, before or after it began to answer.
pub(super) const UPSTREAM_RESET: u64 = LR | UR | UC | UPE;
pub(super) const CALLER_GONE: u64 = DC | DR;
/// The app or Envoy ended the call, even if the caller left afterwards.
pub(super) const CAUSES: u64 = TIMEOUT | OVERLOAD | UNREACHABLE | UPSTREAM_RESET;
