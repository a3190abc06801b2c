//! What a kernel says of itself: its version and its configuration.

use std::fmt;

use erofs_sim::kernel::{self, KernelModel};

/// The version of a kernel; pre-releases come before their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second.
    pub minor: u16,
    /// The third, 0 where there is none.
    pub patch: u16,
    /// The number of the pre-release; [`u16::MAX`] for the release itself, so that it comes last.
    candidate: u16,
}

impl Version {
    /// A release.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch, candidate: u16::MAX }
    }

    /// Reads a release as `uname -r` prints it: two or three numbers, perhaps `-rcN`, then whatever a
    /// distribution adds.
    pub fn parse(release: &str) -> Option<Self> {
        let digits = |text: &str| -> Option<(u16, usize)> {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            Some((text.get(..end)?.parse().ok()?, end))
        };
        let (major, end) = digits(release)?;
        let rest = release.get(end..)?.strip_prefix('.')?;
        let (minor, end) = digits(rest)?;
        let mut rest = rest.get(end..)?;
        let mut version = Self::new(major, minor, 0);
        if let Some(after) = rest.strip_prefix('.')
            && let Some((patch, end)) = digits(after)
        {
            version.patch = patch;
            rest = after.get(end..)?;
        }
        if let Some((candidate, _)) = rest.strip_prefix("-rc").and_then(digits) {
            version.candidate = candidate;
        }
        Some(version)
    }

    /// The model of a kernel of this version that shares page cache.
    pub fn model(self) -> KernelModel {
        let name = if self < DELIMITED { "7.0" } else { "7.2" };
        kernel::by_name(name).unwrap_or_default()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        if self.candidate == u16::MAX { Ok(()) } else { write!(f, "-rc{}", self.candidate) }
    }
}

/// The first release with `CONFIG_EROFS_FS_PAGE_CACHE_SHARE`.
pub const SHARES_SINCE: Version = Version::new(7, 0, 0);
/// The first release known to keep domain and fingerprint apart in the key ("erofs: delimit `inode_share`
/// cache key components").
pub const DELIMITED: Version = Version::new(7, 2, 7);

/// What a configuration says of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `=y`.
    BuiltIn,
    /// `=m`.
    Module,
    /// `is not set`.
    Off,
    /// It does not occur: this kernel does not know it, or what it depends on is off.
    Absent,
}

/// The configuration that a kernel was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that it was found in.
    pub place: String,
    /// Its text.
    pub text: String,
}

impl Config {
    /// What it says of `CONFIG_` and `name`.
    pub fn setting(&self, name: &str) -> Setting {
        let of_line = |line: &str| {
            let (off, line) = match line.strip_prefix("# ") {
                Some(comment) => (true, comment),
                None => (false, line),
            };
            let rest = line.strip_prefix("CONFIG_")?.strip_prefix(name)?;
            match (off, rest.trim_end()) {
                (true, " is not set") => Some(Setting::Off),
                (false, "=y") => Some(Setting::BuiltIn),
                (false, "=m") => Some(Setting::Module),
                _ => None,
            }
        };
        self.text.lines().find_map(of_line).unwrap_or(Setting::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_ordered() {
        for (release, want) in [
            ("7.2.13+deb14-cloud-amd64", "7.2.13"),
            ("6.18.44-fc-v445", "6.18.44"),
            ("7.0-rc3", "7.0-rc3"),
            ("7.0.0-rc3-generic", "7.0-rc3"),
            ("7.0.0-14-generic", "7.0"),
            ("5.14.0-503.el9.x86_64", "5.14"),
            ("7.3", "7.3"),
            ("7.0.", "7.0"),
        ] {
            assert_eq!(Version::parse(release).unwrap().to_string(), want, "{release}");
        }
        for release in ["", "7", "seven.0", "99999.1", "7.x"] {
            assert_eq!(Version::parse(release), None, "{release}");
        }
        let order = ["6.19.12", "7.0-rc1", "7.0-rc7", "7.0", "7.0.1", "7.1", "7.2.6", "7.2.7"];
        let versions: Vec<_> = order.iter().map(|release| Version::parse(release).unwrap()).collect();
        assert!(versions.is_sorted());
    }

    #[test]
    fn the_model_follows_the_version() {
        for (release, model) in [("7.0.3", "7.0"), ("7.2.6-amd64", "7.0"), ("7.2.7", "7.2"), ("7.4", "7.2")] {
            assert_eq!(Version::parse(release).unwrap().model().name, model, "{release}");
        }
    }

    #[test]
    fn settings_are_those_of_the_option_alone() {
        let text = "CONFIG_EROFS_FS=m\n# CONFIG_EROFS_FS_DEBUG is not set\nCONFIG_EROFS_FS_XATTR=y\nCONFIG_X=\"y\"\n";
        let config = Config { place: "/boot/config".into(), text: text.into() };
        for (name, want) in [
            ("EROFS_FS", Setting::Module),
            ("EROFS_FS_DEBUG", Setting::Off),
            ("EROFS_FS_XATTR", Setting::BuiltIn),
            ("EROFS_FS_PAGE_CACHE_SHARE", Setting::Absent),
            ("EROFS", Setting::Absent),
            ("X", Setting::Absent),
        ] {
            assert_eq!(config.setting(name), want, "{name}");
        }
    }
}
