//! What must hold for whatever a stranger sends, one module per reader that meets strangers.
//!
//! Each module has one function, `check`, which panics if a property of its reader is broken by the given bytes. The
//! libFuzzer targets in `src/bin` call it with bytes of libFuzzer's making, the test at the end of this file with the
//! seeds: so a crash that was found once is a file in `seeds/` and never comes back.
//!
//! Inputs are plain bytes of the protocol, never a wrapping of our own: a seed can be written with an editor, and a
//! capture of real traffic is a seed as it is. What else a check needs to choose (where to cut the bytes, say) it
//! takes from a hash of them: see [`cut`].

pub mod cut;
pub mod memory;

pub mod login_frame;

pub mod control_message;
pub mod datagrams;
pub mod stream_header;
pub mod token_text;

pub mod host_name;

pub mod chunked_body;
pub mod client_hello;
pub mod http_head;
pub mod proxy_header;

mod lane;
pub mod mux_bodies;
pub mod mux_frames;

/// A target: its name, which is that of its module, binary and folder of seeds, and its properties.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("login_frame", login_frame::check),
    ("control_message", control_message::check),
    ("stream_header", stream_header::check),
    ("datagrams", datagrams::check),
    ("token_text", token_text::check),
    ("host_name", host_name::check),
    ("chunked_body", chunked_body::check),
    ("client_hello", client_hello::check),
    ("http_head", http_head::check),
    ("proxy_header", proxy_header::check),
    ("mux_bodies", mux_bodies::check),
    ("mux_frames", mux_frames::check),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    /// One test, as the checks count the memory of the whole process.
    #[test]
    fn every_seed_holds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, check) in TARGETS {
            assert!(root.join("src/bin").join(name).with_extension("rs").is_file(), "{name} has no binary");
            let seeds = root.join("seeds").join(name);
            let mut files: Vec<_> =
                fs::read_dir(&seeds).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            assert!(!files.is_empty(), "{name} has no seeds");
            for file in files {
                println!("{}", file.display());
                check(&fs::read(&file).unwrap());
            }
        }
    }
}
