//! The file server over real sockets: what is shown, what isn't there, and what HTTP asks of it.

use std::{fs, path::PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;

const SECRET: &str = "hunter2";

/// A directory in a directory with a secret, and a server for it.
struct Site {
    home: tempfile::TempDir,
    address: std::net::SocketAddr,
    _serving: JoinSet<()>,
}

/// An answer, as it came.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Site {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("site")).unwrap();
        fs::write(home.path().join("secret.txt"), SECRET).unwrap();
        let app = app::router(Root::open(&home.path().join("site")).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { home, address, _serving: serving }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join("site").join(relative)
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn ask(&self, method: &str, target: &str, fields: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        Answer { status: head[9..12].parse().unwrap(), head, body: all[end..].to_vec() }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "").await
    }
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[tokio::test]
async fn files_directories_and_their_kinds() {
    let site = Site::new().await;
    site.write("a.txt", "text of a");
    site.write("with space & é.html", "<p>page");
    site.write("app.js", "1");
    site.write("pixel.png", "");
    site.write("LICENSE", "free");
    site.write("sub/index.html", "<p>index");
    site.write("sub/b.css", "b{}");
    site.write(".well-known/security.txt", "Contact: x");
    for (target, status, kind, body) in [
        ("/a.txt", 200, "text/plain; charset=utf-8", "text of a"),
        ("/a.txt?x=1", 200, "text/plain; charset=utf-8", "text of a"),
        ("/./%61.txt", 200, "text/plain; charset=utf-8", "text of a"),
        ("/with%20space%20&%20%C3%A9.html", 200, "text/html; charset=utf-8", "<p>page"),
        ("/app.js", 200, "text/javascript; charset=utf-8", "1"),
        ("/pixel.png", 200, "image/png", ""),
        ("/LICENSE", 200, "application/octet-stream", "free"),
        ("/sub/", 200, "text/html; charset=utf-8", "<p>index"),
        ("/sub/index.html", 200, "text/html; charset=utf-8", "<p>index"),
        ("/sub/b.css", 200, "text/css; charset=utf-8", "b{}"),
        ("/.well-known/security.txt", 200, "text/plain; charset=utf-8", "Contact: x"),
        ("/none", 404, "text/html; charset=utf-8", "404"),
        ("/sub/none", 404, "text/html; charset=utf-8", "404"),
        ("/a.txt/", 404, "text/html; charset=utf-8", "404"),
        ("/a.txt/b", 404, "text/html; charset=utf-8", "404"),
        ("/a.txt/index.html", 404, "text/html; charset=utf-8", "404"),
        ("/none/index.html", 404, "text/html; charset=utf-8", "404"),
        ("/none/", 404, "text/html; charset=utf-8", "404"),
    ] {
        let answer = site.get(target).await;
        assert_eq!((answer.status, answer.field("content-type")), (status, Some(kind)), "{target}");
        assert!(answer.text().contains(body), "{target}: {}", answer.text());
        assert_eq!(answer.field("content-length"), Some(answer.body.len().to_string().as_str()), "{target}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{target}");
        let head = site.ask("HEAD", target, "").await;
        assert_eq!((head.status, head.body.len()), (status, 0), "{target}");
        assert_eq!(head.field("content-type"), Some(kind), "{target}");
        if status == 200 {
            assert_eq!(head.field("content-length"), answer.field("content-length"), "{target}");
        }
    }
    let redirect = site.get("/sub?q=1").await;
    assert_eq!((redirect.status, redirect.field("location")), (307, Some("/sub/?q=1")));
}

#[tokio::test]
async fn no_way_out_and_nothing_hidden() {
    let site = Site::new().await;
    site.write("a.txt", "a");
    site.write("sub/b.txt", "b");
    for hidden in [".env", ".git/config", "sub/.htpasswd", ".hidden/index.html"] {
        site.write(hidden, SECRET);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("../secret.txt", site.path("link.txt")).unwrap();
        symlink(site.home.path().join("secret.txt"), site.path("absolute.txt")).unwrap();
        symlink("..", site.path("up")).unwrap();
        symlink("/", site.path("slash")).unwrap();
        fs::create_dir(site.path("trap")).unwrap();
        symlink("../../secret.txt", site.path("trap/index.html")).unwrap();
        symlink("loop", site.path("loop")).unwrap();
        // Another directory whose path begins like the root's.
        fs::create_dir(site.home.path().join("site-of-others")).unwrap();
        fs::write(site.home.path().join("site-of-others/x"), SECRET).unwrap();
        symlink("../site-of-others", site.path("beside")).unwrap();
    }
    let long = format!("/{}", "a".repeat(5000));
    for target in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2e%2fsecret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/sub/..%5c..%5csecret.txt",
        "/..\\secret.txt",
        "/%252e%252e/secret.txt",
        "/....//secret.txt",
        "/..;/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%ff%fe",
        "/a.txt%00",
        "/%00/../secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "///etc/passwd",
        "/sub//../../secret.txt",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/.git",
        "/sub/.htpasswd",
        "/.hidden/",
        "/.hidden/index.html",
        "/.well-known/",
        "/c:/windows/win.ini",
        "/link.txt",
        "/absolute.txt",
        "/up/",
        "/up/secret.txt",
        "/slash/etc/passwd",
        "/slash/",
        "/trap/",
        "/trap/index.html",
        "/loop",
        "/beside/x",
        "/beside/",
        &long,
    ] {
        for method in ["GET", "HEAD"] {
            let answer = site.ask(method, target, "").await;
            assert_eq!(answer.status, 404, "{method} {target}: {}", answer.text());
            assert!(!answer.text().contains(SECRET) && !answer.text().contains("root:"), "{target}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let answer = site.ask(method, "/a.txt", "Content-Length: 0\r\n").await;
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET,HEAD")), "{method}");
    }
    let listing = site.get("/").await.text();
    assert!(listing.contains("a.txt") && listing.contains("sub/"), "{listing}");
    for hidden in [".env", ".git", "link.txt", "absolute.txt", "up", "slash", "loop", "beside"] {
        assert!(!listing.contains(&format!("\"./{hidden}")), "{hidden} in {listing}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_within_are_followed_and_pipes_are_not_there() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let site = Site::new().await;
    site.write("real/a.txt", "a");
    symlink("real/a.txt", site.path("link.txt")).unwrap();
    symlink("real", site.path("linked")).unwrap();
    symlink(site.path("real"), site.path("absolute")).unwrap();
    for target in ["/link.txt", "/linked/a.txt", "/absolute/a.txt"] {
        assert_eq!(site.get(target).await.text(), "a", "{target}");
    }
    let listing = site.get("/").await.text();
    assert!(listing.contains("\"./linked/\"") && listing.contains("\"./link.txt\""), "{listing}");

    let socket = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    assert_eq!(site.get("/socket").await.status, 404);
    drop(socket);
    site.write("locked.txt", SECRET);
    fs::set_permissions(site.path("locked.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    // Nothing is locked for root.
    if fs::read(site.path("locked.txt")).is_err() {
        assert_eq!(site.get("/locked.txt").await.status, 403);
    }
}

#[tokio::test]
async fn parts_of_a_file() {
    let site = Site::new().await;
    site.write("ten", "0123456789");
    site.write("empty", "");
    for (target, range, status, body, content_range) in [
        ("/ten", "bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("/ten", "bytes=4-", 206, "456789", Some("bytes 4-9/10")),
        ("/ten", "bytes=-2", 206, "89", Some("bytes 8-9/10")),
        ("/ten", "bytes=9-99", 206, "9", Some("bytes 9-9/10")),
        ("/ten", "bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("/ten", "bytes=10-", 416, "416", Some("bytes */10")),
        ("/ten", "bytes=99999999999999999999-", 416, "416", Some("bytes */10")),
        ("/ten", "bytes=5-2", 416, "416", Some("bytes */10")),
        // An empty file has no parts.
        ("/empty", "bytes=0-", 200, "", None),
        ("/empty", "bytes=-1", 200, "", None),
        ("/ten", "bytes=-99", 200, "0123456789", None),
        // Several ranges may be answered with the whole.
        ("/ten", "bytes=0-1,4-5", 200, "0123456789", None),
        // Other units are ignored.
        ("/ten", "lines=0-1", 200, "0123456789", None),
        ("/ten", "0-1", 200, "0123456789", None),
    ] {
        let answer = site.ask("GET", target, &format!("Range: {range}\r\n")).await;
        assert_eq!(answer.status, status, "{range}");
        let got = answer.text();
        assert!(if status == 416 { got.contains(body) } else { got == body }, "{range}: {got}");
        assert_eq!(answer.field("content-range"), content_range, "{range}");
        assert_eq!(answer.field("content-length"), Some(got.len().to_string().as_str()), "{range}");
    }
    assert_eq!(site.get("/ten").await.field("accept-ranges"), Some("bytes"));
}

#[tokio::test]
async fn what_a_visitor_has_already_is_not_sent_again() {
    let site = Site::new().await;
    site.write("a", "0123456789");
    let first = site.get("/a").await;
    let (tag, date) = (first.field("etag").unwrap(), first.field("last-modified").unwrap());
    assert!(tag.starts_with('"'), "{tag}");
    let past = "Thu, 01 Jan 1970 00:00:01 GMT";
    for (fields, status, length) in [
        (format!("If-None-Match: {tag}"), 304, 0),
        (format!("If-None-Match: \"x\", W/{tag}"), 304, 0),
        ("If-None-Match: *".into(), 304, 0),
        ("If-None-Match: \"x\"".into(), 200, 10),
        (format!("If-Modified-Since: {date}"), 304, 0),
        (format!("If-Modified-Since: {past}"), 200, 10),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}"), 200, 10),
        ("If-Match: \"x\"".into(), 412, 0),
        (format!("If-Unmodified-Since: {past}"), 412, 0),
        (format!("Range: bytes=2-3\r\nIf-Range: {tag}"), 206, 2),
        (format!("Range: bytes=2-3\r\nIf-Range: {date}"), 206, 2),
        ("Range: bytes=2-3\r\nIf-Range: \"x\"".into(), 200, 10),
        (format!("Range: bytes=2-3\r\nIf-Range: W/{tag}"), 200, 10),
        (format!("Range: bytes=2-3\r\nIf-Range: {past}"), 200, 10),
        (format!("Range: bytes=99-\r\nIf-Range: {tag}"), 416, 0),
        ("Range: bytes=99-\r\nIf-Range: \"x\"".into(), 200, 10),
    ] {
        let answer = site.ask("GET", "/a", &format!("{fields}\r\n")).await;
        assert_eq!(answer.status, status, "{fields}");
        if status < 400 {
            assert_eq!(answer.body.len(), length, "{fields}");
        }
    }
    let listing = site.get("/").await;
    assert_eq!((listing.status, listing.field("etag")), (200, None), "made anew each time");
}

#[tokio::test]
async fn a_file_that_shrinks_meanwhile_is_not_taken_for_a_whole_one() {
    let site = Site::new().await;
    let size: usize = 64 << 20;
    fs::File::create(site.path("big")).unwrap().set_len(size as u64).unwrap();
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1024];
    stream.read_exact(&mut first).await.unwrap();
    // Nobody reads: the rest doesn't fit between the two of us, so the file is still being sent.
    fs::OpenOptions::new().write(true).open(site.path("big")).unwrap().set_len(1).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < size - first.len(), "{}", rest.len());
}

#[tokio::test]
async fn a_crowded_directory_is_listed_in_part() {
    let site = Site::new().await;
    for number in 0..=listing::MOST {
        site.write(&format!("many/{number}"), "");
    }
    let page = site.get("/many/").await.text();
    assert_eq!(page.matches("<tr>").count(), listing::MOST + 1, "and the way up");
    assert!(page.contains("Only 1000 entries"), "{page}");
}

#[test]
fn only_a_directory_can_be_shown() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Root::open(&file).is_err());
    assert!(Root::open(&home.path().join("none")).is_err());
    assert!(Root::open(home.path()).is_ok());
}
