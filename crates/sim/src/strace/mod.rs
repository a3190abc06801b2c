//! From what `strace -f` writes to a list of accesses: descriptors per process, what children inherit,
//! working directories, calls that are interrupted in the log and resumed later. Text in, records out.
//!
//! What strace does not see is not in the list: pages that are touched through a mapping (a mapping counts
//! with its whole length), the interpreter that the kernel maps for a program, `io_uring`.

mod line;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::BufRead;
use std::rc::Rc;

use crate::error::TraceError;
use crate::scenario::Method;
use crate::trace::{CALL, How, Lines, Record};
use line::{Call, Said};

/// The longest line that is read, in bytes.
const LINE_MAX: usize = 1 << 20;

/// Where an image is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mountpoint {
    /// The directory, as the traced programs see it.
    pub dir: Vec<u8>,
    /// The image.
    pub image: Vec<u8>,
}

/// An open file description: descriptors that were duplicated or inherited have one in common.
#[derive(Debug)]
struct Description {
    path: Vec<u8>,
    position: Cell<u64>,
    /// Reads that follow each other and are not handed out yet.
    pending: RefCell<Option<Record>>,
}

#[derive(Debug, Clone)]
struct Descriptor {
    file: Rc<Description>,
    close_on_exec: bool,
}

type Table = BTreeMap<u64, Descriptor>;

/// A process; tables and directories can be common to several.
#[derive(Debug, Clone)]
struct Process {
    files: Rc<RefCell<Table>>,
    dir: Rc<RefCell<Vec<u8>>>,
    /// The first part of a call that has not ended.
    unfinished: Option<Vec<u8>>,
}

impl Process {
    fn new() -> Self {
        let dir = Rc::new(RefCell::new(b"/".to_vec()));
        Self { files: Rc::default(), dir, unfinished: None }
    }

    /// A child, which has what its parent has, or what the flags of the call say.
    fn child(&self, shares_files: bool, shares_dir: bool) -> Self {
        let copy = |table: &Rc<RefCell<Table>>| Rc::new(RefCell::new(table.borrow().clone()));
        let files = if shares_files { Rc::clone(&self.files) } else { copy(&self.files) };
        let dir =
            if shares_dir { Rc::clone(&self.dir) } else { Rc::new(RefCell::new(self.dir.borrow().clone())) };
        Self { files, dir, unfinished: None }
    }
}

