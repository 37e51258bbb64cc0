//! In-process pairs, upstreams that behave and misbehave, and a relay that fails on purpose.
