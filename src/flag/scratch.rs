//! Owns a byte buffer that lives on the stack until it grows beyond that.

use std::fmt;

/// Bytes kept on the stack: a flag key and a targeting key of a usual length, with room to spare.
const STACK_BYTES: usize = 192;

/// A growing run of bytes that allocates only above [`STACK_BYTES`].
pub(super) struct Scratch {
    stack: [u8; STACK_BYTES],
    len: usize,
    heap: Vec<u8>,
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self { stack: [0; STACK_BYTES], len: 0, heap: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end <= STACK_BYTES {
            self.stack[self.len..end].copy_from_slice(bytes);
        } else {
            if self.heap.is_empty() {
                self.heap.reserve(end * 2);
                self.heap.extend_from_slice(&self.stack[..self.len]);
            }
            self.heap.extend_from_slice(bytes);
        }
        self.len = end;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        if self.len <= STACK_BYTES { &self.stack[..self.len] } else { &self.heap }
    }

    pub(super) fn as_bytes_mut(&mut self) -> &mut [u8] {
        if self.len <= STACK_BYTES { &mut self.stack[..self.len] } else { &mut self.heap }
    }
}

impl fmt::Write for Scratch {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
