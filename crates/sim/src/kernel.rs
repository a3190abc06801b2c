//! What differs between kernels, as values. Every rule of the model that depends on the version asks one of
//! these.

/// A kernel's way to share page cache between EROFS images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelModel {
    /// The name on the command line and in reports.
    pub name: &'static str,
    /// What it stands for.
    pub about: &'static str,
    /// A zero byte stands between domain and fingerprint in the key, so that no pair looks like another one.
    pub delimited_key: bool,
    /// `sendfile` and `splice` read through the shared pages instead of a private copy.
    pub shared_splice: bool,
    /// Shared files may have folios of several pages, as those with pages of their own have.
    pub shared_large_folios: bool,
    /// The readahead window of shared pages, in pages of 4096 bytes: 128 KiB of the hidden device.
    pub window_pages: u64,
    /// The longest request for shared pages, in pages of 4096 bytes: up to it, a request may be longer than
    /// the window.
    pub request_pages: u64,
}

/// Every kernel that is modelled, the default first.
pub const TABLE: [KernelModel; 3] = [
    KernelModel {
        name: "7.2",
        about: "Linux 7.2 from 7.2.7 on: keys are delimited",
        delimited_key: true,
        shared_splice: false,
        shared_large_folios: false,
        window_pages: 32,
        request_pages: 32,
    },
    KernelModel {
        name: "7.0",
        about: "Linux 7.0 up to 7.2.6: domain and fingerprint are joined without a delimiter",
        delimited_key: false,
        shared_splice: false,
        shared_large_folios: false,
        window_pages: 32,
        request_pages: 32,
    },
    KernelModel {
        name: "splice",
        about: "kernels whose shared files splice from the shared pages",
        delimited_key: true,
        shared_splice: true,
        shared_large_folios: false,
        window_pages: 32,
        request_pages: 32,
    },
];

/// The kernel that is called `name`.
pub fn by_name(name: &str) -> Option<KernelModel> {
    TABLE.into_iter().find(|kernel| kernel.name == name)
}

impl Default for KernelModel {
    fn default() -> Self {
        TABLE[0]
    }
}
