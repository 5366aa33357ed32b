//! Bodies of 100 MB through every parser: the memory in use stays below a few kilobytes.
//!
//! One test, alone in its program, because it counts what the whole program allocates.

use rateguard_filter::sse_edit::UsageChunkHider;
use rateguard_filter::usage::Reader;
use rateguard_model::usage::{UsageFormat, UsageSource};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[expect(unsafe_code, reason = "an allocator can only be counted by one")]
// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` had in use at most, beyond what was in use before, in bytes.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed).saturating_sub(before)
}

const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS: usize = 100 * 1024 * 1024 / CHUNK_BYTES;
/// For a reader: its own state. For the hider: the chunk that it gives back, its bound of 16 KiB and growth.
const READER_BYTES_MAX: usize = 8 * 1024;
const HIDER_BYTES_MAX: usize = 2 * CHUNK_BYTES + 64 * 1024;

#[test]
fn up_09_a_hundred_megabytes_cost_bounded_memory() {
    let chunk_of = |byte: u8| vec![byte; CHUNK_BYTES];
    let cases: [(&str, &[u8], Vec<u8>); 8] = [
        ("a line without a field", b"", chunk_of(b'x')),
        ("one line of data", b"data: ", chunk_of(b'x')),
        (
            "one string in an event",
            b"data: {\"usage\":{\"x\":\"",
            chunk_of(b'x'),
        ),
        ("one string in a body", b"{\"model\":\"", chunk_of(b'x')),
        ("one key", b"{\"", chunk_of(b'x')),
        ("one number", b"{\"usage\":{\"prompt_tokens\":1", chunk_of(b'1')),
        ("nesting", b"{\"usage\":", chunk_of(b'[')),
        ("white space", b"", chunk_of(b' ')),
    ];
    for (what, begin, chunk) in &cases {
        let peak = peak_of(|| {
            let mut reader = Reader::for_response(UsageFormat::Auto, None, None);
            reader.push(begin);
            // Brackets and white space are looked at one by one: a tenth is enough to see growth.
            let chunks = if matches!(chunk.first(), Some(b'[' | b' ')) {
                CHUNKS / 10
            } else {
                CHUNKS
            };
            for _ in 0..chunks {
                reader.push(chunk);
            }
            assert_eq!(reader.finish(true).source, Some(UsageSource::Estimated), "{what}");
        });
        assert!(peak < READER_BYTES_MAX, "{what}: {peak} bytes");
        let peak = peak_of(|| {
            let mut hider = UsageChunkHider::default();
            let mut passed = hider.push(begin).len();
            for _ in 0..CHUNKS / 10 {
                passed += hider.push(chunk).len();
            }
            passed += hider.finish().len();
            assert_eq!(passed, begin.len() + CHUNKS / 10 * CHUNK_BYTES, "{what}");
        });
        assert!(peak < HIDER_BYTES_MAX, "{what}: {peak} bytes");
    }
}
