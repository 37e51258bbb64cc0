//! The last so many of something.

use std::collections::VecDeque;

/// Keeps the last so many values; a new one pushes the oldest out.
#[derive(Clone, Debug)]
pub(super) struct Ring<T> {
    values: VecDeque<T>,
    most: usize,
}

impl<T> Ring<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { values: VecDeque::new(), most }
    }

    pub(super) fn push(&mut self, value: T) {
        if self.values.len() == self.most {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// From the oldest to the latest.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.values.iter()
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }
}
