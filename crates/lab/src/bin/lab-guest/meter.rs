//! The kernel's own counters of the page cache.

use std::fs::{self, File};
use std::io;

use erofs_lab::protocol::EventReport;

use crate::sys;

/// What the counters say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    file_pages: i64,
    buffer_pages: i64,
    backing_pages: i64,
    read_kib: i64,
}

impl Sample {
    /// Reads the counters; `backing` are the image files on the shelf.
    pub(crate) fn take(backing: &[File]) -> io::Result<Self> {
        // Each processor collects changes for a while: this adds them up. The kernel answers with an error
        // when some counter is below zero for a moment, and has added them up nevertheless.
        drop(fs::write("/proc/sys/vm/stat_refresh", "1"));
        let counters = fs::read_to_string("/proc/vmstat")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let mut backing_pages = 0;
        for file in backing {
            backing_pages += signed(sys::cachestat(file)?)?;
        }
        Ok(Self {
            file_pages: field(&counters, "nr_file_pages")?,
            buffer_pages: field(&memory, "Buffers:")? * 1024 / signed(sys::PAGE as u64)?,
            backing_pages,
            read_kib: field(&counters, "pgpgin")?,
        })
    }

    /// Everything in the page cache.
    pub(crate) fn file_pages(&self) -> i64 {
        self.file_pages
    }

    /// What happened between `before` and this.
    pub(crate) fn since(&self, before: &Self) -> EventReport {
        EventReport {
            file_pages: self.file_pages - before.file_pages,
            buffer_pages: self.buffer_pages - before.buffer_pages,
            backing_pages: self.backing_pages - before.backing_pages,
            read_kib: self.read_kib - before.read_kib,
            errno: None,
            error: None,
        }
    }
}

/// The number behind a name, in a file of lines `name number`.
fn field(text: &str, name: &str) -> io::Result<i64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("the kernel shows no counter {name}")))
}

fn signed(number: u64) -> io::Result<i64> {
    i64::try_from(number).map_err(io::Error::other)
}
