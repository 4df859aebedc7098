//! A command of the real binary, in a pipe or on a terminal of its own.

use std::{
    fs::File,
    io::Read as _,
    os::fd::AsFd as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, Termios, tcgetattr},
    },
    unistd::{Pid, write},
};

use super::until;

/// `freshet` with `arguments`, without anything of the environment that would name a server or a database.
pub fn freshet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
    for variable in ["DATABASE_URL", "FRESHET_CONFIG", "FRESHET_URL", "FRESHET_OPERATIONS", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.args(arguments);
    command
}

/// A command on a terminal of 100 columns and 30 lines; killed with this value.
pub struct Terminal {
    child: Child,
    ours: std::os::fd::OwnedFd,
    theirs: std::os::fd::OwnedFd,
    printed: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Terminal {
    /// Starts `freshet` with `arguments`.
    pub fn start(arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("settings");
        let stdio = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut command = freshet(arguments);
        command.env("TERM", "xterm-256color").stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command.spawn().expect("start freshet");
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut reads = File::from(pty.master.try_clone().expect("a descriptor"));
        let kept = printed.clone();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = reads.read(&mut piece) {
                kept.lock().expect("no panic").extend_from_slice(&piece[..read]);
            }
        });
        Terminal { child, ours: pty.master, theirs: pty.slave, printed, before }
    }

    /// Everything printed so far, the controls of the terminal left out; what is drawn apart stands apart.
    pub fn text(&self) -> String {
        let printed = self.printed.lock().expect("no panic");
        let (mut text, mut controls) = (String::new(), false);
        for c in String::from_utf8_lossy(&printed).chars() {
            match c {
                '\u{1b}' => controls = true,
                c if controls => {
                    if c.is_ascii_alphabetic() {
                        controls = false;
                        // Colours part nothing, moves do.
                        text.extend((c != 'm').then_some(' '));
                    }
                }
                c => text.push(c),
            }
        }
        text
    }

    /// Waits until `text` was printed.
    pub async fn shows(&self, text: &str) {
        until(&format!("the terminal shows {text:?}"), async || self.text().contains(text)).await;
    }

    /// Types `keys`.
    pub fn types(&self, keys: &str) {
        write(self.ours.as_fd(), keys.as_bytes()).expect("typed");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("signal");
    }

    /// Waits for the command's end.
    pub async fn ended(&mut self) -> ExitStatus {
        until("the command ends", async || self.child.try_wait().expect("a status").is_some()).await;
        self.child.wait().expect("a status")
    }

    /// Whether the terminal is as it was found: the first screen is shown, lines are edited and echoed.
    pub fn is_restored(&self) -> bool {
        let printed = self.printed.lock().expect("no panic");
        let last = |control: &[u8]| printed.windows(control.len()).rposition(|window| window == control);
        let now = tcgetattr(&self.theirs).expect("settings");
        let flags = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        last(b"\x1b[?1049l") > last(b"\x1b[?1049h") && now.local_flags & flags == self.before.local_flags & flags
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
