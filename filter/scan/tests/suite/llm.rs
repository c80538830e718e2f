//! LLM answers whose captures would be too large or that no server at hand sends.

use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::record::{Finding, Finish, Generation, Record, Scanned, Tokens};
use scoretap_scan::request::RequestScanner;

use crate::{about, columns, scan};

fn stream(body: &str) -> Record {
    scan(&about("text/event-stream"), body.as_bytes())
}

fn whole(body: &str) -> Record {
    scan(&About { is_llm: true, ..about("application/json") }, body.as_bytes())
}

fn generation(record: Record) -> Generation {
    record.generation.unwrap()
}

#[test]
fn last_usage_wins_and_null_does_not() {
    let body = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n\
        data: {\"usage\":null,\"choices\":[]}\n\n\
        data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":24,\"completion_tokens_details\":{\"reasoning_tokens\":5},\
        \"prompt_tokens_details\":{\"cached_tokens\":3}},\"choices\":[]}\n\n";
    let expected = Tokens { input: Some(7), output: Some(24), cached: Some(3), reasoning: Some(5) };
    assert_eq!(generation(stream(body)).tokens, expected);
}

#[test]
fn anthropic_input_includes_cached_tokens() {
    let body = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"usage\":\
        {\"input_tokens\":10,\"cache_read_input_tokens\":100,\"cache_creation_input_tokens\":20,\"output_tokens\":1}}}\n\n\
        event: ping\ndata: {\"type\":\"ping\"}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let record = stream(body);
    assert_eq!(record.model.head(), b"claude");
    let generation = generation(record);
    assert_eq!(
        generation.tokens,
        Tokens { input: Some(130), output: Some(15), cached: Some(100), reasoning: None }
    );
    assert_eq!((generation.is_ended, generation.content_events), (true, 1));
    assert_eq!(generation.finish.get(Finish::Stop), 1);
}

#[test]
fn content_with_keys_of_usage_is_only_text() {
    let body = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":9}} [DONE]\"}}]}\n\n";
    let generation = generation(stream(body));
    assert_eq!(
        (generation.tokens, generation.is_ended, generation.content_events),
        (Tokens::default(), false, 1)
    );
}

#[test]
fn stream_ends_by_each_of_its_own_ends() {
    let finish =
        |index: u32| format!("data: {{\"choices\":[{{\"index\":{index},\"finish_reason\":\"stop\"}}]}}\n\n");
    let table = [
        ("data: [DONE]\n\n".to_owned(), true),
        ("data:[DONE]\r\n\r\n".to_owned(), true),
        ("data: [DONE]".to_owned(), true),
        ("data: [DONE".to_owned(), false),
        (finish(0), true),
        ("data: {\"choices\":[{\"index\":0,\"finish_reason\":null}]}\n\n".to_owned(), false),
        ("data: {\"type\":\"response.completed\",\"response\":{}}\n\n".to_owned(), true),
        ("data: {\"type\":\"response.incomplete\",\"response\":{}}\n\n".to_owned(), true),
        ("data: {\"type\":\"message_stop\"}\n\n".to_owned(), true),
        (": comment\n\ndata: {\"text_output\":\"a\"}\n\n".to_owned(), false),
    ];
    for (body, expected) in table {
        assert_eq!(generation(stream(&body)).is_ended, expected, "{body}");
    }
    let two = About { choices: 2, ..about("text/event-stream") };
    assert!(!generation(scan(&two, finish(1).as_bytes())).is_ended);
    assert!(generation(scan(&two, (finish(1) + &finish(0)).as_bytes())).is_ended);
}

#[test]
fn error_events_are_reported_errors() {
    let table = [
        ("data: {\"error\":{\"message\":\"bad\"}}\n\ndata: [DONE]\n\n", Finding::Structured),
        ("data: {\"object\":\"error\",\"message\":\"bad\"}\n\n", Finding::Structured),
        ("event: error\ndata: {\"message\":\"bad\"}\n\n", Finding::Structured),
        ("data: {\"type\":\"error\",\"error\":null}\n\n", Finding::Structured),
        (
            "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"x\"}}}\n\n",
            Finding::Structured,
        ),
        ("data: {\"error\":null,\"choices\":[]}\n\n", Finding::Nothing),
    ];
    for (body, finding) in table {
        assert_eq!(stream(body).error, finding, "{body}");
    }
    assert_eq!(whole(r#"{"error": {"message": "bad"}}"#).error, Finding::Structured);
}

#[test]
fn first_token_is_the_first_content_delta() {
    let events = [
        (10, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"),
        (20, "data: {\"choices\":[{\"delta\":{\"content\":null}}]}\n\n"),
        (
            30,
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]}\n\n",
        ),
        (40, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n"),
        (2_000_050, "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n"),
        (2_000_060, "data: {\"choices\":[{\"delta\":{}}]}\n\n"),
    ];
    let mut scanner = AnswerScanner::new(&about("text/event-stream"));
    events.iter().for_each(|(now, event)| scanner.feed(event.as_bytes(), *now));
    let generation = generation(scanner.finish());
    assert_eq!((generation.first_content, generation.last_content), (Some(30), Some(2_000_050)));
    assert_eq!((generation.content_events, generation.gaps), (3, vec![(0, 1), (1, 1)]));
}

#[test]
fn data_on_several_lines_is_one_document() {
    let record = stream("data: {\"model\":\ndata: \"m\"}\n\n");
    assert_eq!((record.scanned, record.model.head()), (Scanned::Whole, b"m".as_slice()));
}

#[test]
fn triton_generate_names_its_model() {
    let record = whole(r#"{"model_name":"llama","model_version":"1","text_output":"hi"}"#);
    assert_eq!((record.model.head(), record.version.head()), (b"llama".as_slice(), b"1".as_slice()));
    let streamed =
        stream("data: {\"model_name\":\"llama\",\"text_output\":\"hi\"}\n\ndata: {\"text_output\":\"\"}\n\n");
    assert_eq!(generation(streamed).content_events, 1);
}

#[test]
fn embeddings_have_tokens_and_no_rows() {
    let record = whole(
        r#"{"object":"list","data":[{"embedding":[0.1,0.2]}],"model":"e","usage":{"prompt_tokens":5,"total_tokens":5}}"#,
    );
    assert_eq!((record.rows.is_none(), record.error), (true, Finding::Nothing));
    assert_eq!(generation(record).tokens.input, Some(5));
}

#[test]
fn choices_follow_from_the_request() {
    let table = [
        (r#"{"model": "m", "messages": [{"role": "user", "model": "x", "n": 9}]}"#, 1),
        (r#"{"n": 3, "model": "m"}"#, 3),
        (r#"{"model": "m", "prompt": "one"}"#, 1),
        (r#"{"model": "m", "prompt": ["one", "two"], "n": 2}"#, 4),
        (r#"{"model": "m", "prompt": [1, 2, 3]}"#, 1),
        (r#"{"model": "m", "prompt": [[1, 2], [3]]}"#, 2),
    ];
    for (body, choices) in table {
        for at in 0..=body.len() {
            let mut scanner = RequestScanner::new(&columns::about("application/json"), &[]);
            scanner.feed(&body.as_bytes()[..at], &[]);
            scanner.feed(&body.as_bytes()[at..], &[]);
            assert_eq!(scanner.choices(), choices, "{body} at {at}");
            assert_eq!(scanner.finish(&[]).model.head(), b"m", "{body} at {at}");
        }
    }
}

#[test]
fn grpc_request_names_its_model() {
    let body = b"\0\0\0\0\x08\x0a\x04iris\x1a\0";
    for at in 0..=body.len() {
        let mut scanner = RequestScanner::new(&columns::about("application/grpc"), &[]);
        scanner.feed(&body[..at], &[]);
        scanner.feed(&body[at..], &[]);
        assert_eq!(scanner.finish(&[]).model.head(), b"iris", "split at {at}");
    }
}
