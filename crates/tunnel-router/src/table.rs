//! Names to tunnels. Looked up for every request, changed only when a tunnel comes or goes, so it is a
//! plain value: its owner chooses a lock, or copies it and swaps.

use std::collections::HashMap;

use crate::hostname::Hostname;
use crate::pattern::HostPattern;

/// Values by host pattern; the most specific pattern wins a lookup.
#[derive(Debug, Clone)]
pub struct HostTable<V> {
    exact: HashMap<Hostname, V>,
    wildcard: HashMap<Hostname, V>,
}

impl<V> HostTable<V> {
    /// A table that routes nothing.
    pub fn new() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }

    /// Puts `value` at `pattern`, and returns what was there.
    pub fn insert(&mut self, pattern: HostPattern, value: V) -> Option<V> {
        match pattern {
            HostPattern::Exact(name) => self.exact.insert(name, value),
            HostPattern::Wildcard(base) => self.wildcard.insert(base, value),
        }
    }

    /// Takes out what is at exactly this pattern.
    pub fn remove(&mut self, pattern: &HostPattern) -> Option<V> {
        match pattern {
            HostPattern::Exact(name) => self.exact.remove(name),
            HostPattern::Wildcard(base) => self.wildcard.remove(base),
        }
    }

    /// What is at exactly this pattern. To route a visitor, use [`lookup`](Self::lookup).
    pub fn get(&self, pattern: &HostPattern) -> Option<&V> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Wildcard(base) => self.wildcard.get(base),
        }
    }

    /// As [`get`](Self::get), to change it in place.
    pub fn get_mut(&mut self, pattern: &HostPattern) -> Option<&mut V> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get_mut(name),
            HostPattern::Wildcard(base) => self.wildcard.get_mut(base),
        }
    }

    /// What a visitor who asked for `host` gets: the exact name, else the wildcard it falls under.
    pub fn lookup(&self, host: &Hostname) -> Option<&V> {
        self.exact(host).or_else(|| self.wildcard(host.parent()?))
    }

    /// What is at this very name; the first half of a [`lookup`](Self::lookup), for tables that are kept in parts.
    pub fn exact(&self, host: &Hostname) -> Option<&V> {
        self.exact.get(host)
    }

    /// What is at the wildcard right below `base`; the second half of a [`lookup`](Self::lookup), with the name's
    /// [`parent`](Hostname::parent).
    pub fn wildcard(&self, base: &str) -> Option<&V> {
        self.wildcard.get(base)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// Whether nothing is routed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every pattern and its value, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (HostPattern, &V)> {
        let exact = self.exact.iter().map(|(name, value)| (HostPattern::Exact(name.clone()), value));
        exact.chain(self.wildcard.iter().map(|(base, value)| (HostPattern::Wildcard(base.clone()), value)))
    }
}

impl<V> Default for HostTable<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(patterns: &[&'static str]) -> HostTable<&'static str> {
        let mut table = HostTable::new();
        for pattern in patterns {
            table.insert(pattern.parse().unwrap(), *pattern);
        }
        table
    }

    #[test]
    fn the_most_specific_wins() {
        let table = table(&["a.test", "*.test", "*.b.test", "x.b.test", "*.c.b.test"]);
        for (host, expected) in [
            ("a.test", Some("a.test")),
            ("A.Test.", Some("a.test")),
            ("z.test", Some("*.test")),
            ("z.a.test", None),
            ("b.test", Some("*.test")),
            ("x.b.test", Some("x.b.test")),
            ("y.b.test", Some("*.b.test")),
            ("c.b.test", Some("*.b.test")),
            ("1.c.b.test", Some("*.c.b.test")),
            ("1.2.c.b.test", None),
            ("test", None),
            ("a.other", None),
            ("127.0.0.1", None),
            ("[::1]", None),
        ] {
            assert_eq!(table.lookup(&host.parse().unwrap()).copied(), expected, "{host}");
        }
    }

    #[test]
    fn exact_and_wildcard_on_one_name_are_two_entries() {
        let mut table = table(&["b.test", "*.b.test"]);
        let (exact, wildcard) = ("b.test".parse().unwrap(), "*.b.test".parse().unwrap());
        assert_eq!(table.len(), 2);
        assert_eq!(table.insert(HostPattern::clone(&exact), "new"), Some("b.test"));
        assert_eq!(table.remove(&exact), Some("new"));
        assert_eq!(table.get(&exact), None);
        assert_eq!(table.get(&wildcard), Some(&"*.b.test"));
        *table.get_mut(&wildcard).unwrap() = "changed";
        assert_eq!(table.iter().collect::<Vec<_>>(), [(wildcard.clone(), &"changed")]);
        assert_eq!(table.remove(&wildcard), Some("changed"));
        assert!(table.is_empty());
    }

    proptest! {
        /// Routing and authorising are one answer: what `lookup` finds, the pattern itself matches.
        #[test]
        fn lookup_agrees_with_matches(
            patterns in prop::collection::vec("(\\*\\.)?([ab]\\.){0,3}t", 0..6),
            host in "([ab]\\.){0,4}t",
        ) {
            let mut table = HostTable::new();
            let patterns: Vec<HostPattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
            for pattern in &patterns {
                table.insert(pattern.clone(), pattern.clone());
            }
            let host: Hostname = host.parse().unwrap();
            let best = patterns
                .iter()
                .filter(|pattern| pattern.matches(&host))
                .max_by_key(|pattern| matches!(pattern, HostPattern::Exact(_)));
            prop_assert_eq!(table.lookup(&host), best);
        }
    }
}
