//! A file system that says of its files what a test wants: a small FUSE server in a thread of the test.
//!
//! It is read-only, has no extended attributes, and answers as the protocol of the kernel's `linux/fuse.h`
//! wants it, in version 7.31. Numbers and sizes are what the test gives, true or not.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::error::{At as _, Result};
use crate::place;
use crate::require::{self, Absent};

/// The format of a directory, of a regular file and of a symbolic link in a mode.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// What a name leads to.
#[derive(Debug, Clone)]
pub struct Node {
    mode: u32,
    /// The target of a symbolic link, or the content.
    content: Vec<u8>,
    /// The length that is said.
    size: u64,
    links: u32,
    /// The inode number; 0 for one of its own.
    number: u64,
    entries: Vec<(String, Node)>,
}

impl Node {
    fn new(mode: u32, content: &[u8]) -> Self {
        let size = content.len() as u64;
        Self { mode, content: content.to_vec(), size, links: 1, number: 0, entries: Vec::new() }
    }

    /// A regular file.
    pub fn file(content: &[u8]) -> Self {
        Self::new(REGULAR | 0o644, content)
    }

    /// A symbolic link.
    pub fn symlink(target: &str) -> Self {
        Self::new(SYMLINK | 0o777, target.as_bytes())
    }

    /// A directory.
    pub fn directory<'n>(entries: impl IntoIterator<Item = (&'n str, Self)>) -> Self {
        let entries = entries.into_iter().map(|(name, node)| (name.to_owned(), node)).collect();
        Self { entries, links: 2, ..Self::new(DIRECTORY | 0o755, &[]) }
    }

    /// The same, which says that it has this inode number and so many names.
    #[must_use]
    pub fn numbered(self, number: u64, links: u32) -> Self {
        Self { links, number, ..self }
    }

    /// The same, which says that its content has this length.
    #[must_use]
    pub fn sized(self, size: u64) -> Self {
        Self { size, ..self }
    }
}

/// What inode numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// A file keeps its number.
    Kept,
    /// A file has another number whenever its name is looked up.
    Anew,
}

/// A mounted file system, until this value is dropped.
#[derive(Debug)]
pub struct Mounted {
    point: TempDir,
    server: Option<JoinHandle<()>>,
}

/// Whether the tests may mount FUSE file systems here.
///
/// # Errors
/// When they do not run as root, there is no `/dev/fuse`, or the machine is not little-endian, as the server
/// is.
pub fn supported() -> std::result::Result<(), Absent> {
    require::root()?;
    if cfg!(target_endian = "big") {
        return Err(Absent::because("the test's FUSE server is for little-endian machines"));
    }
    match File::open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(error) => Err(Absent::because(format!("/dev/fuse: {error}"))),
    }
}

impl Mounted {
    /// Mounts a file system with this root.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new(root: &Node, numbers: Numbers) -> Result<Self> {
        let point = place::disk_scratch()?;
        let device = Path::new("/dev/fuse");
        let device = OpenOptions::new().read(true).write(true).open(device).at("open", device)?;
        let options = format!(
            "fd={},rootmode={:o},user_id=0,group_id=0,allow_other,default_permissions",
            device.as_raw_fd(),
            root.mode
        );
        let options = CString::new(options).map_err(io::Error::from).at("mount", point.path())?;
        rustix::mount::mount("testkit", point.path(), "fuse", MountFlags::empty(), Some(options.as_c_str()))
            .map_err(io::Error::from)
            .at("mount", point.path())?;
        let mut server = Server { nodes: Vec::new(), ids: vec![0], numbers };
        server.add(root);
        Ok(Self { point, server: Some(std::thread::spawn(move || server.run(&device))) })
    }

    /// The directory where the root is.
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = rustix::mount::unmount(self.point.path(), UnmountFlags::DETACH);
        if let (Ok(()), Some(server)) = (unmounted, self.server.take()) {
            drop(server.join());
        }
    }
}

/// A node with its entries by index.
#[derive(Debug)]
struct Served {
    node: Node,
    entries: Vec<(String, usize)>,
}

#[derive(Debug)]
struct Server {
    nodes: Vec<Served>,
    /// The node of each identifier that the kernel was given; the root has the first, 1.
    ids: Vec<usize>,
    numbers: Numbers,
}

type Reply = std::result::Result<Vec<u8>, Errno>;

