//! An answer of Envoy's admin interface, in any pieces, yields all of its lines or an error.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{collection, option, sample};
use scoretap_exporter::envoy::admin::{Endpoint, read};

use crate::cases;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Chunked,
    Length,
    /// The body ends with the connection.
    Close,
}

/// A complete answer with chunks of these sizes.
fn answer(body: &[u8], framing: Framing, sizes: &[usize]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nserver: envoy\r\n";
    match framing {
        Framing::Close => [head.as_bytes(), b"\r\n", body].concat(),
        Framing::Length => {
            [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
        }
        Framing::Chunked => {
            let mut answer = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
            for chunk in pieces(body, sizes) {
                answer.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
            }
            answer.extend(b"0\r\n\r\n");
            answer
        }
    }
}

/// Pieces of these sizes, repeated, without empty ones.
fn pieces<'b>(mut bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Reads an answer that is sent in pieces; `None` if it is rejected.
fn lines_of(answer: &[u8], sizes: &[usize]) -> Option<Vec<String>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
            // The reader may have closed the connection.
            let sent = pieces(answer, sizes).into_iter().try_for_each(|piece| stream.write_all(piece));
            drop(sent.and_then(|()| stream.shutdown(Shutdown::Write)));
            drop(stream.read_to_end(&mut Vec::new()));
        });
        let mut lines = Vec::new();
        let read = read(&endpoint, "/stats", |line| {
            lines.push(line.to_owned());
            Ok(())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), read).await });
        outcome.expect("a read ends when the answer does").ok().map(|()| lines)
    })
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let text = collection::vec("[a-zü.:% 0-9]{0,30}", 0..20)
        .prop_map(|lines| lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect());
    prop_oneof![4 => text, 1 => collection::vec(any::<u8>(), 0..60)]
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn answer_is_read_completely_or_rejected(
        body in bodies(),
        framing in sample::select(vec![Framing::Chunked, Framing::Length, Framing::Close]),
        sizes in collection::vec(1..50_usize, 1..5),
        cut in option::of(any::<sample::Index>()),
    ) {
        let mut answer = answer(&body, framing, &sizes);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let whole = answer.len();
        answer.truncate(cut.map_or(whole, |cut| cut.index(whole)));
        // A body that ends with the connection can be cut off unnoticed.
        let is_whole = answer.len() == whole || (framing == Framing::Close && answer.len() >= head);
        let sent = if framing == Framing::Close { &answer[head.min(answer.len())..] } else { &body[..] };
        let text = std::str::from_utf8(sent).ok().filter(|text| text.is_empty() || text.ends_with('\n'));
        let expected = text.filter(|_| is_whole).map(|text| text.split_terminator('\n').map(str::to_owned).collect());
        assert_eq!(lines_of(&answer, &sizes), expected);
    }
}
