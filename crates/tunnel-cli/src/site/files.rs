//! Files of one directory, and no way out of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Answer, Body, page};

/// Most names in a listing.
const LISTED: usize = 1000;

/// The file, directory listing or error that `path` (with its query) stands for below `root`, which is canonical.
pub(super) async fn answer(root: &Path, path: &str) -> Answer {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let Some(relative) = relative(path) else { return Answer::error("404 Not Found") };
    match open(root, &relative, path).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Answer::error("403 Forbidden"),
        Err(_) => Answer::error("404 Not Found"),
    }
}

/// A path's parts, decoded; `None` if one of them could lead elsewhere or is hidden.
fn relative(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode(path.strip_prefix('/')?)?;
    let mut relative = PathBuf::new();
    for part in decoded.split('/').filter(|part| !part.is_empty()) {
        if part.starts_with('.') || part.contains(['\\', ':', '\0']) {
            return None;
        }
        relative.push(part);
    }
    Some(relative)
}

async fn open(root: &Path, relative: &Path, path: &str) -> io::Result<Answer> {
    let mut target = tokio::fs::canonicalize(root.join(relative)).await?;
    if !target.starts_with(root) {
        // A link out of the directory.
        return Err(io::ErrorKind::NotFound.into());
    }
    if tokio::fs::metadata(&target).await?.is_dir() {
        if !path.ends_with('/') {
            // Always of this site: the parts were checked, and two slashes would name another.
            let to = relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            let location = Some(format!("/{}/", page::percent_encode(&to)));
            let answer = Answer::error("301 Moved Permanently");
            return Ok(Answer { location, ..answer });
        }
        let index = tokio::fs::canonicalize(target.join("index.html")).await;
        match index.ok().filter(|index| index.starts_with(root)) {
            Some(index) => target = index,
            None => return Ok(Answer::page(page::listing(path, &names(&target).await?))),
        }
    }
    let file = tokio::fs::File::open(&target).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let body = Body::File(file, metadata.len());
    Ok(Answer { status: "200 OK", kind: kind(&target), location: None, body })
}

async fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(directory).await?;
    while let Some(entry) = entries.next_entry().await?
        && names.len() < LISTED
    {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            let is_directory = entry.file_type().await?.is_dir();
            names.push(if is_directory { format!("{name}/") } else { name });
        }
    }
    names.sort();
    Ok(names)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" | "md" | "log" | "toml" | "rs" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp4" => "video/mp4",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_or_to_hidden_files() {
        for path in [
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/..%2fx",
            "/a%5c..%5cx",
            "/.git/config",
            "/%00",
            "/%zz",
            "x",
            "/c:",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
        for (path, expected) in [("/", ""), ("//etc//passwd", "etc/passwd"), ("/a%20b/c.txt", "a b/c.txt")] {
            assert_eq!(relative(path), Some(expected.into()), "{path}");
        }
    }
}
