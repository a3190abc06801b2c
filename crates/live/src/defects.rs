//! What is known to go wrong, or differently, in kernels that share page cache between EROFS images: one row
//! each, with the versions that have it.

use crate::kernel::{DELIMITED, SHARES_SINCE, Version};

/// The newest version that most rows were compared with.
pub const EXAMINED: Version = Version::new(7, 2, 13);

/// Until when a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Fixed in this version and all later ones, and in the long-term series named before it, from these
    /// releases on.
    Fixed(&'static [Version], Version),
    /// No fix is known up to this version, the newest that was looked at. Newer ones may have one.
    Open(Version),
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Kernels that share.
    Sharing,
    /// Mounts of image files with `directio`, on any kernel.
    FileDirectio,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defect {
    /// Its name in reports.
    pub id: &'static str,
    /// Whether something must be changed because of it; otherwise it is to be known.
    pub wants_change: bool,
    /// What it is about.
    pub scope: Scope,
    /// The first version that has it.
    pub since: Version,
    /// Until when.
    pub until: Until,
    /// What happens.
    pub text: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// Whether a kernel has a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has.
    Affected,
    /// It was never there, or is fixed.
    Clear,
    /// The kernel is newer than what was looked at, which is this version.
    Unknown(Version),
}

impl Defect {
    /// Whether a kernel of this version has it, if nobody has back-ported a fix.
    pub fn standing(&self, version: Version) -> Standing {
        if version < self.since {
            return Standing::Clear;
        }
        match self.until {
            Until::Open(seen) if version <= seen => Standing::Affected,
            Until::Open(seen) => Standing::Unknown(seen),
            Until::Fixed(series, all) => {
                let same = |fix: &&Version| (fix.major, fix.minor) == (version.major, version.minor);
                let fix = series.iter().find(same).copied().unwrap_or(all);
                if version < fix { Standing::Affected } else { Standing::Clear }
            }
        }
    }
}

/// All rows. Those with [`Until::Open`] were measured on the version that they name, or read in its
/// `fs/erofs`.
pub const TABLE: [Defect; 10] = [
    Defect {
        id: "undelimited-key",
        wants_change: true,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Fixed(&[], DELIMITED),
        text: "domain_id and fingerprint are joined without a mark between them, so an image of one domain can carry \
               values that meet those of a domain whose name is longer",
        advice: "use Linux 7.2.7 or newer, or give all domains names of equal length",
    },
    Defect {
        id: "directio-use-after-free",
        wants_change: true,
        scope: Scope::FileDirectio,
        since: Version::new(6, 12, 0),
        until: Until::Fixed(
            &[Version::new(6, 12, 72), Version::new(6, 18, 11), Version::new(6, 19, 1)],
            SHARES_SINCE,
        ),
        text: "reading through a mount of an image file with directio can use memory after it was freed and crash the \
               kernel (CVE-2026-23224)",
        advice: "use Linux 6.12.72, 6.18.11, 6.19.1, 7.0 or newer; until then mount through a loop device with direct I/O",
    },
    Defect {
        id: "sub-page-extents",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(Version::new(7, 3, 4)),
        text: "of images with blocks below 4096 bytes, shared files of which a page has its bytes in several places (holes, \
               chunks below 4096 bytes, an end behind the inode) are read wrong or crash the kernel",
        advice: "build images for sharing with blocks of 4096 bytes; erofs-ishare verify and simulate name such files",
    },
    Defect {
        id: "remount-oops",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "a remount that adds inode_share to a mount without domain_id crashes the kernel at the next look-up of a file",
        advice: "give inode_share and domain_id when mounting, never by remount",
    },
    Defect {
        id: "remount-unchecked",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "a remount ignores a new domain_id, and does not check whether the image announces fingerprints or DAX is on; \
               it changes only files that are looked up later",
        advice: "unmount and mount again to change what is shared",
    },
    Defect {
        id: "private-splice",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "sendfile, splice and an overlay's copy-up fill a private copy of each file, besides the shared one",
        advice: "serve files by read or mmap (web servers: turn sendfile off for them)",
    },
    Defect {
        id: "direct-io-refused",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "opening a shared file with O_DIRECT fails with EINVAL, although statx reports an alignment for it",
        advice: "open files of sharing mounts without O_DIRECT",
    },
    Defect {
        id: "meters-blind",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "cachestat does not see shared pages, mincore shows them truly to root only, uprobes never hit in shared \
               files, leases and the label ioctl fail, SEEK_HOLE finds no holes",
        advice: "measure as root by mincore (erofs-ishare measure); trace programs on a mount that does not share",
    },
    Defect {
        id: "compressed-cache",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "shared files are read ahead by 128 KiB only, and of compressed ones much of the compressed data stays in \
               memory as well (17.5 % of the data in one measurement)",
        advice: "mount compressed images with cache_strategy=disabled, or raise read_ahead_kb of the bdi pseudo_erofs-1",
    },
    Defect {
        id: "fragments-cost",
        wants_change: false,
        scope: Scope::Sharing,
        since: SHARES_SINCE,
        until: Until::Open(EXAMINED),
        text: "the packed inode that fragments come from is cached for each mount, even if the files that use it are shared",
        advice: "build images for sharing without fragments",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_knows_its_versions() {
        use Standing::{Affected, Clear};
        let unknown = Standing::Unknown(EXAMINED);
        let standing = |id: &str, release: &str| {
            let row = TABLE.iter().find(|row| row.id == id).unwrap();
            row.standing(Version::parse(release).unwrap())
        };
        for (id, release, want) in [
            ("undelimited-key", "6.18.44", Clear),
            ("undelimited-key", "7.0.3", Affected),
            ("undelimited-key", "7.2.6+deb14-amd64", Affected),
            ("undelimited-key", "7.2.7", Clear),
            ("undelimited-key", "7.3-rc3", Clear),
            ("directio-use-after-free", "6.11.9", Clear),
            ("directio-use-after-free", "6.12.71", Affected),
            ("directio-use-after-free", "6.12.72", Clear),
            ("directio-use-after-free", "6.17.99", Affected),
            ("directio-use-after-free", "6.18.44-fc-v445", Clear),
            ("directio-use-after-free", "7.0", Clear),
            ("private-splice", "7.2.13", Affected),
            ("private-splice", "7.3", unknown),
            ("sub-page-extents", "7.2.13", Affected),
            ("sub-page-extents", "7.3.4", Affected),
            ("sub-page-extents", "7.4", Standing::Unknown(Version::new(7, 3, 4))),
            ("remount-oops", "6.19", Clear),
        ] {
            assert_eq!(standing(id, release), want, "{id} {release}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.id).collect();
        assert_eq!(names.len(), TABLE.len());
    }
}
