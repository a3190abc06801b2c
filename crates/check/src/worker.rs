//! What is done with each inode by itself, on several threads: attributes, extents, content.

use std::sync::Arc;

use erofs_format::feature::compat;
use erofs_image::{Budget, Fingerprint, Image, ImageError, Private, ReadAt, Xattr};
use uuid::Uuid;

use crate::attributes;
use crate::batch::Batch;
use crate::canonical;
use crate::content::{self, Window};
use crate::finding::{Code, Finding};
use crate::fingerprint::{self, Content, Judge, Key};
use crate::inode;
use crate::job::Job;
use crate::metadata;
use crate::options::{Options, Profile};
use crate::outcome::Outcome;
use crate::pages;
use crate::source::Source;

/// What all workers together may use up.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Bytes of content.
    pub(crate) contents: Budget,
    /// Bytes of inodes with their attributes.
    pub(crate) attributes: Budget,
    /// Extents of files, of which each is kept.
    pub(crate) extents: Budget,
}

/// What a worker works with.
pub(crate) struct Worker<'a> {
    image: Image,
    /// The primary device, as the image reads it.
    primary: Arc<dyn ReadAt>,
    key: Option<&'a Key>,
    options: &'a Options,
    /// Whether there are other processors to read on.
    ahead: bool,
    /// The attributes have name filters that the kernel believes.
    filtered: bool,
    window: Window,
    batch: Batch,
    budgets: &'a Budgets,
    outcome: Outcome,
}

impl<'a> Worker<'a> {
    /// A worker that reads the image by itself. With `ahead` it reads large files on a second thread.
    pub(crate) fn new(
        source: &Source,
        key: Option<&'a Key>,
        options: &'a Options,
        ahead: bool,
        budgets: &'a Budgets,
    ) -> Result<Self, ImageError> {
        let (image, primary) = source.image()?;
        let superblock = image.superblock();
        let filtered = superblock.compat & compat::XATTR_FILTER != 0 && superblock.xattr_filter_reserved == 0;
        let window = Window::new(&image, source.primary());
        let (batch, outcome) = (Batch::default(), Outcome::default());
        Ok(Self { image, primary, key, options, ahead, filtered, window, batch, budgets, outcome })
    }

    /// What was found, when there is no more work.
    pub(crate) fn finish(mut self) -> Outcome {
        self.judge_held();
        // Here the others sort theirs at the same time; what is sorted is merged quickly.
        self.outcome.ranges.sort_unstable();
        self.outcome
    }

    /// Looks at an inode.
    pub(crate) fn work(&mut self, job: &Job) {
        let mut findings = Vec::new();
        let inode = &job.inode;
        let (attributes, value) = self.attributes(job, &mut findings);
        if value.is_some() {
            // An extent that cannot be mapped is reported by the look at the inode.
            findings.extend(pages::check(&self.image, inode).ok().flatten());
        }
        let readable = match inode::look(&self.image, &self.primary, inode, job.order, &self.budgets.extents)
        {
            Ok(taken) => {
                self.outcome.uses.incompat |= taken.needs;
                // A range past the end of its device cannot be read, which has been said then.
                let readable = taken.findings.iter().all(|finding| finding.code != Code::Bounds);
                findings.extend(taken.findings);
                self.outcome.ranges.extend(taken.ranges);
                readable
            }
            Err(error) => {
                self.note(error, job, Code::Map);
                false
            }
        };
        if inode.is_symlink()
            && let Err(error) = self.image.link_target(inode)
        {
            self.note(error, job, Code::Symlink);
        }
        if inode.is_file() && readable {
            self.content(job, value);
        }
        if self.options.profile == Some(Profile::Hardened) && readable {
            findings.extend(canonical::inode(&self.image, &self.primary, inode, &attributes, self.key));
            let more = if inode.is_dir() {
                canonical::directory(&self.image, inode)
            } else {
                canonical::tail(&self.image, &self.primary, inode)
            };
            findings.extend(more.ok().flatten());
        }
        let own = findings.into_iter().map(|finding| finding.at(&job.path, inode.nid.0).ordered(job.order));
        self.outcome.findings.extend(own);
    }

