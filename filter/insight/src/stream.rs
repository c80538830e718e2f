//! One call, from its headers to its end.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use scoretap_core::config::Insight;
use scoretap_core::route::{Route, Source, without_query};
use scoretap_host as host;
use scoretap_scan::answer::About;
use scoretap_scan::columns::Column;
use scoretap_scan::record::{PROPERTY, Record};
use scoretap_scan::request::Asked;
use scoretap_scan::text::Text;

use crate::answer::Answer;
use crate::plugin::Reading;
use crate::request::Request;

/// A call that passes the filter.
pub(crate) struct Stream {
    /// `None` if the plugin reads nothing.
    plugin: Option<Rc<Reading>>,
    /// `None` if no route matches, and once the record is written.
    call: Option<Box<Call>>,
    is_on_route: bool,
}

/// A call on one of the routes.
struct Call {
    is_llm: bool,
    /// Whether the request may name the model.
    has_model: bool,
    /// Reads the request, if it names the model, says how many choices there will be or has columns to count.
    request: Option<Request>,
    /// When the last piece of the request arrived.
    requested: u64,
    answer: Option<Answer>,
}

impl Stream {
    pub(crate) fn new(plugin: Option<Rc<Reading>>) -> Self {
        Self { plugin, call: None, is_on_route: false }
    }

    fn call(&mut self) -> Option<(&mut Call, &Insight)> {
        let insight = self.plugin.as_ref()?.config.insight()?;
        Some((self.call.as_deref_mut()?, insight))
    }

    /// Writes the record, once.
    fn finish(&mut self) {
        let Some((call, plugin)) = self.call.take().zip(self.plugin.as_ref()) else { return };
        if !host::set_property(PROPERTY, &call.finish(plugin.columns()).encode()) {
            plugin.count_lost_record();
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(plugin) = &self.plugin {
            (self.is_on_route, self.call) = Call::on_route(plugin);
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, is_last: bool) -> Action {
        self.call().into_iter().for_each(|(call, insight)| call.read_request(size, is_last, insight));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.call().into_iter().for_each(|(call, insight)| call.begin_answer(insight));
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, is_last: bool) -> Action {
        if let Some(answer) = self.call().and_then(|(call, _)| call.answer.as_mut()) {
            answer.read(size);
            // Later would do too, but frees the memory later. Streams that break off, and gRPC, have no last piece.
            if is_last {
                self.finish();
            }
        }
        Action::Continue
    }

    /// Filters' log callbacks run in the order of the chain, and loggers' after them.
    fn on_log(&mut self) {
        self.finish();
        if self.is_on_route {
            self.plugin.iter().for_each(|plugin| plugin.count_call());
        }
    }
}

impl Call {
    /// Whether one of the routes matches the call whose headers arrived, and the call, if its bodies are read.
    fn on_route(plugin: &Reading) -> (bool, Option<Box<Self>>) {
        let target = host::request_header(":path").unwrap_or_default();
        let method = host::request_header(":method").unwrap_or_default();
        match plugin.config.find(without_query(&target), || &method) {
            Ok(matched) => (true, Self::of(plugin, matched.route).map(Box::new)),
            Err(_) => (false, None),
        }
    }

    fn of(plugin: &Reading, route: &Route) -> Option<Self> {
        let insight = plugin.config.insight()?;
        let is_read = insight.reads(route);
        let has_model = route.model == Source::Body || (route.is_llm() && is_read);
        let columns = if is_read && !route.is_llm() { insight.columns.as_slice() } else { &[] };
        let is_request_read = has_model || !columns.is_empty();
        (is_read || has_model).then(|| Self {
            is_llm: route.is_llm(),
            has_model,
            request: is_request_read.then(|| Request::new(insight.max_body_bytes, columns)),
            requested: host::monotonic_time(),
            answer: None,
        })
    }

    /// Reads the piece of the request that the running callback is for.
    fn read_request(&mut self, size: usize, is_last: bool, insight: &Insight) {
        self.requested = host::monotonic_time();
        if let Some(request) = &mut self.request {
            request.read(size, is_last, self.requested, &insight.columns);
        }
    }

    /// Starts to read the answer, unless its status says that it is none.
    fn begin_answer(&mut self, insight: &Insight) {
        let status = host::response_header(":status").unwrap_or_default();
        if status.first() != Some(&b'2') {
            return;
        }
        let about = About {
            is_llm: self.is_llm,
            choices: self.request.as_ref().map_or(1, Request::choices),
            key: insight.prediction_key.as_bytes(),
            most_bytes: insight.max_body_bytes,
            ..About::default()
        };
        self.answer = Some(Answer::new(&about, self.requested));
    }

    fn finish(self, columns: &[Column]) -> Record {
        let record = self.answer.map(Answer::finish).unwrap_or_default();
        let Some(request) = self.request else { return record };
        let Asked { model, columns } = request.finish(columns);
        let request_model = if self.has_model { model } else { Text::default() };
        Record { request_model, columns, ..record }
    }
}
