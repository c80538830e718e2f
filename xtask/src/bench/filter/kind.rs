//! Which calls are made.

/// The request's method and how long its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Get,
    Post1K,
    Post64K,
}

/// Whether a route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Path {
    Matched,
    Unmatched,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Get, Self::Post1K, Self::Post64K];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post1K => "POST 1 KB",
            Self::Post64K => "POST 64 KB",
        }
    }

    /// The bytes of a whole request, with the headers of a common client.
    pub(super) fn request(self, path: Path) -> Vec<u8> {
        let (method, body) = match self {
            Self::Get => ("GET", 0),
            Self::Post1K => ("POST", 1 << 10),
            Self::Post64K => ("POST", 1 << 16),
        };
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: 127.0.0.1:15100\r\nUser-Agent: python-requests/2.32.3\r\n\
             Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Length: {body}\r\n\
             Content-Type: application/json\r\n\r\n",
            path.as_str()
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + body, b' ');
        request
    }
}

impl Path {
    pub(super) const ALL: [Self; 2] = [Self::Matched, Self::Unmatched];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Unmatched => "unmatched",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "/v1/models/churn:predict",
            Self::Unmatched => "/v2/health/ready",
        }
    }
}
