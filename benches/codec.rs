//! The peer wire: cutting what one large read brought, and writing what a busy connection says.

use bytes::{BufMut as _, Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use gaggle_core::geometry::BLOCK_LEN;
use gaggle_core::proto::peer::{Bounds, Decoder, Message, Request, piece_header};

/// What one read may bring.
const READ_LEN: usize = 256 << 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode(&mut criterion);
    encode(&mut criterion);
    criterion.final_summary();
}

fn request(nth: u32) -> Request {
    Request { index: nth / 64, begin: nth % 64 * BLOCK_LEN, len: BLOCK_LEN }
}

/// So much of a stream that one read is full.
fn stream(mut one: impl FnMut(u32, &mut BytesMut)) -> (Bytes, u32) {
    let mut out = BytesMut::new();
    let mut count = 0;
    while out.len() < READ_LEN {
        one(count, &mut out);
        count += 1;
    }
    (out.freeze(), count)
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode a read of 256 KiB");
    let blocks = stream(|nth, out| {
        let Request { index, begin, len } = request(nth);
        out.put_slice(&piece_header(index, begin, len));
        out.put_bytes(0, len as usize);
    });
    let requests = stream(|nth, out| Message::Request(request(nth)).encode_into(out));
    let haves = stream(|nth, out| Message::Have(nth).encode_into(out));
    for (what, (bytes, count)) in [("blocks", blocks), ("requests", requests), ("haves", haves)] {
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(what, |bencher| {
            let read = || (Decoder::new(Bounds::new(Some(100_000))), BytesMut::from(&bytes[..]));
            let cut = |(mut decoder, mut input): (Decoder, BytesMut)| {
                let mut frames = 0;
                while let Some(frame) = decoder.next(&mut input).expect("the stream is legal") {
                    std::hint::black_box(frame);
                    frames += 1;
                }
                assert_eq!(frames, count);
                input
            };
            bencher.iter_batched(read, cut, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let requests: Vec<Message> = (0..1000).map(|nth| Message::Request(request(nth))).collect();
    group.throughput(Throughput::Elements(requests.len() as u64));
    group.bench_function("1000 requests", |bencher| {
        let mut out = BytesMut::new();
        bencher.iter(|| {
            out.clear();
            requests.iter().for_each(|message| message.encode_into(&mut out));
            out.len()
        });
    });
    group.finish();
}
