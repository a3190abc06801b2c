//! The virtual machine: a qemu process that ends with this value at the latest. The guest speaks through a
//! port of its own, because each byte on an emulated serial line takes long; the serial line is the kernel's
//! console, of which an error shows the end.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::{At as _, LabError};
use crate::protocol::PORT_NAME;

/// The program.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// The first place of the bus that disks get, and how many get them: the chipset has the first and the last,
/// the port the second.
const FIRST_SLOT: usize = 2;
const SLOTS: usize = 28;
/// Disks in each place.
const FUNCTIONS: usize = 8;
/// How many disks there can be.
pub(crate) const DISKS_MAX: usize = SLOTS * FUNCTIONS;
/// How many lines of the console an error shows.
const LAST_LINES: usize = 6;
/// What the line has in which a kernel names its fault.
const FAULT: &str = "BUG: ";
/// What the kernel is told: the console is the serial line, a panic ends the machine, an address stays where
/// it is, and `khugepaged` does not collect the pages of mappings after some seconds.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off transparent_hugepage=never";

/// What a machine is made of.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// The archive with its initial file system.
    pub(crate) initrd: &'a Path,
    /// Where the kernel's console is written to.
    pub(crate) console: &'a Path,
    /// Read-only disks, with their serial numbers.
    pub(crate) disks: &'a [(String, PathBuf)],
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
}

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Child,
    lines: Receiver<String>,
    console: PathBuf,
    deadline: Instant,
    limit: Duration,
}

impl Machine {
    /// Starts a machine, which has `limit` to finish.
    ///
    /// # Errors
    /// When there are too many disks, or the program does not start.
    pub(crate) fn start(parts: &Parts<'_>, limit: Duration) -> Result<Self, LabError> {
        if parts.disks.len() > DISKS_MAX {
            return Err(LabError::Disks { found: parts.disks.len(), limit: DISKS_MAX });
        }
        let mut command = Command::new(QEMU);
        command
            .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-no-reboot", "-nodefaults"])
            .args(["-display", "none", "-m", &parts.memory_mib.to_string()])
            .arg("-serial")
            .arg(format!("file:{}", parts.console.display()))
            // As a file, because what is called stdio is closed as soon as there is no input.
            .args(["-chardev", "file,id=port,path=/dev/stdout", "-device", "virtio-serial-pci,addr=0x1"])
            .arg("-device")
            .arg(format!("virtserialport,chardev=port,name={PORT_NAME}"))
            .arg("-kernel")
            .arg(parts.kernel)
            .arg("-initrd")
            .arg(parts.initrd)
            .args(["-append", COMMAND_LINE]);
        for (at, (serial, path)) in parts.disks.iter().enumerate() {
            // A comma ends a value, two stand for one.
            let path = path.display().to_string().replace(',', ",,");
            let (slot, function) = (FIRST_SLOT + at / FUNCTIONS, at % FUNCTIONS);
            command
                .arg("-drive")
                .arg(format!("if=none,id=disk{at},file={path},format=raw,readonly=on,file.locking=off"));
            command.arg("-device").arg(format!(
                "virtio-blk-pci,drive=disk{at},serial={serial},addr={slot:#x}.{function},multifunction=on"
            ));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().at("start", Path::new(QEMU))?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            forward(output, sender.clone());
        }
        if let Some(output) = child.stderr.take() {
            forward(output, sender);
        }
        let console = parts.console.to_path_buf();
        Ok(Self { child, lines, console, deadline: Instant::now() + limit, limit })
    }

    /// The next line of the guest; nothing when the machine has ended.
    ///
    /// # Errors
    /// When the time is over.
    pub(crate) fn line(&self) -> Result<Option<String>, LabError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                Err(self.failure(format!("did not finish within {} seconds", self.limit.as_secs())))
            }
        }
    }

    /// An error that shows the end of the console.
    pub(crate) fn failure(&self, outcome: String) -> LabError {
        let text = std::fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let printed = |line: &str| line.chars().filter(|letter| !letter.is_control()).collect::<String>();
        let lines: Vec<String> = text.lines().map(printed).filter(|line| !line.trim().is_empty()).collect();
        // A kernel that fails says why in a line of its own, long before the last.
        let fault = lines.iter().position(|line| line.contains(FAULT)).unwrap_or(lines.len());
        let from = lines.len().saturating_sub(LAST_LINES);
        let shown = lines.get(fault..from).and_then(<[String]>::first).into_iter();
        let shown: Vec<_> = shown.chain(lines.get(from..).unwrap_or_default()).map(String::as_str).collect();
        LabError::Machine { outcome, console: shown.join(" / ") }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already, or is to end now; a destructor has nobody to tell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends the lines of a stream from a thread of its own, until the stream or the receiver ends.
fn forward(stream: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|len| len > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}
