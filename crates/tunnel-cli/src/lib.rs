//! Flags, environment and files to engine configs; terminal output.
