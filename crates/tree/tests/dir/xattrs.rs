//! Extended attributes of every namespace on every kind of file.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use erofs_tree::{DirOptions, Inode, Source as _, TreeError};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use super::support::{inode, options, runs_as_root, runs_as_user, scan, scan_error, scan_with, xattr_dir};

fn shown(inode: &Inode) -> Vec<(String, Vec<u8>)> {
    inode.xattrs.iter().map(|x| (x.name.escape_ascii().to_string(), x.value.to_vec())).collect()
}

/// An ACL as the kernel takes and gives it: version 2, then tag, permissions and identifier of each entry.
fn acl() -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 4242), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

#[test]
fn user_attributes_sorted_by_name() {
    let dir = xattr_dir();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("dir/file"), b"").unwrap();
    fs::write(dir.path().join("dir/none"), b"").unwrap();
    symlink("file", dir.path().join("dir/link")).unwrap();
    // `user.a.b` sorts before `user.ab`, and an empty value is not the same as none.
    let wanted = [("user.a", ""), ("user.a.b", "2"), ("user.ab", "1"), ("user.z", "z")];
    for path in ["", "dir", "dir/file"] {
        for (name, value) in wanted.iter().rev() {
            xattr::set(dir.path().join(path), name, value.as_bytes()).unwrap();
        }
    }
    let (source, tree) = scan(dir.path());
    for path in ["", "dir", "dir/file"] {
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(shown(inode(&tree, path)), wanted, "{path}");
    }
    assert_eq!(inode(&tree, "dir").xattr(b"user.a.b"), Some(b"2".as_slice()));
    assert_eq!(inode(&tree, "dir").xattr(b"user.b"), None);
    for path in ["dir/none", "dir/link"] {
        let user: Vec<_> =
            shown(inode(&tree, path)).into_iter().filter(|(name, _)| name.starts_with("user.")).collect();
        assert!(user.is_empty(), "{path}: {user:?}");
    }
    assert!(source.warnings().is_empty());

    let (_, tree) = scan_with(dir.path(), DirOptions { read_xattrs: false, ..options() });
    assert_eq!(tree.counts().xattrs, 0);
}

#[test]
fn many_and_large_attributes() {
    let dir = xattr_dir();
    for (path, is_dir) in [("file", false), ("dir", true)] {
        let path = dir.path().join(path);
        if is_dir {
            fs::create_dir(&path).unwrap();
        } else {
            fs::write(&path, b"").unwrap();
        }
        // The names alone are longer than what is offered to the kernel at first, and so is the one value.
        for number in 0..40 {
            xattr::set(&path, format!("user.attribute-{number:02}"), &[number]).unwrap();
        }
        xattr::set(&path, "user.large", &[7; 1500]).unwrap();
    }
    let (_, tree) = scan(dir.path());
    for path in ["file", "dir"] {
        let found = inode(&tree, path);
        assert_eq!(found.xattr(b"user.large"), Some([7; 1500].as_slice()), "{path}");
        for number in 0..40 {
            let name = format!("user.attribute-{number:02}");
            assert_eq!(found.xattr(name.as_bytes()), Some([number].as_slice()), "{path}");
        }
    }
}

#[test]
fn acls_keep_name_and_value() {
    let dir = xattr_dir();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    for (path, name) in [
        ("file", "system.posix_acl_access"),
        ("dir", "system.posix_acl_access"),
        ("dir", "system.posix_acl_default"),
    ] {
        xattr::set(dir.path().join(path), name, &acl()).expect("the file system must have POSIX ACLs");
    }
    let (source, tree) = scan(dir.path());
    let access = ("system.posix_acl_access".to_owned(), acl());
    let default = ("system.posix_acl_default".to_owned(), acl());
    let acls = |path| {
        let all = shown(inode(&tree, path)).into_iter();
        all.filter(|(name, _)| name.starts_with("system.")).collect::<Vec<_>>()
    };
    assert_eq!(acls("file"), std::slice::from_ref(&access));
    assert_eq!(acls("dir"), [access, default]);
    assert!(source.warnings().is_empty());
}

#[test]
fn root_only_namespaces_on_every_kind() {
    if !runs_as_root("setting trusted and security attributes") {
        return;
    }
    let dir = xattr_dir();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), b"").unwrap();
    fs::create_dir(at("dir")).unwrap();
    symlink("file", at("link")).unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), 0).unwrap();
    for name in ["file", "dir", "link", "fifo", "null"] {
        let path = at(name);
        lsetxattr(&path, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        lsetxattr(&path, "security.test", name.as_bytes(), XattrFlags::empty()).unwrap();
    }
    // Version 2, effective; cap_net_raw permitted.
    let capability = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    xattr::set(at("file"), "security.capability", &capability).unwrap();
    let (_, tree) = scan(dir.path());
    for name in ["file", "dir", "link", "fifo", "null"] {
        let found = inode(&tree, name);
        assert_eq!(found.xattr(b"trusted.overlay.opaque"), Some(b"y".as_slice()), "{name}");
        assert_eq!(found.xattr(b"security.test"), Some(name.as_bytes()), "{name}");
    }
    assert_eq!(inode(&tree, "file").xattr(b"security.capability"), Some(capability.as_slice()));
}

#[test]
fn attributes_are_found_below_the_longest_path() {
    let dir = xattr_dir();
    let name = "n".repeat(250);
    let mut path = dir.path().to_owned();
    // As deep as a path can say; the scan itself then needs more room than a path has.
    while path.as_os_str().len() + name.len() + 10 < 4096 {
        path.push(&name);
        fs::create_dir(&path).unwrap();
    }
    let file = path.join("file");
    fs::write(&file, b"").unwrap();
    xattr::set(&file, "user.deep", b"yes").unwrap();
    let (_, tree) = scan(dir.path());
    let found = tree.inodes.last().unwrap();
    assert_eq!(found.xattr(b"user.deep"), Some(b"yes".as_slice()));
}

#[test]
fn user_only_values_that_may_not_be_read_are_named() {
    if !runs_as_user("attributes that may not be read") {
        return;
    }
    let dir = xattr_dir();
    let path = dir.path().join("closed");
    fs::write(&path, b"").unwrap();
    xattr::set(&path, "user.secret", b"x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let error = scan_error(dir.path());
    let TreeError::XattrRead { path: named, name, source } = error else { panic!("{error:?}") };
    assert_eq!((named, name.as_ref()), (path, b"user.secret".as_slice()));
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
}
