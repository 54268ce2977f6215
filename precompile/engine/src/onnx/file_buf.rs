//! A file as a buffer to decode from.

use std::io::{self, Read};

use bytes::Buf;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// The bytes of a file from its place on. A buffer cannot fail: whoever decodes asks for [`FileBuf::failure`] in the end.
pub(super) struct FileBuf<R> {
    file: R,
    chunk: Vec<u8>,
    /// How much of the chunk was taken.
    taken: usize,
    /// Bytes not taken so far, those of the chunk among them.
    remaining: usize,
    failure: Option<io::Error>,
}

impl<R: Read> FileBuf<R> {
    /// The next `length` bytes of `file`.
    pub(super) fn new(file: R, length: usize) -> Self {
        let mut buf = Self { file, chunk: Vec::new(), taken: 0, remaining: length, failure: None };
        buf.fill();
        buf
    }

    /// What went wrong on the way; there are zeros instead of what could not be read.
    pub(super) fn failure(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn fill(&mut self) {
        self.taken = 0;
        self.chunk.resize(self.remaining.min(CHUNK), 0);
        if let Err(error) = self.file.read_exact(&mut self.chunk) {
            self.failure.get_or_insert(error);
            self.chunk.fill(0);
        }
    }
}

impl<R: Read> Buf for FileBuf<R> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        &self.chunk[self.taken..]
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end");
        while count > 0 {
            let step = count.min(self.chunk.len() - self.taken);
            self.taken += step;
            self.remaining -= step;
            count -= step;
            if self.taken == self.chunk.len() {
                self.fill();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_in_order() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 5).map(|i| (i % 251) as u8).collect();
        let mut buf = FileBuf::new(bytes.as_slice(), bytes.len());
        assert_eq!(buf.get_u8(), 0);
        assert_eq!(buf.copy_to_bytes(2 * CHUNK), bytes[1..=2 * CHUNK]);
        buf.advance(CHUNK);
        assert_eq!((buf.remaining(), buf.chunk()), (4, &bytes[3 * CHUNK + 1..]));
        buf.advance(4);
        assert!(!buf.has_remaining() && buf.chunk().is_empty());
        assert!(buf.failure().is_ok());
    }

    #[test]
    fn a_file_that_became_shorter_is_a_failure() {
        let mut buf = FileBuf::new([1u8; 10].as_slice(), 20);
        assert_eq!(buf.copy_to_bytes(20).len(), 20);
        assert_eq!(buf.failure().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
