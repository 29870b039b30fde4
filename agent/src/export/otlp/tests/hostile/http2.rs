//! As much of HTTP/2 as it takes to misuse it.

use tokio::{io::AsyncReadExt as _, net::TcpStream};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GO_AWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The stream of a connection's first request.
pub(super) const FIRST: u32 = 1;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block (RFC 7541), every field written out.
pub(super) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).unwrap();
            assert!(length < 127, "longer texts have longer lengths");
            block.push(length);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A frame of headers for the first request.
pub(super) fn headers(flags: u8, named: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, FIRST, &fields(named))
}

/// A frame of data for the first request.
pub(super) fn data(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, FIRST, payload)
}

/// What a server says first.
pub(super) fn greeting() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub(super) fn go_away(last_stream: u32, reason: u32) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), reason.to_be_bytes()].concat();
    frame(GO_AWAY, 0, 0, &payload)
}

/// Reads up to the end of the first request, which has to fit into the window.
pub(super) async fn read_request(stream: &mut TcpStream) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM > 0 {
            return;
        }
    }
}
