//! A real browser without a window: Chromium, steered by the DevTools protocol.
//!
//! It reads and writes messages (JSON, each ended by a NUL) at descriptors 3 and 4, so there is no port that others could
//! reach, and no library is needed.

use std::{path::PathBuf, process::Stdio, time::Duration};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
};

use super::{Fault, Outcome, Told, World, within};

/// A browser with one page, and whatever it keeps for the pages that it has seen.
#[derive(Debug)]
pub(crate) struct Browser {
    _process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// The page's.
    session: String,
    last: u64,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// In CSS pixels.
    pub(crate) size: (u32, u32),
    /// Whether the system wants dark colours.
    pub(crate) is_dark: bool,
}

/// What Chromium is called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Where programs are.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Browser {
    /// Where one is on this machine.
    pub(crate) fn find() -> Option<PathBuf> {
        let files = PATH.split(':').flat_map(|folder| NAMES.map(|name| PathBuf::from(folder).join(name)));
        files.into_iter().find(|file| file.is_file())
    }

    /// Starts it with an empty profile. `elsewhere` is a host name that leads to this machine, as somebody else's may.
    pub(crate) async fn start(world: &World, program: &std::path::Path, elsewhere: &str) -> Outcome<Self> {
        let mut command = world.command("/bin/sh".as_ref(), "browser");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"]).arg(program);
        command.args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"]);
        // What it opens is ours, and as root, or in a container, it has no sandbox.
        command.args(["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg(format!("--user-data-dir={}", world.path("browser/profile").display()));
        command.arg(format!("--host-resolver-rules=MAP {elsewhere} 127.0.0.1"));
        command.arg("about:blank").env("PATH", PATH);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().told(program.display())?;
        let (to, from) = (process.stdin.take(), process.stdout.take());
        let (to, from) = to.zip(from).ok_or(Fault::new("the browser has no pipes"))?;
        let from = BufReader::new(from);
        let mut browser = Self { _process: process, to, from, session: String::new(), last: 0 };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await?;
        browser.session = browser.attach(&target["targetId"]).await?;
        Ok(browser)
    }

    /// Opens an address, and waits until what is there was loaded.
    pub(crate) async fn open(&mut self, url: &str) -> Outcome {
        // A page that only differs behind the `#` would not be loaded anew.
        self.ask("Page.navigate", json!({ "url": "about:blank" })).await?;
        self.ask("Page.navigate", json!({ "url": url })).await?;
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'").await
    }

    /// What an expression is on the page. Promises are waited for.
    pub(crate) async fn value(&mut self, expression: &str) -> Outcome<Value> {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.ask("Runtime.evaluate", asked).await?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            thrown => Err(Fault::new(format!("{expression}: {thrown}"))),
        }
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) -> Outcome {
        let polling = async {
            // A page that is being replaced has no answers.
            while self.value(expression).await.ok() != Some(Value::Bool(true)) {
                // sleep: pages tell nobody when they are done
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = within(expression, polling).await;
        match waited {
            Ok(()) => Ok(()),
            Err(fault) => {
                let text = self.value("document.body.innerText").await.unwrap_or_default();
                Err(Fault::new(format!("{fault}; the page says: {text}")))
            }
        }
    }

    /// Waits until the page says something.
    pub(crate) async fn says(&mut self, text: &str) -> Outcome {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await
    }

    /// Clicks what has this text, or is called so by its label, once it is there.
    pub(crate) async fn click(&mut self, text: &str) -> Outcome {
        self.until(&format!(
            "(() => {{ const name = (e) => e.getAttribute('aria-label') ?? e.textContent; \
               const found = [...document.querySelectorAll('button, a')].find((e) => \
                 name(e).trim() === {} && e.checkVisibility()); found?.click(); return !!found; }})()",
            json!(text)
        ))
        .await
    }

    /// Types into the field of this id, once it is there.
    pub(crate) async fn fill(&mut self, id: &str, text: &str) -> Outcome {
        self.until(&format!(
            "document.getElementById({0})?.focus() ?? document.activeElement.id === {0}",
            json!(id)
        ))
        .await?;
        self.ask("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// What is in the frames of the page: an expression's value in each.
    pub(crate) async fn in_frames(&mut self, expression: &str) -> Outcome<Vec<Value>> {
        let targets = self.ask("Target.getTargets", json!({})).await?;
        let frames = targets["targetInfos"].as_array().into_iter().flatten();
        let frames: Vec<_> = frames.filter(|target| target["type"] == "iframe").cloned().collect();
        let page = self.session.clone();
        let mut values = Vec::new();
        for frame in frames {
            self.session = self.attach(&frame["targetId"]).await?;
            let value = self.value(expression).await;
            self.session.clone_from(&page);
            values.push(value?);
        }
        Ok(values)
    }

    /// What the page looks like: a PNG of all of it.
    pub(crate) async fn picture(&mut self, View { size, is_dark }: View) -> Outcome<Vec<u8>> {
        let (width, height) = size;
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        self.ask("Emulation.setDeviceMetricsOverride", metrics).await?;
        // Two frames: what depends on the size is drawn in the second.
        let drawn =
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))";
        self.value(drawn).await?;
        let layout = self.ask("Page.getLayoutMetrics", json!({})).await?;
        let mut clip = layout["cssContentSize"].clone();
        clip["scale"] = 1.into();
        let whole = json!({ "captureBeyondViewport": true, "clip": clip });
        let taken = self.ask("Page.captureScreenshot", whole).await?;
        BASE64.decode(taken["data"].as_str().unwrap_or_default().as_bytes()).told("a picture")
    }

    async fn attach(&mut self, target: &Value) -> Outcome<String> {
        let page = std::mem::take(&mut self.session);
        let attached =
            self.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await;
        self.session = page;
        attached?["sessionId"].as_str().map(str::to_owned).ok_or(Fault::new("no session of the page"))
    }

    /// Sends a command, and gives what came of it.
    async fn ask(&mut self, method: &str, params: Value) -> Outcome<Value> {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).await?;
        self.to.flush().await?;
        within(method, async {
            loop {
                let mut answer = Vec::new();
                self.from.read_until(0, &mut answer).await?;
                check_end(&answer)?;
                answer.pop();
                let answer: Value = serde_json::from_slice(&answer)?;
                // The rest are events.
                if answer["id"] == id {
                    return match &answer["error"] {
                        Value::Null => Ok(answer["result"].clone()),
                        error => Err(Fault::new(format!("{method}: {error}"))),
                    };
                }
            }
        })
        .await?
    }
}

fn check_end(message: &[u8]) -> Outcome {
    if message.last() == Some(&0) { Ok(()) } else { Err(Fault::new("the browser has ended")) }
}