/// Reads a log and hands out the accesses to files below the mountpoints. Ends after the first error.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    mounts: Vec<Mountpoint>,
    processes: BTreeMap<u64, Process>,
    /// Processes that are just making another one: the first part of such a call is all that the log has of
    /// it so far.
    making: BTreeSet<u64>,
    ready: VecDeque<Record>,
    strange: u64,
    records: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `source`. Of several mountpoints above a file the longest counts.
    pub fn new(source: R, mounts: &[Mountpoint]) -> Self {
        let mut mounts: Vec<Mountpoint> = mounts
            .iter()
            .map(|mount| Mountpoint { dir: joined(b"/", &mount.dir), image: mount.image.clone() })
            .collect();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.dir.len()));
        let lines = Lines::new(source, LINE_MAX);
        let (processes, making) = (BTreeMap::new(), BTreeSet::new());
        Self { lines, mounts, processes, making, ready: VecDeque::new(), strange: 0, records: 0 }
    }

    /// How many lines so far were none of strace.
    pub fn strange_lines(&self) -> u64 {
        self.strange
    }

    /// How many accesses to files of the mounts there were so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The number of the line that was read last, from 1 on.
    pub fn line(&self) -> u64 {
        self.lines.number
    }

    fn take_line(&mut self) {
        let text = std::mem::take(&mut self.lines.text);
        let (pid, said) = line::split(&text);
        match said {
            Said::Nothing => {}
            Said::Strange => self.strange += 1,
            Said::Exited => {
                self.making.remove(&pid);
                if let Some(gone) = self.processes.remove(&pid) {
                    // Whoever still has the table hands out what is pending.
                    if let Ok(table) = Rc::try_unwrap(gone.files) {
                        self.release(table.into_inner());
                    }
                }
            }
            Said::Unfinished(first) => {
                self.process(pid).unfinished = Some(first.to_vec());
                if name_of(first).is_some_and(makes_processes) {
                    self.making.insert(pid);
                } else {
                    self.making.remove(&pid);
                }
            }
            Said::Resumed(rest) => match self.unfinished(pid) {
                Some(first) => self.take_call(pid, &[first.as_slice(), rest].concat()),
                None => self.strange += 1,
            },
            Said::Whole(call) => self.take_call(pid, call),
        }
        self.lines.text = text;
    }

    /// The first part of a call that now ends.
    fn unfinished(&mut self, pid: u64) -> Option<Vec<u8>> {
        self.making.remove(&pid);
        self.process(pid).unfinished.take()
    }

    /// The process with this number. One that was not there before is the child of whoever is just making
    /// one.
    fn process(&mut self, pid: u64) -> &mut Process {
        if !self.processes.contains_key(&pid) {
            let parent = self.making.last().and_then(|parent| self.processes.get(parent));
            let child = parent.map(|parent| {
                let flags = parent.unfinished.as_deref().unwrap_or_default();
                parent.child(contains(flags, b"CLONE_FILES"), contains(flags, b"CLONE_FS"))
            });
            self.processes.insert(pid, child.unwrap_or_else(Process::new));
        }
        self.processes.entry(pid).or_insert_with(Process::new)
    }

    fn take_call(&mut self, pid: u64, text: &[u8]) {
        self.process(pid);
        let Some(call) = Call::parse(text) else {
            self.strange += 1;
            return;
        };
        // What failed has done nothing.
        let Some(result) = call.result else { return };
        match call.name {
            b"open" | b"creat" | b"openat" | b"openat2" => self.open(pid, &call, result),
            b"close" | b"close_range" => self.close(pid, &call),
            b"dup" | b"dup2" | b"dup3" | b"fcntl" | b"fcntl64" => self.duplicate(pid, &call, result),
            b"chdir" | b"fchdir" => self.change_dir(pid, &call),
            b"execve" | b"execveat" => self.execute(pid, &call),
            name if makes_processes(name) => self.fork(pid, &call, result),
            _ => self.access(pid, &call, result),
        }
    }

    fn open(&mut self, pid: u64, call: &Call<'_>, result: u64) {
        let at = usize::from(call.name.starts_with(b"openat"));
        let Some(path) = call.path(at) else { return };
        let from = if at == 0 || call.has(0, b"AT_FDCWD") { None } else { call.number(0) };
        let path = self.absolute(pid, from, &path);
        let close_on_exec = call.any_has(b"O_CLOEXEC");
        let file = Description { path, position: Cell::new(0), pending: RefCell::new(None) };
        self.put(pid, result, Descriptor { file: Rc::new(file), close_on_exec });
    }

    /// Puts a descriptor in its place; what was there is closed.
    fn put(&mut self, pid: u64, number: u64, descriptor: Descriptor) {
        let old = self.process(pid).files.borrow_mut().insert(number, descriptor);
        self.release(old.into_iter().map(|old| (number, old)).collect());
    }

    fn close(&mut self, pid: u64, call: &Call<'_>) {
        let (Some(first), range) = (call.number(0), call.name == b"close_range") else { return };
        let last = if range { call.number(1).unwrap_or(u64::MAX) } else { first };
        if first > last {
            return;
        }
        let mut table = std::mem::take(&mut *self.process(pid).files.borrow_mut());
        let mut gone = table.split_off(&first);
        if let Some(next) = last.checked_add(1) {
            table.append(&mut gone.split_off(&next));
        }
        *self.process(pid).files.borrow_mut() = table;
        self.release(gone);
    }

    /// Hands out what is pending of files that nobody has open any more.
    fn release(&mut self, table: Table) {
        for descriptor in table.into_values() {
            if let Some(file) = Rc::into_inner(descriptor.file) {
                self.ready.extend(file.pending.into_inner());
            }
        }
    }

    fn duplicate(&mut self, pid: u64, call: &Call<'_>, result: u64) {
        let sets_flags = call.has(1, b"F_SETFD");
        if call.name.starts_with(b"fcntl") && !sets_flags && !call.argument(1).starts_with(b"F_DUPFD") {
            return;
        }
        let Some(old) = call.number(0) else { return };
        let found = self.process(pid).files.borrow().get(&old).cloned();
        let Some(mut descriptor) = found else { return };
        descriptor.close_on_exec =
            call.any_has(b"O_CLOEXEC") || call.any_has(b"FD_CLOEXEC") || call.any_has(b"F_DUPFD_CLOEXEC");
        self.put(pid, if sets_flags { old } else { result }, descriptor);
    }

    fn change_dir(&mut self, pid: u64, call: &Call<'_>) {
        let path = match call.path(0) {
            Some(path) => self.absolute(pid, None, &path),
            None => match call.number(0) {
                Some(number) => self.absolute(pid, Some(number), b"."),
                None => return,
            },
        };
        *self.process(pid).dir.borrow_mut() = path;
    }

    fn execute(&mut self, pid: u64, call: &Call<'_>) {
        let at = usize::from(call.name == b"execveat");
        let Some(path) = call.path(at) else { return };
        let from = if at == 0 || call.has(0, b"AT_FDCWD") { None } else { call.number(0) };
        let path = self.absolute(pid, from, &path);
        self.emit(&path, 0, None, Method::Exec, CALL);
        let process = self.process(pid);
        // The new program has a table of its own, without what was marked.
        let mut kept = process.files.borrow().clone();
        kept.retain(|_, descriptor| !descriptor.close_on_exec);
        let kept = Rc::new(RefCell::new(kept));
        let old = std::mem::replace(&mut process.files, kept);
        if let Ok(old) = Rc::try_unwrap(old) {
            self.release(old.into_inner());
        }
    }

    fn fork(&mut self, pid: u64, call: &Call<'_>, child: u64) {
        if !self.processes.contains_key(&child) {
            let new = self.process(pid).child(call.any_has(b"CLONE_FILES"), call.any_has(b"CLONE_FS"));
            self.processes.insert(child, new);
        }
    }

    /// The path that a call means: from `/` on, without dots. Symbolic links stay as they are.
    fn absolute(&mut self, pid: u64, from: Option<u64>, path: &[u8]) -> Vec<u8> {
        let process = self.process(pid);
        let base = match from {
            Some(number) => process.files.borrow().get(&number).map(|file| file.file.path.clone()),
            None => Some(process.dir.borrow().clone()),
        };
        joined(&base.unwrap_or_else(|| b"/".to_vec()), path)
    }

    /// The file behind a descriptor; with `-y` the log itself names those that were opened before it began.
    fn file(&mut self, pid: u64, call: &Call<'_>, argument: usize) -> Option<Rc<Description>> {
        let number = call.number(argument)?;
        let known = self.process(pid).files.borrow().get(&number).map(|file| Rc::clone(&file.file));
        if known.is_some() {
            return known;
        }
        let path = line::decoration(call.argument(argument))?;
        let file = Rc::new(Description { path, position: Cell::new(0), pending: RefCell::new(None) });
        let descriptor = Descriptor { file: Rc::clone(&file), close_on_exec: false };
        self.put(pid, number, descriptor);
        Some(file)
    }

    fn access(&mut self, pid: u64, call: &Call<'_>, result: u64) {
        // Which argument is the file, which one the place in it, and how it is read.
        let (file, place, method) = match call.name {
            b"read" | b"readv" => (0, None, Method::Read),
            b"pread64" | b"pread" | b"preadv" | b"preadv2" => (0, call.number(3), Method::Read),
            b"sendfile" | b"sendfile64" => (1, call.pointed(2), Method::Sendfile),
            b"splice" | b"copy_file_range" => (0, call.pointed(1), Method::Splice),
            b"mmap" | b"mmap2" => return self.map(pid, call),
            b"readahead" => return self.advise(pid, call),
            b"fadvise64" | b"fadvise64_64" if call.has(3, b"POSIX_FADV_WILLNEED") => {
                return self.advise(pid, call);
            }
            b"lseek" | b"_llseek" => {
                if let Some(file) = self.file(pid, call, 0) {
                    file.position.set(call.pointed(2).filter(|_| call.name == b"_llseek").unwrap_or(result));
                }
                return;
            }
            _ => return,
        };
        let Some(file) = self.file(pid, call, file) else { return };
        let offset = place.unwrap_or(file.position.get());
        if place.is_none() {
            file.position.set(offset.saturating_add(result));
        }
        self.read(&file, offset, result, method);
    }

    /// Reads that follow each other become one access, so that the kernel's readahead goes on as it did.
    fn read(&mut self, file: &Description, offset: u64, length: u64, method: Method) {
        if length == 0 {
            return;
        }
        let Some((image, path)) = self.place(&file.path) else { return };
        let mut pending = file.pending.borrow_mut();
        if let Some(Record { offset: start, length: Some(so_far), how, call, .. }) = &mut *pending
            && start.saturating_add(*so_far) == offset
            && *how == How::Call(method)
        {
            *so_far = so_far.saturating_add(length);
            *call = (*call).max(length);
            return;
        }
        let how = How::Call(method);
        let record = Record { image, path, offset, length: Some(length), how, call: length };
        self.ready.extend(pending.replace(record));
    }

    fn map(&mut self, pid: u64, call: &Call<'_>) {
        if call.has(3, b"MAP_ANONYMOUS") {
            return;
        }
        let (Some(length), Some(offset)) = (call.number(1), call.number(5)) else { return };
        let offset = if call.name == b"mmap2" { offset.saturating_mul(4096) } else { offset };
        if let Some(file) = self.file(pid, call, 4) {
            self.emit(&file.path, offset, Some(length), Method::Mmap, CALL);
        }
    }

    fn advise(&mut self, pid: u64, call: &Call<'_>) {
        let (Some(offset), Some(length)) = (call.number(1), call.number(2)) else { return };
        if let Some(file) = self.file(pid, call, 0) {
            // A length of 0 means up to the end.
            self.emit(&file.path, offset, Some(length).filter(|length| *length != 0), Method::Willneed, CALL);
        }
    }

    fn emit(&mut self, path: &[u8], offset: u64, length: Option<u64>, method: Method, call: u64) {
        if let Some((image, path)) = self.place(path) {
            self.ready.push_back(Record { image, path, offset, length, how: How::Call(method), call });
        }
    }

    /// The image that a path leads into, and the path inside of it.
    fn place(&self, path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        self.mounts.iter().find_map(|mount| {
            let rest = if mount.dir == b"/" { Some(path) } else { path.strip_prefix(mount.dir.as_slice()) };
            rest.filter(|rest| rest.starts_with(b"/")).map(|rest| (mount.image.clone(), rest.to_vec()))
        })
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.records = self.records.saturating_add(1);
                return Some(Ok(record));
            }
            match self.lines.advance() {
                Some(Ok(())) => self.take_line(),
                Some(Err(error)) => return Some(Err(error)),
                None if self.processes.is_empty() => return None,
                None => {
                    for process in std::mem::take(&mut self.processes).into_values() {
                        if let Ok(table) = Rc::try_unwrap(process.files) {
                            self.release(table.into_inner());
                        }
                    }
                }
            }
        }
    }
}

fn name_of(text: &[u8]) -> Option<&[u8]> {
    text.split(|byte| *byte == b'(').next()
}

fn makes_processes(name: &[u8]) -> bool {
    matches!(name, b"clone" | b"clone3" | b"fork" | b"vfork")
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// `path` seen from `base`, without `.` and `..`.
fn joined(base: &[u8], path: &[u8]) -> Vec<u8> {
    let base: &[u8] = if path.starts_with(b"/") { b"" } else { base };
    let mut names: Vec<&[u8]> = Vec::new();
    for name in base.split(|byte| *byte == b'/').chain(path.split(|byte| *byte == b'/')) {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    let mut absolute = Vec::new();
    for name in names {
        absolute.push(b'/');
        absolute.extend_from_slice(name);
    }
    if absolute.is_empty() { b"/".to_vec() } else { absolute }
}

#[cfg(test)]
mod tests;
