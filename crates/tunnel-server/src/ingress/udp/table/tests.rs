//! Who keeps a place, who gets one, and who is turned away.