    /// Looks at the attributes of an inode; gives them, and the fingerprint that is to be compared with the
    /// content.
    fn attributes(&mut self, job: &Job, findings: &mut Vec<Finding>) -> (Vec<Xattr>, Option<Vec<u8>>) {
        let inode = &job.inode;
        let size = metadata::unit(inode.record.header_size());
        let read = || self.image.xattrs(inode).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let attributes = match self.budgets.attributes.take(size).and_then(|()| read()) {
            Ok(attributes) => attributes,
            Err(error) => {
                self.note(error, job, Code::Xattr);
                Vec::new()
            }
        };
        // What cannot be read of it was reported with the attributes.
        let header = self.image.xattr_header(inode).ok().flatten();
        if !job.special {
            let filter = header.map(|header| header.name_filter).filter(|_| self.filtered);
            findings.extend(attributes::check(inode, &attributes, filter));
        }
        let value = self
            .key
            .filter(|_| !job.special)
            .and_then(|key| fingerprint::of_attributes(key, inode, &attributes, findings));
        if value.is_some() && self.filtered {
            self.filter(job, findings);
        }
        self.outcome.uses.attributes |= inode.record.xattr_icount > 0;
        if header.is_some_and(|header| header.shared_count > 0) {
            let outside = self.image.superblock().compat & compat::SHARED_EA_IN_METABOX == 0;
            let misread = &mut self.outcome.uses.misread;
            *misread = misread.saturating_add(u64::from(outside && inode.nid.in_metabox()));
            let known = &mut self.outcome.shared;
            let _read = metadata::add_shared(&self.image, &self.primary, inode, known);
        }
        (attributes, value)
    }

    fn note(&mut self, error: ImageError, job: &Job, otherwise: Code) {
        self.outcome.note(error, (&job.path, job.inode.nid.0, job.order), otherwise);
    }

    /// The kernel believes the name filter, so what it hides is not there for it.
    fn filter(&mut self, job: &Job, findings: &mut Vec<Finding>) {
        match self.image.fingerprint(&job.inode) {
            Ok(Fingerprint::Private(Private::Absent)) => {
                let wanted = "one that lets the fingerprint be found";
                findings.push(Finding::new(
                    Code::FingerprintFiltered,
                    "xattr header h_name_filter",
                    "one that hides it",
                    wanted,
                ));
            }
            Ok(_) => {}
            Err(error) => self.note(error, job, Code::Xattr),
        }
    }

    /// Reads the content where there is something to hold it against: a fingerprint, or a decoder.
    fn content(&mut self, job: &Job, value: Option<Vec<u8>>) {
        let inode = &job.inode;
        let size = inode.size();
        if size == 0 || value.is_none() && !inode.layout().is_compressed() {
            return;
        }
        if let Err(error) = self.budgets.contents.take(size) {
            return self.note(error, job, Code::Map);
        }
        match self.read(job, value) {
            Ok(()) => self.outcome.bytes = self.outcome.bytes.saturating_add(size),
            Err(error) => self.note(error, job, Code::Map),
        }
    }

    /// Reads the content and judges its fingerprint, or lets it wait for that.
    fn read(&mut self, job: &Job, value: Option<Vec<u8>>) -> Result<(), ImageError> {
        let inode = &job.inode;
        let data = self.image.data(inode)?;
        let (window, ahead, namespace) = (&mut self.window, self.ahead, self.options.namespace);
        let Some(value) = value else { return content::read(&data, window, ahead, &mut |_| {}) };
        let (size, nid) = (inode.size(), inode.nid.0);
        let kind = fingerprint::decisive_kind(&value, namespace).filter(|_| Batch::takes(size));
        let content =
            Content { value, digest: Vec::new(), size, path: job.path.clone(), nid, order: job.order };
        if let Some(kind) = kind {
            let read = |sink: &mut dyn FnMut(&[u8])| content::read(&data, window, ahead, sink);
            self.batch.add(content, kind, read)?;
            if self.batch.is_full() {
                self.judge_held();
            }
            return Ok(());
        }
        let mut judge = Judge::new(&content.value, namespace);
        content::read(&data, window, ahead, &mut |bytes| judge.update(bytes))?;
        let verdict = judge.finish();
        self.outcome.judge(content, verdict, self.options.profile);
        Ok(())
    }

    fn judge_held(&mut self) {
        let namespace = self.options.namespace.unwrap_or(Uuid::nil());
        let tell = |content, verdict| self.outcome.judge(content, verdict, self.options.profile);
        self.batch.judge(namespace, tell);
    }
}
