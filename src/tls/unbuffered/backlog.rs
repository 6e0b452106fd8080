//! Bytes that nobody has taken yet. It holds memory only while there are any.

/// Bytes in the order in which they leave.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    taken: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What has not been taken.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Adds `bytes` at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes have been taken. Memory goes with the last one.
    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
        debug_assert!(self.taken <= self.bytes.len());
        if self.taken >= self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_memory_with_the_last() {
        let mut backlog = Backlog::default();
        backlog.push(b"one ");
        backlog.take(2);
        backlog.push(b"two");
        assert_eq!(backlog.rest(), b"e two");
        backlog.take(5);
        assert!(backlog.is_empty() && backlog.rest().is_empty());
        assert_eq!(backlog.held(), 0);
    }
}
