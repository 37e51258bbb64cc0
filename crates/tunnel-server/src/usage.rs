//! What visitors use.

use std::ops::{AddAssign, Sub};

/// What visitors used. Bytes are theirs: what the multiplexer adds isn't counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes from visitors.
    pub received: u64,
    /// Bytes to visitors.
    pub sent: u64,
    /// Web exchanges.
    pub requests: u64,
    /// Connections and flows of the other kinds.
    pub connections: u64,
}

impl Usage {
    /// Bytes both ways together.
    pub fn bytes(&self) -> u64 {
        self.received.saturating_add(self.sent)
    }

    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.requests = self.requests.saturating_add(other.requests);
        self.connections = self.connections.saturating_add(other.connections);
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
            requests: self.requests.saturating_sub(earlier.requests),
            connections: self.connections.saturating_sub(earlier.connections),
        }
    }
}
