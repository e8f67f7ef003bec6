//! A headless Chromium, spoken to over two pipes in its DevTools protocol: JSON texts that end in a zero byte.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// How long an answer may take on a machine that is busy with something else.
const DEADLINE: Duration = Duration::from_secs(120);

/// One browser at a time: each wants all of a small machine, and two would measure each other.
static TURN: Mutex<()> = Mutex::new(());

/// The browser's program, where there is one that runs: that of `$CHROMIUM`, where it is set (to nothing: none), or one in PATH. Some
/// distributions put a program there that only says how to get it.
pub fn program() -> Option<PathBuf> {
    let works = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if let Some(program) = std::env::var_os("CHROMIUM") {
        return Some(PathBuf::from(program)).filter(works);
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH")?;
    let found = |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(works);
    names.into_iter().find_map(found)
}

pub struct Browser {
    process: Child,
    to: File,
    from: Receiver<Json>,
    events: VecDeque<Json>,
    session: Option<String>,
    last_id: u64,
    /// Profile and pipes; removed with the browser.
    _folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts one with an empty page. `None`, and a line that says so, where there is no browser.
    pub fn start() -> Option<Browser> {
        let Some(program) = program() else {
            // Past the test runner, which keeps what passing tests print to itself.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: no chromium, chromium-browser or google-chrome in PATH; the page was not tried in a browser"
            );
            return None;
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        // Opened for both, neither end waits for the other.
        let open = |path: &Path| File::options().read(true).write(true).open(path).unwrap();
        let (to_file, from_file) = (open(&to), open(&from));
        let process = Command::new("sh")
            .args(["-c", "to=$1 from=$2; shift 2; exec \"$@\" 3<\"$to\" 4>\"$from\"", "sh"])
            .args([&to, &from, &program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from_file);
            let mut text = Vec::new();
            while reader.read_until(0, &mut text).is_ok_and(|length| length > 0) {
                let message = serde_json::from_slice(text.strip_suffix(&[0]).unwrap_or(&text)).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
                text.clear();
            }
        });
        let mut browser = Browser {
            process,
            to: to_file,
            from: receiver,
            events: VecDeque::new(),
            session: None,
            last_id: 0,
            _folder: folder,
            _turn: turn,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Asks for something and waits for the answer; events that come before it are kept.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Json) -> Json {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.to.write_all(&text).unwrap();
        let until = Instant::now() + DEADLINE;
        loop {
            let message = self.next(until, method);
            if message["id"] == json!(self.last_id) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    #[track_caller]
    fn next(&mut self, until: Instant, what: &str) -> Json {
        let left = until.saturating_duration_since(Instant::now());
        self.from.recv_timeout(left).unwrap_or_else(|_| panic!("the browser does not answer: {what}"))
    }

    /// Opens a file in a window of that size; `phone`: with a phone's screen.
    #[track_caller]
    pub fn open(&mut self, file: &Path, width: u32, height: u32, dark: bool) {
        let phone = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone}),
        );
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        self.call("Page.navigate", json!({"url": format!("file://{}", file.display())}));
        let until = Instant::now() + DEADLINE;
        let loaded = |event: &Json| event["method"] == "Page.loadEventFired";
        while !self.events.iter().any(loaded) {
            let message = self.next(until, "to load the page");
            self.events.push_back(message);
        }
    }

    /// The value of an expression; a promise is waited for.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Json {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Does something in the page and waits until it is drawn; ms.
    #[track_caller]
    pub fn timed(&mut self, statement: &str) -> f64 {
        let drawn = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
        let timed = format!(
            "(async () => {{ {drawn}; const began = performance.now(); {statement}; {drawn}; return performance.now() - began }})()"
        );
        self.eval(&timed).as_f64().unwrap()
    }

    /// Presses a key, as a person would.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        let letter = key.chars().count() == 1;
        let mut down = json!({"type": "keyDown", "key": key, "code": key});
        if letter {
            down["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "code": key}));
        self.timed("0");
    }

    /// Does something with the mouse at a place of the window; `wheel`: how far it turns.
    #[track_caller]
    pub fn mouse(&mut self, what: &str, (x, y): (f64, f64), wheel: i32) {
        let mut event = json!({"type": what, "x": x, "y": y, "deltaX": 0, "deltaY": wheel});
        if what != "mouseWheel" {
            event["button"] = json!("left");
            event["clickCount"] = json!(1);
        }
        if what == "mouseMoved" {
            event["button"] = json!("none");
        }
        self.call("Input.dispatchMouseEvent", event);
    }

    /// What was complained of since the page was opened: exceptions, console errors and warnings, policy violations.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever was said before this answer has arrived with it.
        self.eval("0");
        let bad = |event: &Json| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] != "log",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "verbose",
            _ => false,
        };
        let found = self.events.iter().filter(|event| bad(event)).map(Json::to_string).collect();
        self.events.clear();
        found
    }

    /// The page from top to bottom as a PNG file.
    pub fn screenshot(&mut self, file: &Path) {
        let size = self.eval("[document.documentElement.clientWidth, document.documentElement.scrollHeight]");
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", asked);
        std::fs::write(file, decoded(shot["data"].as_str().unwrap())).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn decoded(base64: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = base64.bytes().filter(|letter| *letter != b'=').collect();
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3);
    for chunk in letters.chunks(4) {
        let word = chunk.iter().fold(0, |word, letter| word << 6 | value(*letter)) << (6 * (4 - chunk.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    bytes
}