impl Server {
    fn add(&mut self, node: &Node) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Served { node: node.clone(), entries: Vec::new() });
        let entries = node.entries.iter().map(|(name, node)| (name.clone(), self.add(node))).collect();
        if let Some(served) = self.nodes.get_mut(index) {
            served.entries = entries;
        }
        index
    }

    /// Answers until the file system is unmounted.
    fn run(mut self, device: &File) {
        let mut request = vec![0; 1 << 18];
        loop {
            let length = match (&*device).read(&mut request) {
                Ok(length) => length,
                Err(error) if matches!(error.raw_os_error(), Some(2 | 4 | 11)) => continue,
                Err(_) => return,
            };
            let request = request.get(..length).unwrap_or_default();
            let (code, unique, id) = (word(request, 4), long(request, 8), long(request, 16));
            // FORGET, INTERRUPT and BATCH_FORGET have no answer; DESTROY is the end.
            match code {
                2 | 36 | 42 => continue,
                38 => return,
                _ => {}
            }
            let reply = self.answer(code, id, request.get(40..).unwrap_or_default());
            let (errno, body) = match reply {
                Ok(body) => (0, body),
                Err(errno) => (-errno.raw_os_error(), Vec::new()),
            };
            let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
            let head = [length.to_le_bytes(), errno.to_le_bytes()].concat();
            // A request that was interrupted wants no answer any more.
            drop((&*device).write(&[head, unique.to_le_bytes().to_vec(), body].concat()));
        }
    }

    fn answer(&mut self, code: u32, id: u64, body: &[u8]) -> Reply {
        match code {
            1 => self.look_up(id, body),
            3 => Ok([vec![0; 16], self.attributes(id)?].concat()),
            5 => Ok(self.node(id)?.node.content.clone()),
            // OPEN and OPENDIR: a handle, and that content does not go through the page cache, which ends at
            // the size.
            14 => Ok([vec![0; 8], 1_u32.to_le_bytes().to_vec(), vec![0; 4]].concat()),
            27 => Ok(vec![0; 16]),
            15 => {
                let content = &self.node(id)?.node.content;
                Ok(part(content, long(body, 8), word(body, 16)).to_vec())
            }
            28 => self.list(id, long(body, 8), word(body, 16)),
            17 => Ok([0_u64; 5].iter().flat_map(|n| n.to_le_bytes()).chain([0; 40]).collect()),
            // RELEASE, FLUSH and RELEASEDIR.
            18 | 25 | 29 => Ok(Vec::new()),
            26 => Ok(Self::hello()),
            _ => Err(Errno::NOSYS),
        }
    }

    fn hello() -> Vec<u8> {
        let mut reply: Vec<u8> = [7_u32, 31, 1 << 17, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
        reply.extend([12_u16, 9].iter().flat_map(|n| n.to_le_bytes()));
        reply.extend([1_u32 << 17, 1].iter().flat_map(|n| n.to_le_bytes()));
        reply.resize(64, 0);
        reply
    }

    fn node(&self, id: u64) -> std::result::Result<&Served, Errno> {
        let index = usize::try_from(id).ok().and_then(|id| self.ids.get(id.checked_sub(1)?));
        index.and_then(|&index| self.nodes.get(index)).ok_or(Errno::NOENT)
    }

    fn look_up(&mut self, id: u64, body: &[u8]) -> Reply {
        let name = body.split(|&byte| byte == 0).next().unwrap_or_default();
        let found = self.node(id)?.entries.iter().find(|(known, _)| known.as_bytes() == name);
        let index = found.ok_or(Errno::NOENT)?.1;
        let known = self.ids.iter().position(|&known| known == index);
        let place = known.filter(|_| self.numbers == Numbers::Kept).unwrap_or_else(|| {
            self.ids.push(index);
            self.ids.len() - 1
        });
        let id = place as u64 + 1;
        // The identifier, and nothing of it may be kept in a cache.
        Ok([id.to_le_bytes().to_vec(), vec![0; 32], self.attributes(id)?].concat())
    }

    fn attributes(&self, id: u64) -> Reply {
        let node = &self.node(id)?.node;
        let number = if node.number == 0 { id } else { node.number };
        let mut reply: Vec<u8> = [number, node.size, 0, 1_000_000_000, 1_000_000_000, 1_000_000_000]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let words = [0, 0, 0, node.mode, node.links, 0, 0, 0, 4096, 0];
        reply.extend(words.iter().flat_map(|n| n.to_le_bytes()));
        Ok(reply)
    }

    fn list(&self, id: u64, offset: u64, room: u32) -> Reply {
        let names = self.node(id)?.entries.iter().map(|(name, _)| name.as_str());
        let mut reply = Vec::new();
        for (name, next) in [".", ".."].into_iter().chain(names).zip(1_u64..) {
            if next <= offset {
                continue;
            }
            let length = u32::try_from(name.len()).unwrap_or(0);
            // A number and no type, so that the type has to be asked for.
            let mut entry = [next.to_le_bytes(), next.to_le_bytes()].concat();
            entry.extend_from_slice(&length.to_le_bytes());
            entry.extend_from_slice(&[0; 4]);
            entry.extend_from_slice(name.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            if reply.len() + entry.len() > room as usize {
                break;
            }
            reply.append(&mut entry);
        }
        Ok(reply)
    }
}

fn part(content: &[u8], offset: u64, length: u32) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
    rest.get(..length as usize).unwrap_or(rest)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::require::need;

    #[test]
    fn the_kernel_sees_what_was_given() {
        let Some(()) = need("a FUSE file system", supported()) else { return };
        let inner = Node::directory([("long", Node::file(b"longer than said").sized(6))]);
        let root = Node::directory([
            ("a", Node::file(b"first").numbered(77, 2)),
            ("b", Node::symlink("a").numbered(77, 2)),
            ("inner", inner),
        ]);
        for numbers in [Numbers::Kept, Numbers::Anew] {
            let mounted = Mounted::new(&root, numbers).unwrap();
            let at = |name: &str| mounted.path().join(name);
            assert_eq!(std::fs::read(at("b")).unwrap(), b"first");
            let stat = |name: &str| std::fs::symlink_metadata(at(name)).unwrap();
            assert_eq!((stat("a").ino(), stat("b").ino(), stat("b").nlink()), (77, 77, 2));
            assert_eq!(stat("inner/long").size(), 6);
            assert_eq!(std::fs::read(at("inner/long")).unwrap(), b"longer than said");
            let mut names: Vec<_> =
                std::fs::read_dir(mounted.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["a", "b", "inner"]);
            assert_eq!(stat("inner").ino() == stat("inner").ino(), numbers == Numbers::Kept);
        }
    }
}
